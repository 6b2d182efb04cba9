"""Reference runs: one for a suite and environment class, changed only with a reason that stays."""

import gzip
import hashlib

import pytest

from pks4.bench.plan.shard import Shard
from pks4.bench.records import accepted as records_accepted
from pks4.bench.records import run_file as records_run_file
from pks4.errors import UserError
from tests.factories.runs import COST, cell, failed, made, run_file, written


@pytest.fixture
def results(tmp_path):
    """An empty results folder."""
    return tmp_path / "results"


def accepted(run, results, reason="a reason", folder="runs"):
    """Write the run and accept it."""
    return records_accepted.accept(
        records_run_file.read(written(run, results / folder)), reason, results, who="A B"
    )


def test_who_when_why_and_what_it_replaces_are_kept(results):
    accepted(made("one"), results)
    accepted(made("two", saved=1200), results, "a wider\n scan")
    (first, second), torn = records_accepted.ledger(results)
    assert (first.replaces, second.replaces, torn) == (None, "one", [])
    assert (second.who, second.reason) == ("A B", "a wider scan")
    assert second.environment_class == "Linux x86_64, CPU A, 2 cores, torch 2.15.0"
    assert second.when.endswith("Z")
    assert records_accepted.accepted_run(second, results).header.run == "two"


def test_the_reference_is_that_of_the_runs_own_class(results):
    other = {"environment": {"cpu": "CPU B", "cores": 8, "os": "Linux x86_64"}}
    accepted(made("here"), results)
    accepted(made("there", **other), results)
    assert records_accepted.reference(made("head"), results)[0].header.run == "here"
    assert records_accepted.reference(made("head", **other), results)[0].header.run == "there"


def test_a_new_machine_gets_the_reference_of_another_with_a_note(results):
    accepted(made("here"), results)
    run, note = records_accepted.reference(made("head", environment={"cpu": "CPU C"}), results)
    assert run.header.run == "here"
    assert "no reference of this machine" in note


def test_another_torch_has_no_reference_and_the_remedy_is_told(results):
    accepted(made("here"), results)
    with pytest.raises(UserError, match="pks4-bench accept RUN --reason"):
        records_accepted.reference(made("head", versions={"torch": "2.16.0"}), results)


@pytest.mark.parametrize(
    ("run", "reason", "said"),
    [
        (made("one"), "  ", "--reason is empty"),
        (made("one", dirty=True), "because", "code with changes"),
        (made("one", drop=("top1",)), "because", "3 cells are not done"),
    ],
)
def test_a_run_that_nobody_could_repeat_is_refused(results, run, reason, said):
    with pytest.raises(UserError, match=said):
        accepted(run, results, reason)
    assert not (results / records_accepted.LEDGER).exists()


def test_a_failed_measure_and_a_void_time_are_gaps():
    run = made("one")
    records = [failed(COST, "saved_bytes", "it broke"), *run.records[1:]]
    records[2] = records[2].model_copy(update={"detail": {"verdict": "void"}})
    assert records_accepted.gaps(run) == []
    assert records_accepted.gaps(records_run_file.RunFile(run.path, run.header, records)) == [
        "cost/ours/t8 saved_bytes: failed", "time/ours/t8 forward_ratio: void"
    ]  # fmt: skip


def test_a_run_with_gaps_is_refused_with_how_many_and_which(results):
    cells = [cell(f"cost/ours/t{t}", ["saved_bytes"]) for t in range(1, 9)]
    run = run_file([failed(c, "saved_bytes", "it broke") for c in cells], cells, "one")
    with pytest.raises(UserError, match=r"has 8 gaps \(cost/ours/t1 saved_bytes: failed, .*t6 "
                       r"saved_bytes: failed and 2 more\), .*--with-gaps"):  # fmt: skip
        accepted(run, results)
    assert not (results / records_accepted.LEDGER).exists()
    assert (
        records_accepted.accept(run_of(run, results), "meant", results, with_gaps=True).run == "one"
    )


def run_of(run, results):
    """The run as it is read from its file."""
    return records_run_file.read(written(run, results / "runs"))


def test_an_unfinished_run_is_refused_whatever_is_meant(results):
    with pytest.raises(UserError, match="3 cells are not done"):
        records_accepted.accept(made("one", drop=("top1",)), "because", results, with_gaps=True)


