"""`pks4-bench run`: a suite measured here, a shard of it, or its cells as jobs of a cluster."""

import shlex
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from pks4.bench import units
from pks4.bench.plan.user_inputs import UserInputs
from pks4.bench.records.environment import cores
from pks4.bench.records.folders import runs_folder, suite_file, suite_named
from pks4.bench.records.run_file import RunFile
from pks4.bench.units import bytes_of
from pks4.commands.parts import executor_options
from pks4.commands.parts.terminal import (
    Data,
    Fast,
    OfShard,
    Own,
    OwnModule,
    Weights,
    escaped,
    note,
    tell_notes,
)
from pks4.commands.results.report import write_report


def run(
    suite: Annotated[str, typer.Argument(help="A suite's name or a TOML file.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the records; the report goes to reports/."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with this suite's latest run.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Cells at once; default: one a core, with Slurm its limit."),
    ] = None,
    report: Annotated[
        bool | None, typer.Option(help="Write the report when done; default: not of a shard.")
    ] = None,
    model: Own = None,
    module: OwnModule = None,
    fast: Fast = False,
    memory_limit: Annotated[
        str, typer.Option(help="For a cell that computes, such as 8GB; more is a failure.")
    ] = "",
    device: Annotated[
        str | None,
        typer.Option(help="cpu or cuda, for measures that compute; default: as the suite says."),
    ] = None,
    data: Data = None,
    weights: Weights = None,
    shard: OfShard = None,
    executor: executor_options.Name = None,
    partition: executor_options.Partition = "",
    gres: executor_options.Gres = "",
    time: executor_options.Minutes = None,
    cpus: executor_options.Cpus = None,
    mem: executor_options.Memory = "",
    sbatch: executor_options.Further = None,
    wait: executor_options.Wait = True,
) -> None:
    """Run a suite: plan, prepare data, measure every cell, write the report."""
    from pks4.bench.plan.plan import plan as plan_cells
    from pks4.bench.plan.shard import Shard
    from pks4.bench.process.child import Children
    from pks4.bench.records import run_file
    from pks4.bench.run import run as runner
    from pks4.bench.run.build_check import check_in_child
    from pks4.commands.parts.progress import Watch, prepare_data
    from pks4.simulate.targets import check_device

    resources = executor_options.resources(
        executor, partition, gres, time, cpus, mem, sbatch, jobs, wait
    )
    limit = bytes_of(memory_limit) if memory_limit else None
    part = Shard.parse(shard) if shard else None
    parsed, text = suite_named(suite, model or [], fast, module or [])
    folder = out or runs_folder()
    if device:
        check_device(device, here=executor is None)
    inputs = UserInputs.parse(parsed, data, weights or [], device)
    where, children = str(suite_file(suite)), Children()
    try:
        if resume:
            session = runner.resume(parsed, text, folder, inputs, part)
            notes = check_in_child(session.cells(), where, children)
        else:
            notes = check_in_child(plan_cells(parsed, inputs), where, children)
            session = runner.start(parsed, text, folder, inputs, part)
        tell_notes([*notes, *session.notes])
        note.print(f"run [bold]{escaped(session.header.run)}[/]: {len(session.cells())} of "
                   f"{len(session.header.cells)} cells to do")  # fmt: skip
        if executor is None:
            executor_options.refuse_if_at_work(session.path)
        prepare_data(session.cells(), note)
        if executor is None:
            with Watch(session, note) as watch:
                runner.execute(session, jobs or cores(), watch, limit, children)
        else:
            executor_options.send(session.path, executor, resources, limit, wait)
    except KeyboardInterrupt:
        again = shlex.join(["pks4-bench", *sys.argv[1:], *["--resume"] * (not resume)])
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        note.print(f"interrupted; what was measured is kept in {folder}. Go on with: "
                   f"{escaped(again)}", soft_wrap=True)  # fmt: skip
        sys.exit(130)
    finally:
        children.close()
    if not wait:
        print(session.path)
        return
    sys.exit(_ended(run_file.read(session.path), part is None if report is None else report))


def _ended(run: RunFile, report: bool) -> int:
    """Print what failed and the path of the report or the run; returns the exit code."""
    failures = [r for r in run.records if r.status != "ok"]
    for r in failures:
        where = escaped(f"{r.cell} {r.measure}: {r.reason or ''}")
        note.print(f"[red]{r.status}[/] {where}")
    if all_void := every_accuracy_void(run):
        note.print(f"[red]void[/] {escaped(all_void)}", soft_wrap=True)
    print(write_report(run.path, None) if report else run.path)
    return 1 if failures or run.missing() else 0


def every_accuracy_void(run: RunFile) -> str:
    """One line where a run has accuracies and a floor voids every one of them; else empty."""
    cells = {cell.id for cell in run.header.cells if "accuracy" in cell.measures}
    floors = {r.cell: r.missed_floor for r in run.records if r.missed_floor}
    if not cells or cells - floors.keys():
        return ""
    counts = Counter(floors[cell] for cell in cells)
    each = units.listed(f"{count} below {floor}" for floor, count in sorted(counts.items()))
    return f"no accuracy of {run.header.suite}: {each}; nothing was trained"
