"""The workers of a run: one child process per cell, whose events become records as they come.

A worker starts warm unless its cell must run alone. One that fails, runs out of memory or out of
time, or dies leaves a record with the reason.
"""

import contextlib
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pks4.bench.plan.cell import Cell
from pks4.bench.process import warm_start
from pks4.bench.process.child import Child, Children
from pks4.bench.records import environment, run_file
from pks4.bench.records.record import Provenance, records_of

if TYPE_CHECKING:
    from pks4.bench.run.run import Session

WORKER = "pks4.bench.run.worker"
# (cell, event): event holds "event": waiting | start | progress | done | failed
Listener = Callable[[Cell, dict[str, Any]], None]


class WorkerPool:
    """The children of a session, and the only writer of its file."""

    def __init__(
        self, session: "Session", listen: Listener, memory_limit: int | None, children: Children
    ) -> None:
        self.session, self.listen, self.memory_limit = session, listen, memory_limit
        self.writer = run_file.Writer(session.path, patience=session.patience)
        self.lock = threading.Lock()
        self.children = children
        self.sources: dict[str, Provenance] = {}
        self.source = environment.provenance()  # warm children have the code as it is now
        # A measure may have been cut between its records: those that are there stay as they are.
        self.known = {r.key for r in run_file.read(session.path).records}

    def stop(self) -> None:
        """Kill every child; nothing is recorded for what they were doing."""
        self.children.stop()

    def close(self) -> None:
        """End the fork server and close the run's file."""
        self.children.close()
        self.writer.close()

    def waits(self, cell: Cell, device: str) -> None:
        """Report that a cell waits for a device."""
        self.listen(cell, {"event": "waiting", "measure": cell.measures[0], "device": device})

    def run(self, cell: Cell) -> None:
        """Run one cell in a child, and in another after each death, until nothing is left."""
        left = deque(self.session.todo[cell.id])
        while left and not self.children.stopped:
            started = time.perf_counter()
            with self.children.start(
                WORKER, self._job(cell, list(left)), warm=not cell.alone,
                limit=cell.time_limit_seconds,
            ) as child:  # fmt: skip
                # A child that starts cold imports the code as it is now.
                self.sources[cell.id] = self.source if child.warm else environment.provenance()
                for event in child.events():
                    self._note(cell, event)
                    if event["event"] in ("done", "failed"):
                        left.popleft()
                        started = time.perf_counter()
                code = child.wait()
            if left and not self.children.stopped:  # it died during the first measure that is left
                status, reason = _death(child, code)
                failure = {
                    "event": "failed",
                    "measure": left.popleft(),
                    "status": status,
                    "reason": reason,
                    "seconds": time.perf_counter() - started,
                }
                self._note(cell, failure)

    def _job(self, cell: Cell, measures: list[str]) -> dict[str, Any]:
        return {
            "cell": cell.model_dump(),
            "measures": measures,
            "threads": 1,
            "memory_limit": self.memory_limit,
            "scratch": str(self._scratch(cell)),
        }

    def _note(self, cell: Cell, event: dict[str, Any]) -> None:
        if event["event"] in ("done", "failed"):
            records = records_of(event, cell, self.sources[cell.id], self.session.header.run)
            with self.lock:
                if self.children.stopped:
                    return
                new = [r for r in records if r.key not in self.known]
                self.writer.append(*new)
                self.known |= {r.key for r in new}
                if not any(r.again for r in records):
                    self._clear(cell, event["measure"])
        self.listen(cell, event)

    def _scratch(self, cell: Cell) -> Path:
        """The folder in which a cell's measures keep what a resumed run goes on from."""
        run = self.session.whole or self.session.path
        return run.with_suffix(".partial") / cell.file_stem

    def _clear(self, cell: Cell, measure: str) -> None:
        """Remove what a recorded measure kept, and the folders that this leaves empty."""
        scratch = self._scratch(cell)
        shutil.rmtree(scratch / measure, ignore_errors=True)
        for folder in (scratch, scratch.parent):
            with contextlib.suppress(OSError):  # not there, or another cell's things are in it
                folder.rmdir()


def _death(child: Child, code: int) -> tuple[str, str]:
    """Status and reason of a child that did not finish its job."""
    if child.timed_out:
        return "timeout", (
            f"stopped at the cell's time limit of {child.limit:g} s; "
            "raise time_limit_seconds in the suite"
        )
    if code == warm_start.LOST:
        return "failed", "the process that started this worker is gone; how it ended is unknown"
    if code < 0:
        hint = " (often the system's out-of-memory killer)" if code == -9 else ""
        return "failed", f"the worker was killed by signal {-code}{hint}. {child.last_line}".strip()
    return "failed", f"the worker ended with exit code {code}. {child.last_line}".strip()[:500]
