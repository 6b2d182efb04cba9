"""The parent: runs a plan's cells in child processes and writes what they say, as it comes.

A cell is one child with a time limit. Cells that must be alone run last, one by one, with every
other child gone; the rest run beside each other, one thread each, one child a core. The parent
sleeps until a child says something. A child that fails, runs out of memory or out of time, or dies
leaves a record with the reason.
"""

import contextlib
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pks4.bench.plan.cell import Cell
from pks4.bench.plan.plan import plan
from pks4.bench.plan.shard import Shard
from pks4.bench.plan.suite import Suite, parse_suite
from pks4.bench.plan.user_inputs import NOTHING, Given
from pks4.bench.process import device_lock, warm_start
from pks4.bench.records import environment, run_file
from pks4.bench.records.record import Provenance, RunHeader, records_of, stamp
from pks4.bench.records.task_files import Gathering, Tasks
from pks4.bench.run.workers import Process, Worker, events, kill
from pks4.errors import UserError

# (cell, event): event holds "event": waiting | start | progress | done | failed
Listener = Callable[[Cell, dict[str, Any]], None]


@dataclass(frozen=True)
class Session:
    """A run that is open for writing."""

    path: Path
    header: RunHeader
    todo: dict[str, list[str]]  # cell id -> measures left
    notes: list[str]  # what a resumed run has to say first
    whole: Path | None = None  # the run whose scratch it uses, where this is a task of it
    patience: float = run_file.PATIENCE  # seconds to wait for another writer of the file

    def cells(self) -> list[Cell]:
        """Cells with something left to do."""
        return [c for c in self.header.cells if c.id in self.todo]


def start(
    suite: Suite,
    text: str,
    folder: Path,
    device: str | None = None,
    given: Given = NOTHING,
    shard: Shard | None = None,
) -> Session:
    """Begin a new run, of one shard if it is named: plan it, for a device, write its header."""
    whole, source = plan(suite, device, given), environment.provenance()
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
        **source.model_dump(),
    )
    path, header = run_file.begin(folder, header)
    return Session(path, header, {c.id: list(c.measures) for c in cells}, [])


def resume(
    suite: Suite,
    text: str,
    folder: Path,
    device: str | None = None,
    given: Given = NOTHING,
    shard: Shard | None = None,
) -> Session:
    """Go on with the latest run of a suite, or of a shard of it: what is recorded is skipped.

    Device, data and weights are those it began with; what is named anew must be the same.
    """
    paths = [p for p in run_file.runs(folder) if p.stem.startswith(f"{suite.name}-")]
    runs = {p: _read_if_sound(p) for p in paths}
    own = [run for run in runs.values() if run and run.header.suite == suite.name]
    asked = [run for run in own if _is_asked(run, shard)]
    if not asked:
        what = f"shard {shard} of {suite.name!r}" if shard else repr(suite.name)
        there = sorted({str(run.header.part or "the whole") for run in own})
        raise UserError(f"{folder}: no run of {what} to resume{'; there is: ' * bool(there)}"
                        f"{', '.join(there)}; run it without --resume")  # fmt: skip
    run = asked[-1]
    if Tasks(run.path).folder.exists():
        with Gathering(run.path) as gathering:
            gathering.look()
            run = gathering.run
    own_given, begun = Given.of(run.header.cells), parse_suite(run.header.suite_text, str(run.path))
    if run.header.suite_text != text and plan(begun, given=own_given) != plan(
        suite, given=own_given
    ):
        raise UserError(
            f"{run.path}: suite {suite.name!r} has changed since this run began; start a new run"
        )
    if device or given != NOTHING:
        cells = run.header.cells
        now = plan(suite, device or _device_of(cells), own_given.but(given))
        if not all(cell in now for cell in cells):
            raise UserError(
                f"{run.path}: was begun with another --device, --data or --weights; leave them "
                "out of --resume, or start a new run"
            )
    source, notes = environment.provenance(), list(run.torn)
    notes += [f"{p}: unreadable, left alone" for p in paths if runs[p] is None]
    if source.commit != run.header.commit or source.dirty != run.header.dirty:
        notes.append("the code has changed since this run began; each record names its commit")
    for name in ("versions", "environment"):
        if getattr(source, name) != getattr(run.header, name):
            notes.append(f"{name}: not as when this run began; each record names its own")
    return Session(run.path, run.header, run.missing(), notes)


def reopen(path: Path, whole: Path, patience: float) -> Session:
    """Go on with the file of a task, at whatever neither it nor the run has recorded."""
    task = run_file.read(path)
    known = run_file.RunFile(path, task.header, [*task.records, *run_file.read(whole).records])
    return Session(path, task.header, known.missing(), task.torn, whole, patience)


