"""Cells as tasks of an executor: submitted once, stopped at will, gathered once and whole."""

import json
import os
import signal
import sys
import time

import pytest

from pks4.bench.cluster import dispatch, executors, status
from pks4.bench.cluster.cell_task import CellTask
from pks4.bench.plan.suite import read_suite
from pks4.bench.records import run_file
from pks4.bench.records.task_files import Submission, TaskCollector, TaskFiles
from pks4.bench.run import run
from pks4.errors import TRY_AGAIN, UserError
from tests.factories.runs import CELLS, COST, TIME, failed, made, written
from tests.factories.suites import WHOLE, only_last_grid
from tests.factories.trainings import learn, trainings
from tests.tools.commands import command, done, invoke, wait_for_records

LOCAL = ("--executor", "local", "--no-report")


def keys(records):
    """What a run holds once."""
    return sorted(r.key for r in records)


@pytest.mark.slow
def test_a_run_by_local_jobs_is_the_run_with_where_each_number_was_made(suite_file, tmp_path):
    out, err = done(command("run", suite_file(), "--out", tmp_path / "runs", *LOCAL))
    found = run_file.read(tmp_path / "runs" / out.rsplit("/", 1)[1])
    assert keys(found.records) == sorted(WHOLE)
    assert {r.run for r in found.records} == {found.header.run}
    assert {r.environment["executor"] for r in found.records} == {"local"}
    assert len({(r.cell, r.environment["job"]) for r in found.records}) == 2
    assert {r.environment["node"] for r in found.records} == {os.uname().nodename}
    assert "executor" not in found.header.environment
    assert "cost/ours/t2 done 3/3 local" in err
    told = json.loads(invoke("status", found.path, "--json").stdout)
    assert told["counts"] == {"done": 2}
    assert "2 done" in invoke("status", found.path).stdout


@pytest.mark.slow
def test_a_job_that_is_killed_is_lost_and_goes_on_at_its_epoch_when_submitted_again(
    suite_file, tmp_path
):
    path, folder = suite_file(more=learn(epochs=12)), tmp_path / "runs"
    text = path.read_text()
    path.write_text(only_last_grid(text))
    first = command("run", path, "--out", folder, *LOCAL)
    for _ in range(9000):  # three minutes, for busy machines
        if list(folder.glob("*.partial/*/accuracy/training.pt")) or first.poll() is not None:
            break
        time.sleep(0.02)
    results = wait_for_records(folder, 0, first)
    (job,) = TaskFiles(results).submissions().values()
    assert [one.state for one in states(results)] == ["running"]
    (worker,) = children(int(job.job))
    os.kill(worker, signal.SIGTERM)  # as Slurm does when it preempts
    out, err = done(first, code=1)
    assert out == str(results)
    assert "lost learn/floor/t2: job" in err
    assert [one.state for one in states(results)] == ["lost"]
    done(command("run", path, "--out", folder, *LOCAL, "--resume"))
    found = trainings(results)
    (at,) = found["top1"].evidence["resumed_at_epoch"]
    assert 1 <= at <= 12
    assert found["top1"].environment["job"] != job.job
    assert [one.state for one in states(results)] == ["done"]
    assert not list(folder.glob("*.partial"))


def states(path):
    """The state of every cell of a run, by what its jobs are."""
    jobs = TaskFiles(path).submissions()
    live = executors.live((job.executor, job.job) for job in jobs.values())
    return status.states(run_file.read(path), jobs, live)


def children(process):
    """Process ids of a process's children."""
    path = f"/proc/{process}/task/{process}/children"
    with open(path, encoding="ascii") as file:
        return [int(pid) for pid in file.read().split()]


@pytest.fixture
def begun(suite_file, tmp_path):
    """A run with results files for its tasks, and nothing measured."""
    path = run.start(*read_suite(suite_file()), tmp_path / "runs").path
    found = run_file.read(path)
    TaskFiles(path).begin(found, found.header.cells)
    return found


def test_a_task_that_starts_again_measures_only_what_is_not_recorded(begun, monkeypatch):
    asked, cell = [], begun.header.cells[1]
    monkeypatch.setattr(run, "execute", lambda session, *_: asked.append(session.todo))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    task = CellTask(TaskFiles(begun.path).file(cell), begun.path, None)
    task()
    records = [r.model_copy(update={"cell": cell.id}) for r in made().records]
    one = records[0].model_copy(update={"measure": "macs", "parts": 1})
    two = records[1].model_copy(update={"measure": "params", "parts": 1})
    append(task.path, one)  # by an earlier try
    append(begun.path, two)  # by a run without executors
    task()
    assert asked == [{cell.id: ["params", "macs", "saved_bytes"]}, {cell.id: ["saved_bytes"]}]


def append(path, *records):
    """Write records to a file of a run."""
    writer = run_file.Writer(path)
    writer.append(*records)
    writer.close()


