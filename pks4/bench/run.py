"""The parent: runs a plan's cells in child processes and writes what they say, as it comes.

A cell is one child with a time limit. Cells that must be alone run last, one by one, with every
other child gone; the rest run beside each other, one thread each, one child a core. The parent
sleeps until a child says something. A child that fails, runs out of memory or out of time, or dies
leaves a record with the reason.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pks4.bench import environment, store
from pks4.bench.plan import Cell, plan
from pks4.bench.record import Provenance, Reading, Record, RunHeader
from pks4.bench.suite import Suite, parse_suite
from pks4.errors import UserError

# (cell, event): event holds "event": start | progress | done | failed
Listener = Callable[[Cell, dict[str, Any]], None]


@dataclass(frozen=True)
class Session:
    """A run that is open for writing."""

    path: Path
    header: RunHeader
    todo: dict[str, list[str]]  # cell id -> measures left
    notes: list[str]  # what a resumed run has to say first

    def cells(self) -> list[Cell]:
        """Cells with something left to do."""
        return [c for c in self.header.cells if c.id in self.todo]


def start(suite: Suite, text: str, folder: Path) -> Session:
    """Begin a new run: plan it and write its header."""
    cells, source = plan(suite), environment.provenance()
    now = datetime.now(UTC)
    name = f"{suite.name}-{now:%Y%m%d-%H%M%S}-{(source.commit or 'nocommit')[:7]}"
    header = RunHeader(
        run=name,
        suite=suite.name,
        suite_text=text,
        created=_stamp(now),
        cells=cells,
        **source.model_dump(),
    )
    path = folder / f"{name}.jsonl"
    writer = store.Writer(path, new=True)
    writer.append(header)
    writer.close()
    return Session(path, header, {c.id: list(c.measures) for c in cells}, [])


def resume(suite: Suite, text: str, folder: Path) -> Session:
    """Go on with the latest run of a suite: what is recorded is skipped."""
    paths = [p for p in store.runs(folder) if p.stem.startswith(f"{suite.name}-")]
    runs = {p: _read_if_sound(p) for p in paths}
    own = [run for run in runs.values() if run and run.header.suite == suite.name]
    if not own:
        raise UserError(f"{folder}: no run of {suite.name!r} to resume; run it without --resume")
    run = own[-1]
    if run.header.suite_text != text and plan(
        parse_suite(run.header.suite_text, str(run.path))
    ) != plan(suite):
        raise UserError(
            f"{run.path}: suite {suite.name!r} has changed since this run began; start a new run"
        )
    source, notes = environment.provenance(), list(run.torn)
    notes += [f"{p}: unreadable, left alone" for p in paths if runs[p] is None]
    if source.commit != run.header.commit or source.dirty != run.header.dirty:
        notes.append("the code has changed since this run began; each record names its commit")
    for name in ("versions", "environment"):
        if getattr(source, name) != getattr(run.header, name):
            notes.append(f"{name}: not as when this run began; each record names its own")
    return Session(run.path, run.header, run.missing(), notes)


def _read_if_sound(path: Path) -> store.RunFile | None:
    try:
        return store.read(path)
    except UserError:
        return None


def execute(session: Session, jobs: int, listen: Listener) -> None:
    """Run all that is left; returns when every measure has its records."""
    together = [c for c in session.cells() if not c.alone]
    alone = [c for c in session.cells() if c.alone]
    crew = _Crew(session, listen)
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
            crew.run(cell)
    except BaseException:
        crew.stop()
        raise
    finally:
        crew.writer.close()


class _Crew:
    """The children of a session, and the one writer of what they say."""

    def __init__(self, session: Session, listen: Listener) -> None:
        self.session, self.listen = session, listen
        self.writer = store.Writer(session.path)
        self.lock = threading.Lock()
        self.children: set[subprocess.Popen] = set()
        self.sources: dict[str, Provenance] = {}
        self.stopped = False
        # A measure that was cut between its records: those that are there stay as they are.
        self.known = {r.key for r in store.read(session.path).records}

    def stop(self) -> None:
        """Kill every child; nothing is recorded for what they were doing."""
        with self.lock:
            self.stopped = True
            for child in self.children:
                _kill(child)

    def run(self, cell: Cell) -> None:
        """Run one cell in a child and record what it says and how it ends."""
        left = deque(self.session.todo[cell.id])
        self.sources[cell.id] = environment.provenance()  # a child imports the code as it is now
        while left and not self.stopped:
            started = time.perf_counter()
            with _Child(self, cell, list(left)) as (child, ended):
                for event in _events(child):
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
            records = self._records(cell, event)
            with self.lock:
                if self.stopped:
                    return
                new = [r for r in records if r.key not in self.known]
                self.writer.append(*new)
                self.known |= {r.key for r in new}
        self.listen(cell, event)

    def _records(self, cell: Cell, event: dict[str, Any]) -> list[Record]:
        shared = {
            **self.sources[cell.id].model_dump(),
            **cell.model_dump(include=_CELL_FIELDS),
            "run": self.session.header.run,
            "cell": cell.id,
            "measure": event["measure"],
            "created": _stamp(datetime.now(UTC)),
            "seconds": round(event["seconds"], 3),
        }
        if event["event"] == "failed":
            failure = {"metric": "*", "status": event["status"], "reason": event["reason"]}
            return [Record(**shared, **failure, parts=1)]
        readings = [Reading(**r) for r in event["readings"]]
        return [Record(**shared, **vars(r), status="ok", parts=len(readings)) for r in readings]


_CELL_FIELDS = {
    "grid",
    "label",
    "title",
    "model",
    "family",
    "options",
    "scale",
    "frames",
    "batch",
    "task",
}


class _Child:
    """A worker process with a time limit, as a context: (process, how it ended)."""

    def __init__(self, crew: _Crew, cell: Cell, measures: list[str]) -> None:
        self.crew, self.limit = crew, cell.time_limit_seconds
        self.job = {"cell": cell.model_dump(), "measures": measures, "threads": 1}
        self.timed_out = False
        self.errors: deque[str] = deque(maxlen=20)

    def __enter__(self) -> tuple[subprocess.Popen, Callable[[], tuple[str, str]]]:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pks4.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C reaches the parent only, which ends its children
        )
        stdin, self.stderr = self.process.stdin, self.process.stderr
        assert stdin is not None
        with self.crew.lock:
            self.crew.children.add(self.process)
            if self.crew.stopped:
                _kill(self.process)
        self.timer = threading.Timer(self.limit, self._expire)
        self.timer.start()
        self.reader = threading.Thread(target=self._drain, daemon=True)
        self.reader.start()
        try:
            stdin.write(json.dumps(self.job) + "\n")
            stdin.flush()
        except BrokenPipeError:
            pass  # it died at once; how is told by `ended`
        return self.process, self.ended

    def __exit__(self, *_: object) -> None:
        self.timer.cancel()
        _kill(self.process)
        self.process.wait()
        self.reader.join()
        with self.crew.lock:
            self.crew.children.discard(self.process)
        for stream in (self.process.stdin, self.process.stdout, self.stderr):
            with contextlib.suppress(BrokenPipeError):  # of what a dead child did not read
                if stream is not None:
                    stream.close()

    def _expire(self) -> None:
        self.timed_out = True
        _kill(self.process)

    def _drain(self) -> None:
        for line in self.stderr or ():
            self.errors.append(line.rstrip())

    def ended(self) -> tuple[str, str]:
        """Status and reason of a child that did not finish its job."""
        code = self.process.wait()
        self.reader.join()
        if self.timed_out:
            return "timeout", (
                f"stopped at the cell's time limit of {self.limit:g} s; "
                "raise time_limit_seconds in the suite"
            )
        last = next((line for line in reversed(self.errors) if line.strip()), "")
        if code < 0:
            hint = " (often the system's out-of-memory killer)" if code == -9 else ""
            return "failed", f"the worker was killed by signal {-code}{hint}. {last}".strip()
        return "failed", f"the worker ended with exit code {code}. {last}".strip()[:500]


def _kill(child: subprocess.Popen) -> None:
    """Kill a child and whatever it started; each child leads a session of its own."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    child.kill()


def _events(child: subprocess.Popen) -> Iterator[dict[str, Any]]:
    """What a child says, until it stops; a line cut by its death is not an event."""
    for line in child.stdout or ():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return


def _stamp(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
