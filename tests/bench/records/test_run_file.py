"""Runs on disk: append-only, tolerant of a torn end, nothing twice."""

import errno
import json
import os
import subprocess
import sys

import pytest

from pks4.bench.plan.plan import plan
from pks4.bench.plan.suite import read_suite
from pks4.bench.records import run_file
from pks4.bench.records.record import Record, RunHeader
from pks4.bench.view.view import View
from pks4.errors import TRY_AGAIN, UserError

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
    writer = run_file.Writer(path)
    writer.append(*entries)
    writer.close()


def test_what_is_written_is_read(tmp_path, header):
    path = tmp_path / "run.jsonl"
    write(path, header, record(), record(metric="params_trainable"))
    run = run_file.read(path)
    assert run.header == header
    assert [r.metric for r in run.records] == ["params_total", "params_trainable"]
    assert run.records[0].value == 2**60 + 1
    view = View(run.records, run.header.model_dump())
    assert view.rows[0].value == 2**60 + 1  # no float in between


def test_a_torn_end_at_any_byte_loses_nothing_before_it(tmp_path, header):
    path = tmp_path / "run.jsonl"
    write(path, header, record(), record(metric="params_trainable"))
    whole = path.read_bytes()
    start = whole.rstrip(b"\n").rindex(b"\n") + 1
    for cut in range(start, len(whole) + 1, 7):
        path.write_bytes(whole[:cut])
        write(path, record(metric="later", parts=1))
        run = run_file.read(path)
        torn = start < cut < len(whole) - 1
        metrics = [r.metric for r in run.records]
        assert metrics[0] == "params_total"
        assert metrics[-1] == "later"
        assert ("params_trainable" in metrics) == (cut >= len(whole) - 1)
        assert bool(run.torn) == torn


def test_a_record_that_is_there_twice_counts_once(tmp_path, header):
    path = tmp_path / "run.jsonl"
    write(path, header, record(value=1), record(value=2))
    assert [r.value for r in run_file.read(path).records] == [1]


def failure(second, reason, detail=TRY_AGAIN):
    """The record of a measure that failed."""
    return record(
        metric="*", parts=1, value=None, unit=None, kind=None, status="failed", reason=reason,
        detail=detail, created=f"2026-01-01T00:00:0{second}Z",
    )  # fmt: skip


def test_a_failure_that_is_to_be_tried_again_counts_until_it_was(tmp_path, header):
    path = tmp_path / "run.jsonl"
    write(path, header, failure(1, "full"), failure(1, "full"), failure(2, "full still"))
    run = run_file.read(path)
    assert [r.reason for r in run.records] == ["full still"]
    assert run.missing()["cost/floor/t2"] == ["params", "macs", "saved_bytes"]
    view = View(run.records, run.header.model_dump(), run.missing())
    assert ("cost/floor/t2", "params") not in view.missing  # it is told as a failure
    assert ("cost/floor/t2", "macs") in view.missing
    before = path.read_bytes()
    write(path, record(), record(metric="params_trainable"))
    run = run_file.read(path)
    assert [r.metric for r in run.records] == ["params_total", "params_trainable"]
    assert run.missing()["cost/floor/t2"] == ["macs", "saved_bytes"]
    assert path.read_bytes().startswith(before)


def test_a_last_failure_stands_after_one_that_was_to_be_tried_again(tmp_path, header):
    path = tmp_path / "run.jsonl"
    write(path, header, failure(1, "full"), failure(2, "diverged", {}), failure(3, "late"))
    run = run_file.read(path)
    assert [r.reason for r in run.records] == ["diverged"]
    assert run.missing()["cost/floor/t2"] == ["macs", "saved_bytes"]


def test_what_is_missing_is_known_by_parts(tmp_path, header):
    path = tmp_path / "run.jsonl"
    write(path, header, record())  # one of two parts
    assert run_file.read(path).missing()["cost/floor/t2"] == ["params", "macs", "saved_bytes"]
    write(path, record(metric="params_trainable"))
    assert run_file.read(path).missing()["cost/floor/t2"] == ["macs", "saved_bytes"]


@pytest.mark.parametrize("content", ["", "not json\n", '{"type": "record"}\n', "[]\n"])
def test_a_file_that_is_no_run_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "run.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=r"run\.jsonl") as error:
        run_file.read(path)
    assert "\n" not in str(error.value)


def test_an_unwritable_folder_names_the_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--out"):
        run_file.Writer(tmp_path / "file" / "run.jsonl")


def test_only_one_process_writes_a_run_and_a_new_one_must_be_new(tmp_path):
    path = tmp_path / "run.jsonl"
    first = run_file.Writer(path, new=True)
    with pytest.raises(UserError, match="another process"):
        run_file.Writer(path)
    first.close()
    with pytest.raises(UserError, match="exists already"):
        run_file.Writer(path, new=True)
    run_file.Writer(path).close()


