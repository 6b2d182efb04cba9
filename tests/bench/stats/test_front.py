"""The Pareto front, and how often each point is on it."""

import numpy as np

from pks4.bench.stats.front import front, shares


def test_the_front_rises_with_cost():
    cheap, dear, beaten = (1, 0.3), (5, 0.9), (4, 0.2)
    assert front([dear, beaten, cheap]) == [2, 0]


def test_as_good_for_more_is_not_on_the_front():
    assert front([(1, 0.5), (2, 0.5)]) == [0]


def test_better_for_as_much_is_alone_on_the_front():
    assert front([(1, 0.5), (1, 0.6)]) == [1]


def test_equal_points_are_on_it_together():
    assert front([(1, 0.5), (1, 0.5)]) == [0, 1]


def test_of_nothing_it_is_empty():
    assert front([]) == []


def clips(right, of=200, seeds=1):
    """(seeds, of) answers, the first `right` of them right."""
    return np.tile(np.arange(of) < right, (seeds, 1)).astype(float)


def test_what_is_cheap_and_better_on_every_clip_is_always_on_the_front():
    assert shares([1.0, 2.0], [clips(120), clips(100)]) == [1.0, 0.0]


def test_the_cheapest_is_always_on_it_and_a_dear_one_as_often_as_it_wins():
    random = np.random.default_rng(0)
    a, b = (random.random((1, 400)) < share for share in (0.50, 0.52))
    cheap, dear = shares([1.0, 2.0], [a.astype(float), b.astype(float)])
    assert cheap == 1.0
    assert 0.2 < dear < 0.98


def test_seeds_that_differ_make_the_front_less_sure():
    one, other = clips(100, seeds=3), clips(104, seeds=3)
    alike = shares([1.0, 2.0], [one, other])[1]
    other = np.vstack([clips(64), clips(104), clips(144)])
    assert shares([1.0, 2.0], [one, other])[1] < alike
