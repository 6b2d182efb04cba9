"""A worker as the run sees it: started warm or cold, listened to, stopped at its time limit."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from pks4.bench.plan.cell import Cell
from pks4.bench.process import warm_start

Process = subprocess.Popen | warm_start.WarmChild


class Crew(Protocol):
    """Who works for a session, and whether it has been stopped."""

    lock: threading.Lock
    nursery: warm_start.Nursery
    children: set[Process]
    stopped: bool
    memory_limit: int | None

    def scratch(self, cell: Cell) -> Path:
        """The folder in which a cell's measures keep what a resumed run goes on from."""


class Worker:
    """A worker process with a time limit, as a context: (process, how it ended)."""

    def __init__(self, crew: "Crew", cell: Cell, measures: list[str]) -> None:
        self.crew, self.limit = crew, cell.time_limit_seconds
        self.job = {
            "cell": cell.model_dump(),
            "measures": measures,
            "threads": 1,
            "memory_limit": crew.memory_limit,
            "scratch": str(crew.scratch(cell)),
        }
        self.timed_out, self.warm = False, is_warm(cell)
        self.errors: deque[str] = deque(maxlen=20)

    def __enter__(self) -> tuple[Process, Callable[[], tuple[str, str]]]:
        born = self.crew.nursery.start() if self.warm else None
        self.warm, self.process = born is not None, born or _cold()
        stdin, self.stderr = self.process.stdin, self.process.stderr
        assert stdin is not None
        with self.crew.lock:
            self.crew.children.add(self.process)
            if self.crew.stopped:
                kill(self.process)
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
        kill(self.process)
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
        kill(self.process)

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
        if code == warm_start.LOST:
            return "failed", "the process that started this worker is gone; how it ended is unknown"
        if code < 0:
            hint = " (often the system's out-of-memory killer)" if code == -9 else ""
            return "failed", f"the worker was killed by signal {-code}{hint}. {last}".strip()
        return "failed", f"the worker ended with exit code {code}. {last}".strip()[:500]


def is_warm(cell: Cell) -> bool:
    """Whether a cell's child is forked from the nursery; what must be alone starts cold."""
    return warm_start.AVAILABLE and not cell.alone


def _cold() -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "pks4.bench.run.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,  # Ctrl-C reaches the parent only, which ends its children
    )


def kill(child: Process) -> None:
    """Kill a child and whatever it started; each child leads a session of its own."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    child.kill()


def events(child: Process) -> Iterator[dict[str, Any]]:
    """What a child says, until it stops; a line cut by its death is not an event."""
    for line in child.stdout or ():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return
