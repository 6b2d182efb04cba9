"""Kendall's tau between two rankings, by hand and over draws."""

import numpy as np
import pytest

from pks4.bench.stats.ranking import agreement


def clips(right, of=200, seeds=1):
    """(seeds, of) answers, the first `right` of them right."""
    return np.tile(np.arange(of) < right, (seeds, 1)).astype(float)


def test_the_same_order_is_1_and_the_turned_one_minus_1():
    up = [clips(20), clips(100), clips(180)]
    assert agreement(up, up).value == 1
    assert agreement(up, up[::-1]).value == -1
    assert agreement(up, up).interval == (1, 1)


def test_one_of_three_pairs_turned_over_is_one_third():
    found = agreement([clips(20), clips(100), clips(180)], [clips(100), clips(20), clips(180)])
    assert found.value == pytest.approx(1 / 3)


def test_methods_that_differ_by_less_than_their_seeds_do_not_give_a_sure_tau():
    close = [np.vstack([clips(n - 30), clips(n), clips(n + 30)]) for n in (98, 100, 102)]
    low, high = agreement(close, close).interval
    assert (low, high) == (-1, 1)


def test_without_any_difference_tau_is_0():
    assert agreement([clips(50)] * 3, [clips(20), clips(100), clips(180)]).value == 0
