"""Runs joined: each number once with its own evidence, and what is not there is told."""

import pytest

from pks4.bench.plan.shard import Shard
from pks4.bench.plan.user_inputs import UserInputs
from pks4.bench.records.merge import merge
from pks4.commands import list as list_command
from pks4.errors import TRY_AGAIN, UserError
from tests.factories.runs import CELLS, COST, failed, made, run_file, written
from tests.tools.commands import invoke


def shard(number, total=2, text=None, **source):
    """The run of a shard of the made plan."""
    whole = made(f"run-{number}of{total}", **source)
    cells = Shard(number, total).of(CELLS)
    change = {"cells": cells, "part": Shard(number, total).part(CELLS)}
    header = whole.header.model_copy(
        update=change | ({"suite_text": text} if text is not None else {})
    )
    ids = {c.id for c in cells}
    kept = [r.model_copy(update=source) for r in whole.records if r.cell in ids]
    return type(whole)(whole.path, header, kept)


def values(run):
    """Cell, metric and value of a run's records."""
    return {(r.cell, r.metric): r.value for r in run.records}


def test_parts_of_a_run_merge_and_each_number_counts_once(tmp_path):
    whole = made()
    parts = [made(drop=("top1",)), made(drop=("saved_bytes",))]
    merged, notes = merge(parts, tmp_path / "whole.jsonl")
    assert values(merged) == values(whole)
    assert len(merged.records) == len(whole.records)
    assert (merged.header.run, merged.header.part, notes) == ("whole", None, [])


def test_a_number_that_differs_is_told_and_the_first_is_kept(tmp_path):
    merged, notes = merge([made("a", saved=1), made("b", saved=2)], tmp_path / "whole.jsonl")
    assert values(merged)[COST.id, "saved_bytes"] == 1
    assert notes == [f"{COST.id} saved_bytes: 1 of a kept, not 2 of b"]


def test_a_number_stands_before_a_failure_of_its_measure(tmp_path):
    broken = run_file([failed(COST, "saved_bytes", "cut")], CELLS)
    merged, _ = merge([broken, made()], tmp_path / "whole.jsonl")
    assert values(merged) == values(made())


def test_a_failure_that_is_to_be_tried_again_gives_way_to_any_other(tmp_path):
    full = run_file([failed(COST, "saved_bytes", "full", detail=TRY_AGAIN)], CELLS)
    broken = run_file([failed(COST, "saved_bytes", "cut")], CELLS)
    merged, _ = merge([full, broken], tmp_path / "whole.jsonl")
    assert [r.reason for r in merged.records] == ["cut"]
    again, _ = merge([full], tmp_path / "again.jsonl")
    assert COST.id in again.missing()


def test_what_does_not_belong_together_is_not_merged(tmp_path):
    one = made()
    planned = [c.model_copy(update={"num_classes": 9}) for c in CELLS]
    for change, said in (
        ({"suite": "other"}, "different suites"), ({"cells": planned}, "planned differently")
    ):  # fmt: skip
        other = type(one)(one.path, one.header.model_copy(update=change), one.records)
        with pytest.raises(UserError, match=said):
            merge([one, other], tmp_path / "whole.jsonl")
    assert not (tmp_path / "whole.jsonl").exists()


def test_a_merge_overwrites_nothing(tmp_path):
    (tmp_path / "whole.jsonl").write_text("")
    with pytest.raises(UserError, match="name a new file"):
        merge([made()], tmp_path / "whole.jsonl")


def test_all_shards_are_the_whole_run_in_its_order_each_record_with_its_machine(tmp_path):
    parts = [shard(n, environment={"cpu": f"CPU {n}", "cores": n}) for n in (2, 1)]
    merged, notes = merge(parts, tmp_path / "whole.jsonl")
    assert values(merged) == values(made())
    assert (merged.header.cells, merged.header.part, notes) == (CELLS, None, [])
    assert merged.missing() == {}
    for n in (1, 2):
        ids = {c.id for c in Shard(n, 2).of(CELLS)}
        assert ids
        assert {r.environment["cpu"] for r in merged.records if r.cell in ids} == {f"CPU {n}"}


def test_a_shard_that_is_not_there_is_told_with_its_cells_and_can_be_added_later(tmp_path):
    parts = {n: shard(n, 4) for n in (1, 2, 4)}
    (absent,) = parts[4].header.cells
    merged, notes = merge([parts[1], parts[2]], tmp_path / "most.jsonl")
    assert str(merged.header.part) == "shards 1, 2 of 4"
    assert notes == [
        f"shard 4/4 is not among them, with 1 cell ({absent.id}): pks4-bench run made --shard 4/4"
    ]
    whole, notes = merge([merged, parts[4]], tmp_path / "whole.jsonl")
    assert (values(whole), whole.header.part, notes) == (values(made()), None, [])


def test_the_command_says_what_it_made_and_what_is_left(tmp_path):
    part = shard(1, 4)
    cut = type(part)(part.path, part.header, part.records[1:])
    said = invoke("merge", written(cut, tmp_path), "--out", tmp_path / "most.jsonl")
    assert said.stdout.strip() == (
        f"{tmp_path / 'most.jsonl'}: {len(cut.records)} records, shard 1 of 4, "
        f"left: 1 cell ({COST.id})"
    )
    assert "pks4-bench run made --shard 4/4" in said.stderr
    written(part, tmp_path / "listed")
    written(part, tmp_path / "twice")
    (line,) = list_command.runs([tmp_path / "listed", tmp_path / "twice"])[1]
    assert line[-1] == "shard 1 of 4, complete"


def test_shards_that_do_not_belong_together_are_refused(tmp_path):
    for other, said in (
        (shard(2, commit="b" * 40), "of different code do not merge: aaa"),
        (shard(2, dirty=True), "of different code do not merge: .*, changed"),
        (shard(2, 4), "of different numbers of shards do not merge: 2; 4"),
        (shard(2, text='name = "made"  # other'), "were planned differently"),
        (shard(2, versions={"pks4-bench": "9"}), "of different versions of pks4-bench"),
    ):
        with pytest.raises(UserError, match=said):
            merge([shard(1), other], tmp_path / "whole.jsonl")
    assert not list(tmp_path.iterdir())


def test_another_library_is_told_not_refused(tmp_path):
    parts = [shard(1), shard(2, versions={"torch": "2.16.0"})]
    _, notes = merge(parts, tmp_path / "whole.jsonl")
    assert notes == ["versions: not the same in all of the runs; each record names its own"]


def with_files(run, **hashes):
    """The run with hashes of the user's files in its header."""
    inputs = UserInputs(hashes=hashes)
    header = run.header.model_copy(update={"inputs": inputs})
    return type(run)(run.path, header, run.records)


def test_runs_with_another_file_of_the_user_do_not_merge(tmp_path):
    runs = [with_files(made("a"), model="1"), with_files(made("b"), model="2")]
    with pytest.raises(UserError, match="runs with different files of model do not merge"):
        merge(runs, tmp_path / "whole.jsonl")


def test_a_joined_run_keeps_the_hashes_of_all_files(tmp_path):
    runs = [with_files(made("a"), model="1"), with_files(made("b"), model="1", data="3"), made("c")]
    merged, _ = merge(runs, tmp_path / "whole.jsonl")
    assert merged.header.inputs.hashes == {"model": "1", "data": "3"}
