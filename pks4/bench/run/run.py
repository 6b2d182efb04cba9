"""A run: a plan's cells measured in child processes, each event written as it comes.

A run is started, resumed, or reopened as a task, then executed. Cells that must run alone come
last, one by one, when every other child is gone. The others run together, a thread and a child
each. The parent sleeps until a child sends an event.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pks4.bench.contestants import catalogue
from pks4.bench.plan.cell import Cell
from pks4.bench.plan.plan import plan
from pks4.bench.plan.shard import Shard
from pks4.bench.plan.suite import Suite, parse_suite
from pks4.bench.plan.user_inputs import NO_INPUTS, UserInputs, inputs_of_old_run
from pks4.bench.process import device_lock
from pks4.bench.process.child import Children
from pks4.bench.records import environment, run_file, same_case
from pks4.bench.records.record import RunHeader, stamp
from pks4.bench.records.run_file import RunFile
from pks4.bench.records.task_files import TaskCollector, TaskFiles
from pks4.bench.run.worker_pool import Listener, WorkerPool
from pks4.errors import UserError


@dataclass(frozen=True)
class Session:
    """A run that is open for writing."""

    path: Path
    header: RunHeader
    todo: dict[str, list[str]]  # cell id -> measures left
    notes: list[str]  # what the user of a resumed run must know
    whole: Path | None = None  # the run whose scratch it uses, where this is a task of that run
    patience: float = run_file.PATIENCE  # seconds to wait for another writer of the file

    def cells(self) -> list[Cell]:
        """Cells with something left to do."""
        return [c for c in self.header.cells if c.id in self.todo]


def start(
    suite: Suite,
    text: str,
    folder: Path,
    inputs: UserInputs = NO_INPUTS,
    shard: Shard | None = None,
) -> Session:
    """Begin a new run, of one shard if it is named: plan it and write its header."""
    whole, source = plan(suite, inputs), environment.provenance()
    cells = shard.of(whole) if shard else whole
    now = datetime.now(UTC)
    name = f"{suite.name}-{now:%Y%m%d-%H%M%S}-{(source.commit or 'nocommit')[:7]}"
    if shard:
        name += f"-{shard.number}of{shard.total}"
    header = RunHeader(
        run=name,
        suite=suite.name,
        suite_text=text,
        created=stamp(now),
        cells=cells,
        part=shard.part(whole) if shard else None,
        inputs=inputs.with_hashes(),
        **source.model_dump(),
    )
    path, header = run_file.begin(folder, header)
    return Session(path, header, {c.id: list(c.measures) for c in cells}, [])


def resume(
    suite: Suite,
    text: str,
    folder: Path,
    inputs: UserInputs = NO_INPUTS,
    shard: Shard | None = None,
) -> Session:
    """Go on with the latest run of a suite, or of a shard of it: what is recorded is skipped.

    The run keeps the inputs that it began with; those that are named again must be the same.
    """
    paths = [p for p in run_file.runs(folder) if p.name.startswith(f"{suite.name}-")]
    runs = {p: _read_if_sound(p) for p in paths}
    run = _latest([run for run in runs.values() if run and run.header.suite == suite.name],
                  suite, folder, shard)  # fmt: skip
    if TaskFiles(run.path).folder.exists():
        with TaskCollector(run.path) as collector:
            collector.collect()
            run = collector.run
    _check_same_plan(run, suite, text, inputs)
    source, notes = environment.provenance(), list(run.torn)
    notes += [f"{p}: unreadable, left alone" for p in paths if runs[p] is None]
    if source.commit != run.header.commit or source.dirty != run.header.dirty:
        notes.append("the code has changed since this run began; each record names its commit")
    for name in ("versions", "environment"):
        if getattr(source, name) != getattr(run.header, name):
            notes.append(f"{name}: not as when this run began; each record names its own")
    return Session(run.path, run.header, run.missing(), notes)


def _latest(runs: list[RunFile], suite: Suite, folder: Path, shard: Shard | None) -> RunFile:
    """The last of the runs that is the whole suite, or the whole shard."""
    asked = [
        run for run in runs
        if (shard.is_all_of(run.header.part) if shard else run.header.part is None)
    ]  # fmt: skip
    if asked:
        return asked[-1]
    what = f"shard {shard} of {suite.name!r}" if shard else repr(suite.name)
    there = sorted({str(run.header.part or "the whole") for run in runs})
    raise UserError(f"{folder}: no run of {what} to resume{'; there is: ' * bool(there)}"
                    f"{', '.join(there)}; run it without --resume")  # fmt: skip


def _check_same_plan(run: RunFile, suite: Suite, text: str, inputs: UserInputs) -> None:
    """Raise UserError if the suite, or an input that is named again, would change the plan."""
    header = run.header
    begun_with = header.inputs or inputs_of_old_run(header.cells)
    if changed := begun_with.changed_file():
        raise UserError(
            f"{run.path}: the file of {changed} is not as it was when this run began; "
            "restore it, or start a new run"
        )
    anywhere = begun_with.model_copy(update={"device": None})
    planned = plan(suite, anywhere)
    if header.suite_text != text:
        begun = parse_suite(header.suite_text, str(run.path))
        if plan(begun, anywhere) != planned:
            raise UserError(
                f"{run.path}: suite {suite.name!r} has changed since this run began; "
                "start a new run"
            )
    options = {cell.id: cell.options for cell in planned}
    for cell in header.cells:
        if other := same_case.differences(cell.options, options.get(cell.id, {})):
            raise UserError(
                f"{run.path}: the code gives {cell.id} other options than when this run began "
                f"({other[0]}); start a new run"
            )
    if inputs != NO_INPUTS:
        # Not with the header's cells: settings may have been added since.
        cells = {cell.id for cell in header.cells}
        before, now = (
            [cell for cell in plan(suite, named) if cell.id in cells]
            for named in (begun_with, begun_with.updated_with(inputs))
        )
        if before != now:
            raise UserError(
                f"{run.path}: was begun with another --device, --data or --weights; leave them "
                "out of --resume, or start a new run"
            )


def reopen(path: Path, whole: Path, patience: float) -> Session:
    """Go on with the file of a task, with whatever neither it nor the run has recorded."""
    task = run_file.read(path)
    known = RunFile(path, task.header, [*task.records, *run_file.read(whole).records])
    return Session(path, task.header, known.missing(), task.torn, whole, patience)


def _read_if_sound(path: Path) -> RunFile | None:
    try:
        return run_file.read(path)
    except UserError:
        return None


def execute(
    session: Session,
    jobs: int,
    listen: Listener,
    memory_limit: int | None = None,
    children: Children | None = None,
) -> None:
    """Run all that is left; returns when every measure has its records.

    `memory_limit`: bytes that a cell which computes may take, see `pks4.bench.run.memory_limit`.
    `children`: those of the caller, whose fork server goes on; it ends with the run.
    """
    together = [c for c in session.cells() if not c.alone]
    alone = [c for c in session.cells() if c.alone]
    pool = WorkerPool(session, listen, memory_limit, children or Children())
    try:
        with ThreadPoolExecutor(max(1, jobs)) as threads:
            try:
                for done in [threads.submit(pool.run, cell) for cell in together]:
                    done.result()
            except BaseException:
                pool.stop()
                threads.shutdown(cancel_futures=True)
                raise
        for cell in alone:
            with device_lock.exclusive(cell, partial(pool.waits, cell)):
                pool.run(cell)
    except BaseException:
        pool.stop()
        raise
    finally:
        pool.close()


def data_needed(cells: Iterable[Cell]) -> list[dict[str, Any]]:
    """The embedded data sets that the cells read, each once, as arguments of `make`."""
    wanted: list[dict[str, Any]] = []
    for cell in cells:
        for name in cell.measures:
            needs = getattr(catalogue.measures()[name].load(), "data_needed", None)
            wanted += [need for need in needs(cell) if need not in wanted] if needs else []
    return wanted
