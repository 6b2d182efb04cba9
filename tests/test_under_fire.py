"""A small sample of the campaigns of `faults` and `fuzz`, on every change."""

import operator
import random
import shutil

import pytest

from tests.campaigns import faults, fuzz, fuzz_kinds, side_by_side
from tests.campaigns.fault_bench import Bench, lines
from tests.campaigns.fuzz_mutate import damaged

pytestmark = pytest.mark.slow

both_ways = pytest.mark.parametrize("jobs", [1, 2])


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.close()


def test_a_killed_run_goes_on_to_the_numbers_of_one_that_was_not_killed(bench, monkeypatch):
    monkeypatch.setattr(faults, "MOST_KILLS", 1)
    assert faults.parent_killed(bench, random.Random(0)) <= 1


def test_a_number_that_is_there_twice_or_lost_is_found(tmp_path, bench, monkeypatch):
    path = tmp_path / "run.jsonl"
    line = '{"type": "record", "cell": "a", "measure": "m", "metric": "x", "value": 1}\n'
    path.write_text(line + '{"type": "rec')
    assert len(lines(path)) == 1
    wanted = {("a", "m", "x"): 1}
    faults.check_whole(tmp_path, line.encode(), wanted)
    for content, wrong in ((2 * line, "twice"), (line.replace("1}", "2}"), "has changed")):
        path.write_text(content)
        with pytest.raises(AssertionError, match=wrong):
            faults.check_whole(tmp_path, line.encode(), wanted)
    path.write_text("")
    with pytest.raises(AssertionError, match="other keys"):
        faults.check_whole(tmp_path, b"", wanted)


@pytest.mark.parametrize("kind", ["suites", "claims", "manifests", "indexes", "weights"])
def test_damaged_files_are_accepted_or_refused_in_one_line(kind):
    [(_, found)] = fuzz.campaign(8, kind, seed=1)
    assert found.wrong == []
    assert found.accepted + found.refused == found.cases == 8


def test_the_same_seed_is_the_same_damage():
    data = b"name = 1\n" * 9
    once, again, other = (damaged(data, random.Random(seed)) for seed in (1, 1, 2))
    assert once == again != other


@pytest.mark.parametrize(
    ("take", "outcome"),
    [
        (lambda path: None, "accepted"),
        (lambda path: fuzz_kinds.take_suite(path), "refused"),
        (lambda path: 1 / 0, "wrong"),
        (lambda path: shutil.copy(path, path.with_name("none") / "a"), "wrong"),
    ],
)
def test_another_exception_than_the_projects_own_is_wrong(tmp_path, take, outcome):
    path = tmp_path / "any.toml"
    path.write_text("a = [")
    assert fuzz.attempt(fuzz_kinds.Kind(1, lambda folder: None, take), path)[0] == outcome


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
