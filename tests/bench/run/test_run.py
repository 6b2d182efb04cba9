"""Runs: killed and resumed without a loss, failures kept as records, wrong use told in a line."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pks4.bench.plan.suite import read_suite
from pks4.bench.plan.user_inputs import UserInputs
from pks4.bench.process import warm_start
from pks4.bench.process.child import Child
from pks4.bench.process.warm_start import ForkServer
from pks4.bench.records import run_file as records_run_file
from pks4.bench.records.merge import merge
from pks4.bench.run import run
from pks4.data.errors import CacheError
from pks4.errors import TRY_AGAIN, UserError, detail_of
from tests.factories.suites import LATE, MEASURES, WHOLE, only_last_grid
from tests.factories.trainings import LEARN
from tests.tools.commands import command, silent, wait_for_records

pytestmark = pytest.mark.slow


def start(path, folder):
    """A new run of a suite file."""
    return run.start(*read_suite(path), folder)


def test_a_killed_run_resumes_to_the_same_records_none_twice_none_lost(suite_file, tmp_path):
    path, folder = suite_file(), tmp_path / "runs"
    process = command("run", path, "--out", folder, "--no-report", "--jobs", 1)
    results = wait_for_records(folder, 1, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = records_run_file.read(results).records
    assert len(before) < len(WHOLE)
    again = command("run", path, "--out", folder, "--no-report", "--resume")
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert out.strip() == str(results)
    lines = [json.loads(line) for line in results.read_text().splitlines()[1:]]
    keys = [(line["cell"], line["measure"], line["metric"]) for line in lines]
    assert sorted(keys) == sorted(WHOLE)
    assert records_run_file.read(results).records[: len(before)] == before


def test_four_runs_at_once_in_one_folder_lose_nothing_and_double_nothing(suite_file, tmp_path):
    path, folder = suite_file(), tmp_path / "runs"
    path.write_text(path.read_text().replace('"params", "macs", "saved_bytes"', '"params"'))
    common = ("run", path, "--out", folder, "--no-report", "--jobs", 1)
    started = [command(*common, *more) for more in ((), (), ("--shard", "1/2"), ("--shard", "2/2"))]
    ended = [process.communicate(timeout=240) for process in started]
    assert [process.returncode for process in started] == [0] * 4, ended
    paths = [Path(out.strip()) for out, _ in ended]
    assert sorted(folder.iterdir()) == sorted(set(paths))
    one, other, *shards = (records_run_file.read(results) for results in paths)
    for run_file in (one, other, *shards):
        lines = run_file.path.read_bytes().splitlines()
        assert len(lines) == 1 + len(run_file.records) == 1 + 2 * len(run_file.header.cells)
        assert {r.run for r in run_file.records} == {run_file.path.stem}
        assert run_file.missing() == {}
    assert [run_file.header.part for run_file in (one, other)] == [None, None]
    merged, notes = merge(shards, tmp_path / "merged.jsonl")
    assert (numbers(merged), notes) == (numbers(one), [])
    assert numbers(other) == numbers(one)


def numbers(run_file):
    """What a run found."""
    return {r.key: r.value for r in run_file.records}


def test_ctrl_c_leaves_a_valid_file_and_says_how_to_go_on(suite_file, tmp_path):
    path, folder = suite_file(), tmp_path / "runs"
    process = command("run", path, "--out", folder, "--no-report", "--jobs", 1)
    results = wait_for_records(folder, 1, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in err
    assert records_run_file.read(results).missing()


@pytest.mark.usefixtures("one_fork_server")
def test_a_failed_measure_and_a_timeout_are_records_and_the_rest_goes_on(suite_file, tmp_path):
    text = suite_file().read_text()
    text = text.replace(
        "width = 24, depth = 1, heads = 3 }", "width = 25, depth = 1, heads = 3 }", 1
    )
    session = start(suite_file(text=text + LATE), tmp_path)
    run.execute(session, 2, silent)
    records = records_run_file.read(session.path).records
    by_cell = {cell: [r for r in records if r.cell == cell] for cell in session.todo}
    failed = by_cell["cost/floor/t2"]
    assert [(r.measure, r.metric, r.status) for r in failed] == [
        (measure, "*", "failed") for measure in MEASURES
    ]
    assert failed[0].reason == "model 'frame_mean': width 25 is not a multiple of heads 3"
    assert all(r.status == "ok" for r in by_cell["cost/ours/t2"])
    (late,) = by_cell["late/ours/t2"]
    assert late.status == "timeout"
    assert "time limit of 0.2 s" in late.reason
    assert records_run_file.read(session.path).missing() == {}


@pytest.mark.usefixtures("one_fork_server")
def test_a_checkpoint_that_could_not_be_saved_is_tried_again_on_resume(suite_file, tmp_path):
    text = suite_file(more=LEARN).read_text()
    path = suite_file(text=only_last_grid(text))
    session = start(path, tmp_path / "runs")
    (cell,) = session.cells()
    blocked = session.path.with_suffix(".partial") / cell.file_stem / "accuracy" / "training.part"
    blocked.mkdir(parents=True)  # nothing can be written there
    run.execute(session, 1, silent)
    before = session.path.read_bytes()
    (failure,) = records_run_file.read(session.path).records
    assert failure.status == "failed"
    assert "cannot write checkpoint" in failure.reason
    assert "free some space and resume" in failure.reason
    assert blocked.exists()  # what was kept is not given up
    again = run.resume(*read_suite(path), tmp_path / "runs")
    assert again.todo == {cell.id: ["accuracy"]}
    blocked.rmdir()
    run.execute(again, 1, silent)
    found = records_run_file.read(session.path)
    assert {r.status for r in found.records} == {"ok"}
    assert found.missing() == {}
    assert session.path.read_bytes().startswith(before)
    lines = [json.loads(line) for line in session.path.read_bytes().splitlines()]
    assert sum(line["type"] == "record" for line in lines) == 1 + len(found.records)
    assert not session.path.with_suffix(".partial").exists()


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (CacheError("cannot write x"), True),
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.ENOENT, "No such file"), False),
        (UserError("a setting that cannot be"), False),
    ],
)
def test_only_what_could_not_be_written_is_tried_again(error, again):
    assert (detail_of(error) == TRY_AGAIN) == again


def killed_at_birth(monkeypatch, warm):
    """Let the first child, warm or cold, be killed as soon as it has its job."""
    monkeypatch.setattr(warm_start, "AVAILABLE", warm)
    enter, deaths = Child.__enter__, iter([True])

    def entered(child):
        enter(child)
        assert child.warm == warm
        if next(deaths, False):
            os.kill(child.process.pid, signal.SIGSEGV)
        return child

    monkeypatch.setattr(Child, "__enter__", entered)


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.usefixtures("one_fork_server")
def test_a_worker_that_dies_leaves_a_record_and_the_next_measure_runs(
    warm, suite_file, tmp_path, monkeypatch
):
    session = start(suite_file(), tmp_path)
    killed_at_birth(monkeypatch, warm)
    run.execute(session, 1, silent)
    records = records_run_file.read(session.path).records
    failures = [(r.metric, r.reason) for r in records if r.status != "ok"]
    assert failures == [("*", "the worker was killed by signal 11.")]
    assert len(records) == len(WHOLE) - 1  # params are two numbers, their failure is one record


def test_a_fork_server_that_dies_ends_no_run(suite_file, tmp_path):
    session = start(suite_file(), tmp_path)

    def murderous(cell, event):
        if event["event"] == "done" and servers:
            servers.pop().process.kill()

    servers = []
    opened = ForkServer._open
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ForkServer, "_open", lambda self: (opened(self), servers.append(self))[0])
        run.execute(session, 1, murderous)
    assert not servers
    assert records_run_file.read(session.path).missing() == {}


def test_a_worker_stops_when_its_parent_is_gone(tmp_path):
    worker = subprocess.Popen(
        [sys.executable, "-m", "pks4.bench.run.worker"], stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    job = {"cell": {}, "measures": [], "threads": 1}
    os.write(worker.stdin.fileno(), (json.dumps(job) + "\n").encode())
    worker.stdin.close()
    assert worker.wait(timeout=60) != 0


def test_resume_refuses_another_plan_and_a_folder_without_a_run(suite_file, tmp_path):
    path = suite_file()
    start(path, tmp_path / "runs")
    path.write_text(path.read_text().replace("frames = [2]", "frames = [2, 3]"))
    with pytest.raises(UserError, match="has changed since"):
        run.resume(*read_suite(path), tmp_path / "runs")
    with pytest.raises(UserError, match="without --resume"):
        run.resume(*read_suite(path), tmp_path)


def test_resume_refuses_a_run_that_began_with_other_defaults(suite_file, tmp_path):
    """Otherwise PKS4 would stand in two places under one label."""
    path = suite_file()
    session = start(path, tmp_path)
    begun = session.path.read_text().replace('"insert_after":"middle",', "")
    session.path.write_text(begun)
    with pytest.raises(UserError, match=r"other options .*\(insert_after: none → middle\)"):
        run.resume(*read_suite(path), tmp_path)


def test_a_run_from_before_a_setting_resumes_with_its_device_named_again(suite_file, tmp_path):
    path = suite_file(text=only_last_grid(suite_file(more=LEARN).read_text()))
    session = start(path, tmp_path)
    old = json.loads(session.path.read_text())
    for name in ("image_floor", "sees_floor"):
        del old["cells"][0]["settings"]["accuracy"][name]
    session.path.write_text(json.dumps(old) + "\n")
    resumed = run.resume(*read_suite(path), tmp_path, UserInputs(device="cpu"))
    assert "sees_floor" not in resumed.cells()[0].settings["accuracy"]


def test_resume_reports_a_torn_line(suite_file, tmp_path):
    path = suite_file()
    session = start(path, tmp_path)
    session.path.write_bytes(session.path.read_bytes() + b'{"type": "record", "ru')
    resumed = run.resume(*read_suite(path), tmp_path)
    assert "torn" in resumed.notes[0]
    assert len(resumed.cells()) == 2


STARTER = """
import subprocess
from pks4.bench.process import child

_, send = child.receive()
started = subprocess.Popen(["sleep", "60"])
send(started=started.pid)
started.wait()
"""


def test_what_a_child_has_started_ends_with_it_when_the_parent_is_gone():
    child = subprocess.Popen(
        [sys.executable, "-c", STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    with child:
        child.stdin.write("{}\n")
        child.stdin.flush()
        started = json.loads(child.stdout.readline())["started"]
        child.stdin.close()
        assert child.wait(timeout=60) == -signal.SIGKILL
    for _ in range(200):
        if not os.path.exists(f"/proc/{started}") or _is_dead(started):
            return
        time.sleep(0.05)
    raise AssertionError("it lives on")


def _is_dead(pid):
    """Whether a process waits for its parent to take note of its end."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True
