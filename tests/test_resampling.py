"""The paired bootstrap over clips and seeds: which clips were right, and intervals by formula."""

import numpy as np
import pytest

from pks4.bench import resampling


def test_what_was_right_is_read_from_predictions_or_from_what_is_said_to_be_right():
    predicted = {"label": [0, 1, 2], "predicted": [0, 1, 1]}
    assert resampling.right_by_clip(predicted).tolist() == [True, True, False]
    assert resampling.right_by_clip({"label": [4, 5], "right": [0, 1]}).tolist() == [False, True]


@pytest.mark.parametrize("detail", [{}, {"predicted": [0]}, {"right": [1]}, {"label": [0]}])
def test_without_labels_or_answers_nothing_is_known_of_clips(detail):
    assert resampling.right_by_clip(detail) is None


def test_one_seed_has_the_spread_of_a_mean_of_clips():
    """Of 400 clips 120 won, 40 lost: mean 0.2, variance 0.4 - 0.04, standard error 0.03."""
    won, lost = np.arange(400) < 120, np.arange(400) >= 360
    found = resampling.paired_bootstrap(won[None], lost[None])
    assert found.value == pytest.approx(0.2)
    low, high = found.interval
    assert (low, high) == pytest.approx((0.2 - 1.96 * 0.03, 0.2 + 1.96 * 0.03), abs=0.003)
    assert found.p == pytest.approx(2 / (resampling.DRAWS + 1))  # not one draw was at 0 or below


def test_seeds_that_differ_make_the_interval_wider():
    clips = np.arange(400)
    none = np.zeros((3, 400), dtype=bool)
    alike = np.array([clips < 120] * 3)
    apart = np.array([clips < share for share in (60, 120, 180)])
    narrow = resampling.paired_bootstrap(alike, none).interval
    wide = resampling.paired_bootstrap(apart, none).interval
    assert wide[1] - wide[0] > 3 * (narrow[1] - narrow[0])
    assert "clips and 3 seeds" in resampling.paired_bootstrap(apart, none).method
