"""The paired bootstrap over clips and seeds: which clips were right, and intervals by formula."""

from types import SimpleNamespace

import numpy as np
import pytest

from pks4.bench.stats import clips as clip_stats
from pks4.errors import UserError


def record(**detail):
    return SimpleNamespace(cell="learn/pks4/t8", metric="top1", detail=detail)


def test_what_was_right_is_read_from_predictions_or_from_what_is_said_to_be_right():
    predicted = record(label=[0, 1, 2], predicted=[0, 1, 1])
    assert clip_stats.right_by_clip(predicted).tolist() == [True, True, False]
    told = record(label=[4, 5], right=[0, 1])
    assert clip_stats.right_by_clip(told).tolist() == [False, True]


@pytest.mark.parametrize("detail", [{}, {"predicted": [0]}, {"right": [1]}, {"label": [0]}])
def test_without_labels_or_answers_nothing_is_known_of_clips(detail):
    assert clip_stats.right_by_clip(record(**detail)) is None


@pytest.mark.parametrize("key", ["predicted", "right"])
@pytest.mark.parametrize("answers", [[0, 1], [0, 1, 1, 0], [[0], [1], [1, 2]], 1, "011"])
def test_more_or_fewer_answers_than_clips_are_a_damaged_record(key, answers):
    with pytest.raises(UserError, match="learn/pks4/t8 top1: its record is damaged"):
        clip_stats.right_by_clip(record(label=[0, 1, 2], **{key: answers}))


def test_one_seed_has_the_spread_of_a_mean_of_clips():
    """Of 400 clips 120 won, 40 lost: mean 0.2, variance 0.4 - 0.04, standard error 0.03."""
    won, lost = np.arange(400) < 120, np.arange(400) >= 360
    found = clip_stats.paired_bootstrap(won[None], lost[None])
    assert found.value == pytest.approx(0.2)
    low, high = found.interval
    assert (low, high) == pytest.approx((0.2 - 1.96 * 0.03, 0.2 + 1.96 * 0.03), abs=0.003)
    assert found.p == pytest.approx(2 / (clip_stats.DRAWS + 1))  # not one draw was at 0 or below


def test_seeds_that_differ_make_the_interval_wider():
    clips = np.arange(400)
    none = np.zeros((3, 400), dtype=bool)
    alike = np.array([clips < 120] * 3)
    apart = np.array([clips < share for share in (60, 120, 180)])
    narrow = clip_stats.paired_bootstrap(alike, none).interval
    wide = clip_stats.paired_bootstrap(apart, none).interval
    assert wide[1] - wide[0] > 3 * (narrow[1] - narrow[0])
    assert "clips and 3 seeds" in clip_stats.paired_bootstrap(apart, none).method