def test_a_shard_is_no_reference(results):
    run = made("one")
    part = Shard(1, 2).part(run.header.cells)
    shard = records_run_file.RunFile(
        run.path, run.header.model_copy(update={"part": part}), run.records
    )
    with pytest.raises(UserError, match="is shard 1 of 2, not a whole run; join all shards first"):
        accepted(shard, results)


def test_the_same_run_is_not_accepted_twice_whatever_its_gaps(results):
    run = run_file([failed(COST, "saved_bytes", "it broke")], [COST], "two")
    records_accepted.accept(run_of(run, results), "meant", results, with_gaps=True)
    with pytest.raises(UserError, match="is the reference of 'made' already"):
        accepted(run, results)


def test_the_same_run_is_not_accepted_twice(results):
    accepted(made("one"), results)
    with pytest.raises(UserError, match="is the reference of 'made' already"):
        accepted(made("one"), results)


def test_a_run_that_is_withdrawn_is_no_reference_and_the_one_before_counts_again(results):
    accepted(made("one"), results)
    accepted(made("two", saved=1200), results)
    before = (results / records_accepted.LEDGER).read_bytes()
    records_accepted.withdraw("two", "its image\nmodels guess", results, who="A B")
    assert (results / records_accepted.LEDGER).read_bytes().startswith(before)
    assert records_accepted.reference(made("head"), results)[0].header.run == "one"
    records_accepted.withdraw("one", "it is old", results)
    with pytest.raises(UserError, match="there are: none; one was withdrawn: it is old"):
        records_accepted.reference(made("head"), results)
    assert [w.reason for w in records_accepted.withdrawals("made", results)] == [
        "its image models guess", "it is old"
    ]  # fmt: skip
    assert (results / "reference" / "two.jsonl.gz").exists()


def test_a_run_that_was_withdrawn_may_be_accepted_again(results):
    accepted(made("one"), results)
    records_accepted.withdraw("one", "too early", results)
    accepted(made("one"), results)
    assert records_accepted.reference(made("head"), results)[0].header.run == "one"


def test_only_an_accepted_run_is_withdrawn_and_only_with_a_reason(results):
    accepted(made("one"), results)
    with pytest.raises(UserError, match="unknown accepted run 'on'"):
        records_accepted.withdraw("on", "because", results)
    with pytest.raises(UserError, match="--reason is empty; say why its numbers are wrong"):
        records_accepted.withdraw("one", " ", results)


def test_evidence_is_not_overwritten(results):
    accepted(made("one"), results)
    with pytest.raises(UserError, match="it is not overwritten"):
        accepted(made("one", saved=7), results, folder="other")


def test_it_is_kept_compressed_and_its_hash_is_that_of_the_file_that_was_accepted(results):
    entry = accepted(made("one"), results)
    before = (results / "runs" / "one.jsonl").read_bytes()
    kept = results / "reference" / "one.jsonl.gz"
    assert gzip.decompress(kept.read_bytes()) == before
    assert entry.sha256 == hashlib.sha256(before).hexdigest()
    packed = kept.read_bytes()
    kept.unlink()
    accepted(made("two"), results)
    accepted(made("one"), results)
    assert kept.read_bytes() == packed


def test_a_reference_that_is_not_compressed_is_read_too(results):
    entry = accepted(made("one"), results)
    (results / "reference" / "one.jsonl.gz").unlink()
    path = written(made("one"), results / "reference")
    assert records_accepted.accepted_run(entry, results).path == path


def test_a_reference_that_was_edited_is_refused(results):
    entry = accepted(made("one"), results)
    path = written(made("one", saved=7), results / "runs")
    kept = results / "reference" / "one.jsonl.gz"
    kept.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(UserError, match="is not as it was when it was accepted"):
        records_accepted.accepted_run(entry, results)


def test_a_torn_line_of_the_ledger_is_told_and_the_rest_holds(results):
    accepted(made("one"), results)
    with (results / records_accepted.LEDGER).open("a") as file:
        file.write('{"type": "accep')
    accepted(made("two", saved=1200), results)
    found, torn = records_accepted.ledger(results)
    assert [a.run for a in found] == ["one", "two"]
    assert len(torn) == 1
    assert "line 2" in torn[0]


def test_a_run_named_like_a_path_is_refused(results):
    run = made("one")
    run = records_run_file.RunFile(
        run.path, run.header.model_copy(update={"run": "../one"}), run.records
    )
    with pytest.raises(UserError, match="is no file name"):
        records_accepted.accept(run, "because", results)


def test_who_is_asked_of_git_or_the_system():
    assert records_accepted._who()