def test_what_tasks_wrote_is_gathered_once_and_a_cut_line_when_it_is_whole(tmp_path):
    path = written(run_only(made("base-1")), tmp_path)
    tasks, whole = TaskFiles(path), made("base-1").records
    tasks.begin(run_file.read(path), CELLS)
    with TaskCollector(path) as collector:
        assert collector.collect() == []
        append(tasks.file(COST), whole[0])
        assert collector.collect() == [whole[0]]
        assert collector.collect() == []
        line = whole[1].model_dump_json().encode() + b"\n"
        with tasks.file(TIME).open("ab") as file:
            file.write(line[:100])
            file.flush()
            assert collector.collect() == []
            file.write(line[100:])
        assert collector.collect() == [whole[1]]
    with TaskCollector(path) as again:
        assert again.collect() == []
    assert run_file.read(path).records == whole[:2]


def run_only(found):
    """The run with nothing measured."""
    return run_file.RunFile(found.path, found.header, [])


def test_a_failure_that_a_task_tried_again_gives_way_to_what_it_found_then(tmp_path):
    path = written(made(drop=("saved_bytes",)), tmp_path)
    tasks, again = TaskFiles(path), {"detail": TRY_AGAIN, "created": "2026-01-01T00:00:01Z"}
    tasks.begin(run_file.read(path), [COST])
    for reason, more, left in (("full", again, {COST.id}), ("diverged", {}, set())):
        writer = run_file.Writer(tasks.file(COST))
        writer.append(failed(COST, "saved_bytes", reason, **more))
        writer.close()
        with TaskCollector(path) as collector:
            assert [r.reason for r in collector.collect()] == [reason]
            assert collector.collect() == []
        found = run_file.read(path)
        assert [r.reason for r in found.records if r.status != "ok"] == [reason]
        assert found.missing().keys() == left


def test_every_state_of_a_cell_is_told_apart():
    whole, (first, second, third) = made(), CELLS[2:]
    kept = [r for r in whole.records if r.cell in (COST.id, TIME.id)]
    kept[0] = failed(COST, "saved_bytes", "cut")
    jobs = {
        c.id: Submission(cell=c.id, executor="slurm", job=f"7_{n}", submitted="")
        for n, c in enumerate([*CELLS[:2], first, second])
    }
    live = {("slurm", "7_2"): "waiting"}
    found = run_file.RunFile(whole.path, whole.header, kept)
    told = [one.state for one in status.states(found, jobs, live)]
    assert told == ["failed", "done", "waiting", "lost", "to do"]
    unasked = status.states(found, jobs, None)
    assert [one.state for one in unasked][2:] == ["unknown", "unknown", "to do"]
    assert status.counts(unasked) == {"to do": 1, "unknown": 2, "failed": 1, "done": 1}
    assert third.id == unasked[4].cell


@pytest.mark.slow
def test_local_jobs_are_so_many_at_once_and_what_must_be_alone_comes_last_and_singly(tmp_path):
    local, alone = executors.Local(tmp_path, 2), TIME.model_copy(update={"alone": True})
    cells = [alone, COST, *CELLS[2:]]
    assert local.ready(cells, 0) == [[COST, CELLS[2]]]
    assert local.ready(cells, 1) == [[COST]]
    assert local.ready(cells, 3) == []
    assert local.ready([alone, alone], 1) == []
    assert local.ready([alone, alone], 0) == [[alone]]
    assert local.ready([], 0) == []


def program(folder, name, code):
    """A program of this name that runs Python code."""
    path = folder / name
    path.write_text(f"#!{sys.executable}\nimport sys\n{code}\n")
    path.chmod(0o755)


def test_slurm_is_asked_once_and_what_it_does_not_name_is_over(tmp_path, monkeypatch):
    said = "7_0 RUNNING\\n7_1 PENDING\\n7_2 COMPLETING\\n8 REQUEUE_HOLD\\n9 RUNNING"
    program(tmp_path, "squeue", f"print('{said}')")
    monkeypatch.setenv("PATH", str(tmp_path))
    asked = [("slurm", job) for job in ("7_0", "7_1", "7_2", "7_3", "8")]
    assert executors.live(asked) == {
        ("slurm", "7_0"): "running", ("slurm", "7_1"): "waiting",
        ("slurm", "7_2"): "running", ("slurm", "8"): "waiting",
    }  # fmt: skip


def submit_all(run):
    """Note each cell of a run as submitted to Slurm."""
    jobs = [
        Submission(cell=c.id, executor="slurm", job="7", submitted="") for c in run.header.cells
    ]
    TaskFiles(run.path).submitted(jobs)


