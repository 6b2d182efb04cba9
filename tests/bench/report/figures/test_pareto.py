"""The Pareto front, by hand."""

from pks4.bench.report.figures import accuracy as accuracy_figures


def test_the_front_rises_with_cost():
    cheap, dear, beaten = (1, 0.3), (5, 0.9), (4, 0.2)
    assert accuracy_figures.front([dear, beaten, cheap]) == [2, 0]


def test_as_good_for_more_is_not_on_the_front():
    assert accuracy_figures.front([(1, 0.5), (2, 0.5)]) == [0]


def test_better_for_as_much_is_alone_on_the_front():
    assert accuracy_figures.front([(1, 0.5), (1, 0.6)]) == [1]


def test_equal_points_are_on_it_together():
    assert accuracy_figures.front([(1, 0.5), (1, 0.5)]) == [0, 1]


def test_of_nothing_it_is_empty():
    assert accuracy_figures.front([]) == []
