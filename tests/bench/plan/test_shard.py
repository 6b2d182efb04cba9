"""Shards: every cell in one of them, the same one on every host, whatever else is planned."""

import json

import pytest

from pks4.bench.plan.shard import Shard
from pks4.bench.plan.suite import read_suite
from pks4.bench.records import run_file
from pks4.bench.run import run
from pks4.errors import UserError
from tests.factories.runs import CELLS as MADE
from tests.factories.runs import cell
from tests.tools.commands import invoke

CELLS = [cell(f"cost/model{n}/t{t}", ["params"]) for n in range(200) for t in (4, 8)]


def test_every_cell_is_in_one_shard_and_no_shard_is_far_from_its_share():
    dealt = [c.id for n in range(1, 5) for c in Shard(n, 4).of(CELLS)]
    assert sorted(dealt) == sorted(c.id for c in CELLS)
    assert all(75 <= len(Shard(n, 4).of(CELLS)) <= 125 for n in range(1, 5))


def test_the_shard_of_a_cell_is_fixed_by_its_id_for_good():
    # sha256("cost/model0/t4") begins with 0x66581110cd6a06d7, modulo 7 is 4; shards are from 1
    assert [n for n in range(1, 8) if Shard(n, 7).of(CELLS[:1])] == [5]


def test_a_shard_without_a_cell_is_not_missed():
    assert [len(Shard(n, 3).of(MADE)) for n in (1, 2, 3)] == [2, 0, 3]
    assert Shard(1, 3).part(MADE).absent() == {3: [c.id for c in MADE[:3]]}


def test_a_cell_more_moves_no_other():
    before = Shard(2, 3).of(CELLS)
    more = [cell("cost/new/t4", ["params"]), *CELLS]
    assert [c for c in Shard(2, 3).of(more) if c.id != "cost/new/t4"] == before


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "a/b", "1/2/3", "-1/2", "1 / 2"])
def test_what_is_no_shard_is_told_in_one_line(text):
    with pytest.raises(UserError, match="must be i/n with i from 1 to n, such as 1/4"):
        Shard.parse(text)


def test_the_plan_shows_a_shards_cells(suite_file):
    path = suite_file()
    for shard, cell_id in (("1/2", "cost/floor/t2"), ("2/2", "cost/ours/t2")):
        shown = json.loads(invoke("plan", path, "--json", "--shard", shard).stdout)
        assert [c["id"] for c in shown] == [cell_id]
    assert isinstance(invoke("plan", path, "--shard", "3/2").exception, UserError)


def test_a_shard_is_a_run_that_says_so_and_resumes_as_itself(suite_file, tmp_path):
    suite = read_suite(suite_file())
    first, second = (run.start(*suite, tmp_path, shard=Shard(n, 2)) for n in (1, 2))
    assert first.path.stem.endswith("-1of2")
    assert run_file.read(second.path).header.part.model_dump() == {
        "shards": [2], "of": 2, "plan": ["cost/floor/t2", "cost/ours/t2"],
    }  # fmt: skip
    assert run.resume(*suite, tmp_path, shard=Shard(1, 2)).path == first.path
    with pytest.raises(UserError, match=r"there is: shard 1 of 2, shard 2 of 2; run it without"):
        run.resume(*suite, tmp_path)
    with pytest.raises(UserError, match="no run of shard 1/3 of 'small'"):
        run.resume(*suite, tmp_path, shard=Shard(1, 3))
