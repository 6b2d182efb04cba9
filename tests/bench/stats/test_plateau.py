"""Whether a training had flattened: the last epoch against the last before its last fifth."""

import pytest

from pks4.bench.stats import plateau


@pytest.mark.parametrize(("epochs", "last"), [(1, 1), (5, 1), (6, 2), (8, 2), (32, 7)])
def test_the_last_fifth_has_an_epoch_at_least(epochs, last):
    assert plateau.last_fifth(epochs) == last


def test_the_change_is_over_the_last_fifth_and_not_over_the_last_epoch():
    assert plateau.change_at_end([0, 0, 0, 0.1, 0.2, 0.3, 0.4, 0.4]) == pytest.approx(0.1)
    assert plateau.change_at_end([0.3]) is None


def test_a_loss_that_still_falls_is_told_by_its_share_of_the_first():
    still = [3.0, 2.8, 2.6, 2.4, 2.2, 2.0, 1.8, 1.6]
    assert plateau.loss_fall(still) == pytest.approx(0.4 / 3)
    assert plateau.loss_fall(still) > plateau.LOSS_SHARE


@pytest.mark.parametrize(
    "losses",
    [
        [2.9, 1.0, 0.1, 0.02, 0.02, 0.01],  # halved at the end, and done all the same
        [2.9, 2.89, 2.89, 2.88, 2.88],  # at chance: flat, though nothing was learnt
        [2.9, 1.0, 1.0, 1.0, 1.1],  # worse at the end
    ],
)
def test_a_flat_loss_is_flat(losses):
    assert plateau.loss_fall(losses) < plateau.LOSS_SHARE
