"""Runs on disk: append-only, tolerant of a torn end, nothing twice."""

import json

import pytest

from pks4.bench import store
from pks4.bench.plan import plan
from pks4.bench.record import Record, RunHeader, json_schema
from pks4.bench.suite import read_suite
from pks4.errors import UserError

SOURCE = {"versions": {}, "commit": None, "dirty": None, "environment": {}}


@pytest.fixture
def header(suite_file):
    """The header of a run of the small suite."""
    path = suite_file()
    suite, text = read_suite(path)
    return RunHeader(
        run="small-1", suite="small", suite_text=text, created="2026-01-01T00:00:00Z",
        cells=plan(suite), **SOURCE,
    )  # fmt: skip


def record(cell="cost/floor/t2", metric="params_total", parts=2, value=2**60 + 1, **more):
    """A record of the small suite."""
    fields = {
        "run": "small-1", "cell": cell, "grid": "cost", "label": "floor", "title": "floor",
        "model": "frame_mean", "family": "2D floor", "options": {}, "scale": "tiny", "frames": 2,
        "batch": 1, "task": None, "measure": "params", "metric": metric, "parts": parts,
        "status": "ok", "value": value, "unit": "1", "kind": "exact",
        "created": "2026-01-01T00:00:00Z", "seconds": 0.1, **SOURCE,
    }  # fmt: skip
    return Record(**fields | more)


def write(path, *entries):
    """Append entries to a run's file."""
    writer = store.Writer(path)
    writer.append(*entries)
    writer.close()


def test_what_is_written_is_read(tmp_path, header):
    path = tmp_path / "run.jsonl"
    write(path, header, record(), record(metric="params_trainable"))
    run = store.read(path)
    assert run.header == header
    assert [r.metric for r in run.records] == ["params_total", "params_trainable"]
    assert run.records[0].value == 2**60 + 1
    assert store.frame(run.records)["value"][0] == 2**60 + 1  # no float in between


def test_a_torn_end_at_any_byte_loses_nothing_before_it(tmp_path, header):
    path = tmp_path / "run.jsonl"
    write(path, header, record(), record(metric="params_trainable"))
    whole = path.read_bytes()
    start = whole.rstrip(b"\n").rindex(b"\n") + 1
    for cut in range(start, len(whole) + 1, 7):
        path.write_bytes(whole[:cut])
        write(path, record(metric="later", parts=1))
        run = store.read(path)
        torn = start < cut < len(whole) - 1
        metrics = [r.metric for r in run.records]
        assert metrics[0] == "params_total"
        assert metrics[-1] == "later"
        assert ("params_trainable" in metrics) == (cut >= len(whole) - 1)
        assert bool(run.torn) == torn


def test_a_record_that_is_there_twice_counts_once(tmp_path, header):
    path = tmp_path / "run.jsonl"
    write(path, header, record(value=1), record(value=2))
    assert [r.value for r in store.read(path).records] == [1]


def test_what_is_missing_is_known_by_parts(tmp_path, header):
    path = tmp_path / "run.jsonl"
    write(path, header, record())  # one of two parts
    assert store.read(path).missing()["cost/floor/t2"] == ["params", "macs", "saved_bytes"]
    write(path, record(metric="params_trainable"))
    assert store.read(path).missing()["cost/floor/t2"] == ["macs", "saved_bytes"]


@pytest.mark.parametrize("content", ["", "not json\n", '{"type": "record"}\n', "[]\n"])
def test_a_file_that_is_no_run_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "run.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=r"run\.jsonl") as error:
        store.read(path)
    assert "\n" not in str(error.value)


def test_an_unwritable_folder_names_the_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--out"):
        store.Writer(tmp_path / "file" / "run.jsonl")


def test_only_one_process_writes_a_run_and_a_new_one_must_be_new(tmp_path):
    path = tmp_path / "run.jsonl"
    first = store.Writer(path, new=True)
    with pytest.raises(UserError, match="another process"):
        store.Writer(path)
    first.close()
    with pytest.raises(UserError, match="exists already"):
        store.Writer(path, new=True)
    store.Writer(path).close()


def test_a_run_is_found_by_name_and_a_near_name_is_told(tmp_path, header):
    write(tmp_path / "small-1.jsonl", header)
    assert store.find_run("small-1", [tmp_path]) == tmp_path / "small-1.jsonl"
    assert store.find_run("latest", [tmp_path]) == tmp_path / "small-1.jsonl"
    with pytest.raises(UserError, match="did you mean 'small-1'"):
        store.find_run("smal-1", [tmp_path])


def runs(tmp_path, header, *parts):
    """Runs of one plan, each with some of its records."""
    for number, records in enumerate(parts):
        write(tmp_path / f"part{number}.jsonl", header, *records)
    return [store.read(tmp_path / f"part{number}.jsonl") for number in range(len(parts))]


def test_parts_of_a_run_merge_and_each_number_counts_once(tmp_path, header):
    parts = runs(
        tmp_path, header, [record()], [record(), record(metric="params_trainable", value=3)]
    )
    merged, notes = store.merge(parts, tmp_path / "whole.jsonl")
    assert [(r.metric, r.value) for r in merged.records] == [
        ("params_total", 2**60 + 1), ("params_trainable", 3)
    ]  # fmt: skip
    assert (merged.header.run, notes) == ("whole", [])


def test_a_number_that_differs_is_told_and_the_first_is_kept(tmp_path, header):
    merged, notes = store.merge(
        runs(tmp_path, header, [record(value=1)], [record(value=2)]), tmp_path / "whole.jsonl"
    )
    assert [r.value for r in merged.records] == [1]
    assert "1 of small-1 kept, not 2" in notes[0]


def test_a_number_stands_before_a_failure_of_its_measure(tmp_path, header):
    broken = record(metric="*", parts=1, status="failed", reason="cut", value=None, kind=None)
    merged, _ = store.merge(
        runs(tmp_path, header, [broken], [record(parts=1)]), tmp_path / "whole.jsonl"
    )
    assert [r.metric for r in merged.records] == ["params_total"]


def test_what_does_not_belong_together_is_not_merged(tmp_path, header):
    other = header.model_copy(update={"suite": "other"})
    cells = [c.model_copy(update={"num_classes": 9}) for c in header.cells]
    planned = header.model_copy(update={"cells": cells})
    for second, said in ((other, "different suites"), (planned, "planned differently")):
        write(tmp_path / f"{said}-1.jsonl", header)
        write(tmp_path / f"{said}-2.jsonl", second)
        both = [store.read(tmp_path / f"{said}-{n}.jsonl") for n in (1, 2)]
        with pytest.raises(UserError, match=said):
            store.merge(both, tmp_path / "whole.jsonl")
    assert not (tmp_path / "whole.jsonl").exists()


def test_a_merge_overwrites_nothing(tmp_path, header):
    parts = runs(tmp_path, header, [record()])
    with pytest.raises(UserError, match="name a new file"):
        store.merge(parts, tmp_path / "part0.jsonl")


def test_the_schema_knows_every_field_and_both_kinds_of_line():
    schema = json_schema()
    assert set(schema["$defs"]["Record"]["properties"]) == set(Record.model_fields)
    assert schema["discriminator"]["mapping"].keys() == {"run", "record"}
    json.dumps(schema)
