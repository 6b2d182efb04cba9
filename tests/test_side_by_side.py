"""Parts of a campaign at once: each is done and handed over, and an error is not swallowed."""

import operator

import faults
import pytest
import side_by_side

both_ways = pytest.mark.parametrize("jobs", [1, 2])


@both_ways
def test_every_part_is_done_once(jobs):
    found = sorted(side_by_side.results(operator.mul, [(1, 2), (2, 3), (3, 4)], jobs))
    assert found == [((1, 2), 2), ((2, 3), 6), ((3, 4), 12)]


@both_ways
def test_an_error_ends_it(jobs):
    with pytest.raises(ZeroDivisionError):
        list(side_by_side.results(operator.truediv, [(4, 2), (1, 0), (6, 3)], jobs))


def test_a_part_is_handed_over_before_the_next_is_done():
    parts = side_by_side.results(operator.truediv, [(4, 2), (1, 0)], 1)
    assert next(parts) == ((4, 2), 2)


def test_the_parts_of_a_campaign_are_all_its_trials(monkeypatch):
    monkeypatch.setattr(faults, "tried", lambda *part: faults.Survived(part[3], part[3]))
    found = {}
    for name, part in faults.campaign(None, None, 0):
        faults.add(found, name, part)
    assert {name: one.trials for name, one in found.items()} == {
        name: trials for name, (_, trials) in faults.FAULTS.items()
    }
