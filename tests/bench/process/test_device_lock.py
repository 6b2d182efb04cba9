"""Turns on a device: one holder at a time, who waits is told, and a lock ends with its process."""

import subprocess
import sys

import pytest
from rich.console import Console

from pks4.bench.plan.suite import read_suite
from pks4.bench.process import device_lock
from pks4.bench.run import run
from pks4.commands.parts.progress import Watch
from pks4.errors import UserError
from tests.factories.runs import cell
from tests.factories.suites import LATE

HOLDER = """
import sys
from pks4.bench.process import device_lock

with device_lock.lock(sys.argv[1], lambda: print("waits", flush=True)):
    print("holds", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def locks(tmp_path, monkeypatch):
    """A folder of locks that nobody else uses."""
    monkeypatch.setenv(device_lock.FOLDER, str(tmp_path / "locks"))


def holder(name):
    """A process that holds a lock until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    return process, process.stdout.readline().strip()


def test_a_second_process_waits_until_the_first_is_done(locks):
    first, said = holder("cpu-here")
    assert said == "holds"
    second, said = holder("cpu-here")
    assert said == "waits"
    other, said = holder("cuda-GPU-1")  # another device is another lock
    assert said == "holds"
    first.communicate(timeout=60)
    assert second.stdout.readline().strip() == "holds"
    for process in (second, other):
        process.communicate(timeout=60)


def test_a_lock_ends_with_a_process_that_is_killed(locks):
    process, _ = holder("cpu-here")
    process.kill()
    process.communicate(timeout=60)
    with device_lock.lock("cpu-here", lambda: pytest.fail("it is held by nobody")):
        pass


@pytest.mark.slow
def test_a_run_times_nothing_until_another_runs_timing_is_over(locks, suite_file, tmp_path):
    text = suite_file().read_text()
    suite = suite_file(text=text[: text.index("[[grids]]")] + LATE)
    session = run.start(*read_suite(suite), tmp_path / "runs")
    process, _ = holder(device_lock.cpu())
    told = []

    def listen(cell, event):
        if event["event"] == "waiting":
            process.stdin.close()
            process.wait(timeout=60)
        told.append((cell.id, event["event"]))

    run.execute(session, 2, listen)
    process.stdout.close()
    assert told[0] == ("late/ours/t2", "waiting")
    assert told[-1] == ("late/ours/t2", "failed")  # at its time limit, which began after the wait


def devices(settings):
    """The locks of a cell with these settings."""
    return set(device_lock._devices(cell("g/x/t8", list(settings), settings)))


def test_a_cell_holds_what_it_computes_on(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-b,GPU-a")
    assert devices({"time": {"device": "cpu"}, "params": {}}) == {device_lock.cpu()}
    assert devices({"streaming": {}}) == {device_lock.cpu()}
    assert devices({"time": {"device": "cuda", "processes": 3}}) == {"cuda-GPU-b"}
    training = {"device": "cuda", "processes": 2}
    assert devices({"accuracy": training}) == {"cuda-GPU-a", "cuda-GPU-b"}


def test_a_gpu_is_known_by_its_uuid_else_by_its_index(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert devices({"time": {"device": "cuda"}}) == {"cuda-0"}
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!{sys.executable}\nimport sys\nprint('GPU-of-' + sys.argv[2])\n")
    tool.chmod(0o755)
    assert devices({"time": {"device": "cuda"}}) == {"cuda-GPU-of-0"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    assert devices({"time": {"device": "cuda"}}) == {"cuda-GPU-of-3"}


def test_a_folder_that_takes_no_lock_names_the_remedy(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(device_lock.FOLDER, str(tmp_path / "file" / "locks"))
    held = device_lock.lock("cpu", lambda: None)
    with pytest.raises(UserError, match="set PKS4_LOCKS to a folder of this machine"), held:
        pass


def test_who_waits_is_shown(suite_file, tmp_path, capsys):
    session = run.start(*read_suite(suite_file()), tmp_path)
    where = session.header.cells[0]
    with Watch(session, Console(width=200)) as watch:
        watch(where, {"event": "waiting", "measure": "params", "device": "CPU"})
    assert "cost/floor/t2: waiting for another run's timing on this CPU" in capsys.readouterr().out
