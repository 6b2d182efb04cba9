"""Jobs of a real Slurm of one node: an array, a training that is requeued, what status says."""

import contextlib
import json
import subprocess
import time

import pytest

from pks4.bench.records import run_file
from pks4.bench.records.task_files import TaskFiles
from tests.factories.trainings import learn, trainings
from tests.tools import slurm_node
from tests.tools.commands import command, done

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(slurm_node.why_not()), reason=slurm_node.why_not()),
]
ALONE = """
[[grids]]
name = "late"
scale = "tiny"
frames = [2]
num_classes = 5
contestants = ["floor"]
measures = ["time"]
settings.time = { processes = 1, rounds = 3, sample_ms = 1 }
"""
EPOCHS = 100  # enough that the training is still at work when it is told to stop
STARTS = "Starting with JobEnvironment"  # what submitit prints
CHECKPOINT = "*.partial/learn*/accuracy/training.pt"
SLURM = ("--executor", "slurm", "--no-report")


@pytest.fixture(scope="module")
def slurm():
    """A cluster, to which the commands of this process and its children lead."""
    with slurm_node.cluster() as leads, pytest.MonkeyPatch.context() as patch:
        for name, value in leads.items():
            patch.setenv(name, value)
        yield


def slurm_command(*args):
    """What one of Slurm's commands prints."""
    return subprocess.run(args, capture_output=True, text=True, check=True).stdout


def status(path):
    """`pks4-bench status --json` of a run."""
    out, _ = done(command("status", path, "--json"))
    return json.loads(out)


@contextlib.contextmanager
def running(*args):
    """A command's process, which does not outlive a test that fails."""
    with command(*args) as process:
        try:
            yield process
        finally:
            process.kill()


def last_written(path):
    """When a file was last written, in nanoseconds; 0 while it is not there."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def wait_for(what, process):
    """The first thing that `what` gives, within six minutes and while the process lives."""
    end = time.monotonic() + 360
    while not (found := what()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)
    return found


def test_a_training_that_is_requeued_at_work_goes_on_at_its_epoch_and_nothing_is_lost(
    slurm, suite_file, tmp_path
):
    path, folder = suite_file(more=ALONE + learn(epochs=EPOCHS)), tmp_path / "runs"
    few = '"params"]\ncontestants = ["floor"'
    path.write_text(path.read_text().replace('"params", "macs", "saved_bytes"', few))
    with running("run", path, "--out", folder, *SLURM) as process:
        (saved,) = wait_for(lambda: list(folder.glob(CHECKPOINT)), process)
        (results,) = folder.glob("*.jsonl")
        job = TaskFiles(results).submissions()["learn/floor/t2"].job
        slurm_command(
            "scancel", "--signal", "USR2", job
        )  # as before its time limit: requeues itself
        log = TaskFiles(results).log / f"{job}_0_log.out"
        # only the second start says so twice: until then the first may still write a checkpoint
        wait_for(lambda: log.read_text().count(STARTS) == 2, process)
        before = last_written(saved)
        wait_for(lambda: last_written(saved) > before, process)
        slurm_command("scontrol", "requeue", job)  # as when it is preempted
        out, _ = done(process)
        assert out == str(results)
    run = run_file.read(results)
    assert run.missing() == {}
    assert {r.status for r in run.records} == {"ok"}
    lines = [json.loads(line)["type"] for line in results.read_bytes().splitlines()]
    assert len({r.key for r in run.records}) == len(run.records) == lines.count("record")
    top1 = trainings(results)["top1"]
    first, second = top1.evidence["resumed_at_epoch"]
    assert 1 <= first < second < EPOCHS
    where = {r.cell: r.environment for r in run.records}
    assert {e["executor"] for e in where.values()} == {"slurm"}
    assert (where["learn/floor/t2"]["job"], where["learn/floor/t2"]["restarts"]) == (job, 2)
    assert where["cost/floor/t2"]["restarts"] == 0
    shared = {where[c]["job"].split("_")[0] for c in ("cost/floor/t2", "learn/floor/t2")}
    assert len(shared) == 1
    assert where["late/floor/t2"]["job"] not in shared  # a node to itself, a submission of its own
    assert status(results)["counts"] == {"done": 3}


def test_jobs_that_are_left_are_told_by_status_and_a_cancelled_one_is_submitted_again(
    slurm, suite_file, tmp_path
):
    path, folder = suite_file(), tmp_path / "runs"
    later = ("--no-wait", "--sbatch", "begin=now+1hour")
    out, err = done(command("run", path, "--out", folder, *SLURM, *later))
    (results,) = folder.glob("*.jsonl")
    assert out == str(results)
    assert "2 waiting" in err
    jobs = {cell: job.job for cell, job in TaskFiles(results).submissions().items()}
    slurm_command("scancel", jobs["cost/ours/t2"])
    states = {one["cell"]: one["state"] for one in status(results)["cells"]}
    assert states == {"cost/floor/t2": "waiting", "cost/ours/t2": "lost"}
    _, err = done(command("run", path, "--out", folder, "--resume", "--no-report"), code=2)
    assert "1 cells are with slurm still" in err
    slurm_command("scontrol", "update", f"JobId={jobs['cost/floor/t2']}", "StartTime=now")
    done(command("run", path, "--out", folder, *SLURM, "--resume"))
    told = status(results)
    assert told["counts"] == {"done": 2}
    now = {one["cell"]: one["job"] for one in told["cells"]}
    assert now["cost/floor/t2"] == jobs["cost/floor/t2"]
    assert now["cost/ours/t2"] != jobs["cost/ours/t2"]