def _device_of(cells: Iterable[Cell]) -> str | None:
    """The device that a run was put on, where it is not the CPU."""
    named = (own.get("device", "cpu") for cell in cells for own in cell.settings.values())
    return next((device for device in named if device != "cpu"), None)


def _is_asked(run: run_file.RunFile, shard: Shard | None) -> bool:
    return shard.is_all_of(run.header.part) if shard else run.header.part is None


def _read_if_sound(path: Path) -> run_file.RunFile | None:
    try:
        return run_file.read(path)
    except UserError:
        return None


def execute(session: Session, jobs: int, listen: Listener, memory_limit: int | None = None) -> None:
    """Run all that is left; returns when every measure has its records.

    `memory_limit`: bytes that a cell which computes may take, see `pks4.bench.run.memory_limit`.
    """
    together = [c for c in session.cells() if not c.alone]
    alone = [c for c in session.cells() if c.alone]
    crew = _Crew(session, listen, memory_limit)
    try:
        with ThreadPoolExecutor(max(1, jobs)) as pool:
            try:
                for done in [pool.submit(crew.run, cell) for cell in together]:
                    done.result()
            except BaseException:
                crew.stop()
                pool.shutdown(cancel_futures=True)
                raise
        for cell in alone:
            with device_lock.turn(cell, partial(crew.wait_for, cell)):
                crew.run(cell)
    except BaseException:
        crew.stop()
        raise
    finally:
        crew.nursery.close()
        crew.writer.close()


class _Crew:
    """The children of a session, and the one writer of what they say."""

    def __init__(self, session: Session, listen: Listener, memory_limit: int | None) -> None:
        self.session, self.listen, self.memory_limit = session, listen, memory_limit
        self.writer = run_file.Writer(session.path, patience=session.patience)
        self.lock = threading.Lock()
        self.nursery = warm_start.Nursery()
        self.children: set[Process] = set()
        self.sources: dict[str, Provenance] = {}
        self.stopped = False
        self.source = environment.provenance()  # warm children have the code as it is now
        # A measure that was cut between its records: those that are there stay as they are.
        self.known = {r.key for r in run_file.read(session.path).records}

    def stop(self) -> None:
        """Kill every child; nothing is recorded for what they were doing."""
        with self.lock:
            self.stopped = True
            for child in self.children:
                kill(child)

    def wait_for(self, cell: Cell, device: str) -> None:
        """Tell that a cell's turn on a device has not come."""
        self.listen(cell, {"event": "waiting", "measure": cell.measures[0], "device": device})

    def run(self, cell: Cell) -> None:
        """Run one cell in a child and record what it says and how it ends."""
        left = deque(self.session.todo[cell.id])
        while left and not self.stopped:
            started = time.perf_counter()
            worker = Worker(self, cell, list(left))
            with worker as (child, ended):
                # A child that starts cold imports the code as it is now.
                self.sources[cell.id] = self.source if worker.warm else environment.provenance()
                for event in events(child):
                    self._note(cell, event)
                    if event["event"] in ("done", "failed"):
                        left.popleft()
                        started = time.perf_counter()
                child.wait()
            if left and not self.stopped:  # it died; the measure it was at is the one to blame
                status, reason = ended()
                failure = {
                    "event": "failed",
                    "measure": left.popleft(),
                    "status": status,
                    "reason": reason,
                    "seconds": time.perf_counter() - started,
                }
                self._note(cell, failure)

    def _note(self, cell: Cell, event: dict[str, Any]) -> None:
        if event["event"] in ("done", "failed"):
            records = records_of(event, cell, self.sources[cell.id], self.session.header.run)
            with self.lock:
                if self.stopped:
                    return
                new = [r for r in records if r.key not in self.known]
                self.writer.append(*new)
                self.known |= {r.key for r in new}
                if not any(r.again for r in records):
                    self._clear(cell, event["measure"])
        self.listen(cell, event)

    def scratch(self, cell: Cell) -> Path:
        """The folder in which a cell's measures keep what a resumed run goes on from."""
        run = self.session.whole or self.session.path
        return run.with_suffix(".partial") / cell.file_stem

    def _clear(self, cell: Cell, measure: str) -> None:
        """Remove what a measure kept, now that it is recorded, and the folders it leaves empty."""
        own = self.scratch(cell)
        shutil.rmtree(own / measure, ignore_errors=True)
        for folder in (own, own.parent):
            with contextlib.suppress(OSError):  # not there, or another cell's things are in it
                folder.rmdir()