def test_a_status_without_slurm_says_so_and_shows_what_is_recorded(begun, monkeypatch, tmp_path):
    submit_all(begun)
    monkeypatch.setenv("PATH", str(tmp_path))
    asked = invoke("status", begun.path, "--json")
    assert json.loads(asked.stdout)["counts"] == {"unknown": 2}
    assert "there is no squeue here" in asked.stderr


def test_a_cell_that_must_be_alone_gets_a_node_and_the_resources_reach_sbatch(
    suite_file, tmp_path, monkeypatch
):
    more = '[[grids]]\nname = "late"\nscale = "tiny"\nframes = [2]\nmeasures = ["time"]\n'
    program(tmp_path, "sbatch", "print('Submitted batch job 7')")
    for name in ("srun", "squeue"):
        program(tmp_path, name, "")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    options = ("--partition", "p", "--gres", "gpu:1", "--time", 30, "--cpus", 4, "--mem", "8G",
               "--sbatch", "account=vision", "--jobs", 1)  # fmt: skip
    ran = invoke("run", suite_file(more=more), "--out", tmp_path / "runs", "--executor", "slurm",
                 "--no-wait", *options)  # fmt: skip
    assert ran.exit_code == 0, ran.output
    (path,) = (tmp_path / "runs").glob("*.jsonl")
    assert ran.stdout.strip() == str(path)
    assert [j.job for j in TaskFiles(path).submissions().values()] == ["7_0", "7_1", "7_0", "7_1"]
    text = (TaskFiles(path).log / "7_submission.sh").read_text()  # of the later one
    for line in ("--exclusive", "--partition=p", "--gres=gpu:1", "--time=30", "--mem=8G",
                 "--cpus-per-task=4", "--account=vision", "--array=0-1%1", "--signal=USR2@60",
                 "--requeue"):  # fmt: skip
        assert f"#SBATCH {line}\n" in text, line


def test_what_sbatch_refuses_is_one_line(suite_file, tmp_path, monkeypatch):
    program(tmp_path, "sbatch", "sys.exit('sbatch: error: invalid partition specified: p')")
    for name in ("srun", "squeue"):
        program(tmp_path, name, "")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    ran = invoke("run", suite_file(), "--out", tmp_path / "runs", "--executor", "slurm")
    assert isinstance(ran.exception, UserError)
    assert str(ran.exception) == (
        "sbatch refused: sbatch: error: invalid partition specified: p; put it right, then go on "
        "with --resume"
    )


def test_without_submitit_the_remedy_is_named_and_no_run_is_begun(
    suite_file, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "submitit", None)
    ran = invoke("run", suite_file(), "--out", tmp_path / "runs", "--executor", "local")
    assert isinstance(ran.exception, UserError)
    assert "pip install 'pks4-bench[slurm]'" in str(ran.exception)
    assert not (tmp_path / "runs").exists()


def test_a_slurm_that_does_not_answer_for_a_while_is_waited_for(begun, tmp_path, monkeypatch):
    submit_all(begun)
    program(tmp_path, "squeue", "sys.exit('slurm_load_jobs error: Unable to contact controller')")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(executors.NoAnswer, match="Unable to contact controller"):
        executors.live([("slurm", "7")])
    slurm, looks = executors.Slurm(tmp_path, executors.Resources()), []

    def tell(found):
        looks.append({one.state for one in found})
        program(tmp_path, "squeue", "")

    monkeypatch.setattr(slurm, "poll_seconds", 0)
    monkeypatch.setattr(slurm, "submit", lambda cells, tasks: ["8", "9"])
    with TaskCollector(begun.path) as collector:
        found = dispatch.dispatch(collector, slurm, tell)
    assert looks == [{"unknown"}, {"lost"}, {"lost"}]
    assert [one.job for one in found] == ["8", "9"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--executor", "slrum"], "did you mean 'slurm'"),
        (["--partition", "p"], "--partition is for --executor slurm"),
        (["--executor", "local", "--no-wait"], "--no-wait is for --executor slurm"),
        (["--executor", "slurm", "--sbatch", "account"], "must be KEY=VALUE"),
        (["--executor", "slurm"], "there is no sbatch here"),
    ],
)
def test_options_that_cannot_be_are_told(options, said, suite_file, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    ran = invoke("run", suite_file(), "--out", tmp_path / "runs", *options)
    assert isinstance(ran.exception, UserError)
    assert said in str(ran.exception)


@pytest.mark.slow
def test_a_run_whose_jobs_are_at_work_is_not_resumed_beside_them(begun, suite_file):
    jobs = [Submission(cell=begun.header.cells[0].id, executor="local", job=str(os.getpid()),
                submitted="")]  # fmt: skip
    TaskFiles(begun.path).submitted(jobs)
    ran = invoke("run", suite_file(), "--out", begun.path.parent, "--resume")
    assert isinstance(ran.exception, UserError)
    assert "1 cells are with local still" in str(ran.exception)
