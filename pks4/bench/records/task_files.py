"""The files of a run's tasks, and the way of their records into the run's file.

Next to `RUN.jsonl` lies the folder `RUN.tasks`. Its `CELL.jsonl` is a run of that cell alone, so
that tasks on several hosts never write to one file. Its `jobs.jsonl` holds one submission a line,
its `log` what the tasks print. Each record of a task is appended to the run's file once.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from pks4.bench.plan.cell import Cell
from pks4.bench.plan.settings import Settings
from pks4.bench.records import run_file
from pks4.bench.records.record import Record
from pks4.bench.records.run_file import RunFile


class Submission(Settings):
    """One line of jobs.jsonl: a cell that was submitted to an executor."""

    cell: str
    executor: str
    job: str  # the executor's id
    submitted: str


class TaskFiles:
    """The folder of a run's tasks."""

    def __init__(self, run: Path) -> None:
        self.run, self.folder = run, run.with_suffix(".tasks")
        self._ledger = self.folder / "jobs.jsonl"

    @property
    def log(self) -> Path:
        """Where the tasks print to."""
        return self.folder / "log"

    def file(self, cell: Cell) -> Path:
        """The results file of a cell's task."""
        return self.folder / f"{cell.file_stem}.jsonl"

    def begin(self, run: RunFile, cells: Iterable[Cell]) -> None:
        """Write the results files that are not there yet, each with its header or not at all."""
        for cell in (cell for cell in cells if not self.file(cell).exists()):
            draft = self.file(cell).with_suffix(".draft")
            draft.unlink(missing_ok=True)
            writer = run_file.Writer(draft, new=True)
            writer.append(run.header.model_copy(update={"cells": [cell], "part": None}))
            writer.close()
            draft.replace(self.file(cell))

    def submitted(self, submissions: Sequence[Submission]) -> None:
        """Append what was submitted."""
        writer = run_file.Writer(self._ledger)
        writer.append(*submissions)
        writer.close()

    def submissions(self) -> dict[str, Submission]:
        """Cell id -> its last submission; a line that was cut is left out."""
        return {line.cell: line for line in run_file.entries(self._ledger, Submission)[0]}


class TaskCollector:
    """A run's file, open for writing, to which the records of its tasks are appended."""

    def __init__(self, path: Path) -> None:
        self.writer = run_file.Writer(path)
        self.run, self.tasks = run_file.read(path), TaskFiles(path)
        self.known = {r.key for r in self.run.records}
        self.sizes: dict[Path, int] = {}

    def __enter__(self) -> "TaskCollector":
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.close()

    def collect(self) -> list[Record]:
        """Append what the tasks have written since the last call; returns the new records."""
        new: list[Record] = []
        for cell in self.run.header.cells:
            path = self.tasks.file(cell)
            if self._has_grown(path):
                new += [r for r in run_file.read(path).records if r.key not in self.known]
                self.known |= {r.key for r in new}
        if new:
            self.writer.append(*new)
            self.run.records.extend(new)
        return new

    def _has_grown(self, path: Path) -> bool:
        """Whether a file is larger than at the last call."""
        try:
            with path.open("rb") as file:  # NFS gives a file's new size to whoever opens it
                size = os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            return False
        before = self.sizes.get(path, 0)
        self.sizes[path] = size
        return size > before