BEGINNER = """
import sys
from pathlib import Path
from pks4.bench.records import run_file
from pks4.bench.records.record import RunHeader

folder, header = Path(sys.argv[1]), RunHeader.model_validate_json(sys.argv[2])
for _ in range(20):
    print(run_file.begin(folder, header)[0].name)
"""
APPENDER = """
import sys
from pathlib import Path
from pks4.bench.records import run_file
from pks4.bench.plan.settings import Settings

class Line(Settings):
    text: str

for number in range(20):
    writer = run_file.Writer(Path(sys.argv[1]), patience=60)
    writer.append(Line(text=f"{sys.argv[2]} {number} " + "x" * 9000))
    writer.close()
"""


def four_at_once(code, *each):
    """What four processes print that run this code at the same time."""
    started = [
        subprocess.Popen([sys.executable, "-c", code, *args], stdout=subprocess.PIPE, text=True)
        for args in each
    ]
    said = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0] * 4
    return said


@pytest.mark.slow
def test_processes_that_take_one_name_in_the_same_second_get_a_file_each(tmp_path, header):
    said = four_at_once(BEGINNER, *[(str(tmp_path), header.model_dump_json())] * 4)
    names = " ".join(said).split()
    assert len(set(names)) == len(names) == 80
    assert sorted(names) == sorted(p.name for p in tmp_path.glob("*.jsonl"))
    for name in names:
        run = run_file.read(tmp_path / name)
        assert run.header.run == name.removesuffix(".jsonl")
        assert len((tmp_path / name).read_bytes().splitlines()) == 1


@pytest.mark.slow
def test_lines_of_several_processes_in_one_file_stay_whole_and_none_is_lost(tmp_path):
    path = tmp_path / "ledger.jsonl"
    four_at_once(APPENDER, *[(str(path), str(n)) for n in range(4)])
    texts = [json.loads(line)["text"].rsplit(" ", 1) for line in path.read_text().splitlines()]
    assert sorted(key for key, _ in texts) == sorted(
        f"{n} {number}" for n in range(4) for number in range(20)
    )
    assert {len(rest) for _, rest in texts} == {9000}


def test_a_run_that_cannot_be_written_leaves_no_file(tmp_path, header, monkeypatch):
    def full(fd, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_file.os, "write", full)
    with pytest.raises(UserError, match="No space left on device"):
        run_file.begin(tmp_path, header)
    assert not list(tmp_path.glob("*.jsonl"))


def test_who_holds_a_file_is_seen_and_looking_stops_nobody(tmp_path, header):
    path, _ = run_file.begin(tmp_path, header)
    assert not run_file.is_held(path)
    writer = run_file.Writer(path)
    assert run_file.is_held(path)
    writer.close()
    assert not run_file.is_held(path)
    assert not run_file.is_held(tmp_path / "nothing.jsonl")


def test_where_files_cannot_be_locked_nobody_knows_who_holds_one(tmp_path, header, monkeypatch):
    path, _ = run_file.begin(tmp_path, header)
    monkeypatch.setattr(run_file.fcntl, "flock", no_locks)
    assert run_file.is_held(path) is None
    with pytest.raises(UserError, match="cannot lock a file: No locks available; choose another"):
        run_file.Writer(path)


def no_locks(*_):
    """As on NFS without a lock service."""
    raise OSError(errno.ENOLCK, "No locks available")


def test_the_latest_run_is_the_last_written_to_and_none_that_is_just_being_made(tmp_path, header):
    for number, name in enumerate(("old", "new")):
        write(tmp_path / f"{name}.jsonl", header)
        os.utime(tmp_path / f"{name}.jsonl", (number, number))
    (tmp_path / "begun.jsonl").touch()
    assert run_file.find_run("latest", [tmp_path]).stem == "new"
    os.utime(tmp_path / "old.jsonl", (2, 2))
    assert run_file.find_run("latest", [tmp_path]).stem == "old"


def test_a_run_is_found_by_name_and_a_near_name_is_told(tmp_path, header):
    write(tmp_path / "small-1.jsonl", header)
    assert run_file.find_run("small-1", [tmp_path]) == tmp_path / "small-1.jsonl"
    assert run_file.find_run("latest", [tmp_path]) == tmp_path / "small-1.jsonl"
    with pytest.raises(UserError, match="unknown run 'smal-1'; the nearest: small-1; pks4-bench"):
        run_file.find_run("smal-1", [tmp_path])


def test_an_unknown_run_among_many_names_the_nearest_and_what_lists_all(tmp_path, header):
    for number in range(9):
        write(tmp_path / f"quick-{number}.jsonl", header)
        write(tmp_path / f"scaling-{number}.jsonl", header)
    with pytest.raises(UserError) as caught:
        run_file.find_run("quik", [tmp_path])
    assert str(caught.value) == (
        "unknown run 'quik'; the nearest: quick-0, quick-1, quick-2; "
        "pks4-bench list runs lists all 18"
    )


def test_where_there_is_no_run_it_says_so(tmp_path):
    with pytest.raises(UserError, match="unknown run 'quick'; there are: none"):
        run_file.find_run("quick", [tmp_path])
