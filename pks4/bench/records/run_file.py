"""Runs on disk: one JSONL file a run, only ever appended to, read with tolerance for a torn end.

A process may die in the middle of a line. The next writer ends that line and goes on below it; a
reader reports it and keeps the rest. A record that is there twice counts once, the first; a failure
that was to be tried again does not count once it was.
Several processes and hosts may use one folder: a file is made by one of them and written by one at
a time.
"""

import contextlib
import itertools
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

try:
    import fcntl
except ImportError:  # not on Windows; there two writers are not kept apart
    fcntl = None  # type: ignore[assignment]

from pks4.bench.plan.suite import Settings
from pks4.bench.records.record import Record, RunHeader, standing
from pks4.errors import UserError, unknown_of_many

if TYPE_CHECKING:
    import pandas as pd

Line = TypeVar("Line", bound=Settings)
PATIENCE = 0.2  # seconds: longer than a look at who holds a file takes, see `is_held`


@dataclass(frozen=True)
class RunFile:
    """A run as read: its header, its records, and what could not be read."""

    path: Path
    header: RunHeader
    records: list[Record]
    torn: list[str] = field(default_factory=list)

    def missing(self) -> dict[str, list[str]]:
        """Cell id -> measures that have not written all of their records, or are to try again."""
        seen: dict[tuple[str, str], int] = {}
        parts: dict[tuple[str, str], int] = {}
        for r in (r for r in self.records if not r.again):
            seen[r.cell, r.measure] = seen.get((r.cell, r.measure), 0) + 1
            parts[r.cell, r.measure] = r.parts
        left = {}
        for cell in self.header.cells:
            todo = [
                m
                for m in cell.measures
                if (cell.id, m) not in parts or seen[cell.id, m] < parts[cell.id, m]
            ]
            if todo:
                left[cell.id] = todo
        return left


def read(path: Path) -> RunFile:
    """Read a run's file; raise UserError where it is not one."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    header, records, torn, keys = None, [], [], set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
            if header is None:
                header = RunHeader.model_validate(data)
                continue
            record = Record.model_validate(data)
        except (ValueError, RecursionError) as error:
            if header is None:
                raise UserError(
                    f"{path}: line {number} is not the header of a run; is this a "
                    "results file of pks4-bench?"
                ) from error
            torn.append(f"{path}: line {number} is torn or foreign and was left out")
            continue
        if record.key not in keys:
            keys.add(record.key)
            records.append(record)
    if header is None:
        raise UserError(f"{path}: empty; there is no run in it")
    return RunFile(path, header, standing(records), torn)


def entries(path: Path, kind: type[Line]) -> tuple[list[Line], list[str]]:
    """The lines of a ledger in order, and what could not be read; none where there is no file."""
    found, torn = [], []
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(kind.model_validate(json.loads(line)))
        except (ValueError, RecursionError):
            torn.append(f"{path}: line {number} is torn or foreign and was left out")
    return found, torn


class Taken(UserError):
    """A file that was to be new is there already."""


class Writer:
    """Appends lines to a run's file, each batch in one write, on disk before it returns.

    Only one process at a time may hold a run's file for writing; `new` refuses one that exists.
    `patience`: seconds to wait for one that holds it.
    """

    def __init__(self, path: Path, *, new: bool = False, patience: float = PATIENCE) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | (os.O_EXCL if new else 0)
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, flags, 0o644)
        except OSError as error:
            if new and isinstance(error, FileExistsError) and path.is_file():
                raise Taken(f"{path}: exists already; start again in a second") from error
            raise UserError(
                f"{path}: cannot be written: {error.strerror}; choose another folder with --out"
            ) from error
        self._lock(patience)
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            try:
                self._write(b"\n")
            except UserError:
                os.close(self._fd)
                raise

    def _lock(self, patience: float) -> None:
        until = time.monotonic() + patience
        while fcntl is not None:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() > until:
                    os.close(self._fd)
                    raise UserError(
                        f"{self.path}: another process is writing this run; wait for it"
                    ) from error
                time.sleep(PATIENCE / 10)
            except OSError as error:
                os.close(self._fd)
                raise UserError(
                    f"{self.path}: this file system cannot lock a file: {error.strerror}; choose "
                    "another folder with --out"
                ) from error

    def append(self, *entries: Settings) -> None:
        """Write entries, one line each."""
        self._write("".join(entry.model_dump_json() + "\n" for entry in entries).encode())

    def _write(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._fd, data) :]
            os.fsync(self._fd)
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot be written: {error.strerror}; what is there is kept, go on "
                "with --resume when there is room"
            ) from error

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def begin(folder: Path, header: RunHeader) -> tuple[Path, RunHeader]:
    """Write the header of a new run; the file, and the header with the name that it got.

    Where another process or host took the name in the same second, -2, -3 and so on follow it.
    """
    for number in itertools.count(1):
        name = header.run if number == 1 else f"{header.run}-{number}"
        path = folder / f"{name}.jsonl"
        try:
            writer = Writer(path, new=True)
        except Taken:
            continue
        header = header.model_copy(update={"run": name})
        try:
            writer.append(header)
        except UserError:
            path.unlink()  # there is no run in it
            raise
        finally:
            writer.close()
        return path, header
    raise AssertionError("itertools.count ends")


def is_held(path: Path) -> bool:
    """Whether a process, here or on another host, has a run's file open for writing."""
    if fcntl is None or not path.exists():
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def runs(folder: Path) -> list[Path]:
    """Files of runs in a folder, the last written to at the end; not those just being made."""
    found = []
    for path in folder.glob("*.jsonl"):
        with contextlib.suppress(FileNotFoundError):  # removed since
            status = path.stat()
            if status.st_size:
                found.append((status.st_mtime_ns, path))
    return [path for _, path in sorted(found)]


def find_run(name: str, folders: list[Path]) -> Path:
    """A run by path, by name, or `latest`: the last written to of the first folder with any."""
    path = Path(name)
    if path.suffix == ".jsonl":
        return path
    there = [runs(folder) for folder in folders]
    found = {p.stem: p for paths in there for p in paths}
    if name == "latest" and found:
        return next(paths[-1] for paths in there if paths)
    if name not in found:
        raise UserError(unknown_of_many("run", name, sorted(found), "pks4-bench list runs"))
    return found[name]


def frame(records: list[Record]) -> "pd.DataFrame":
    """Records as a table, one column a field."""
    import pandas as pd

    columns = list(Record.model_fields)
    table = pd.DataFrame([r.model_dump() for r in records], columns=columns)
    exact = pd.Series([r.value for r in records], dtype=object)  # integers above 2^53 stay exact
    return table.assign(value=exact)
