"""Runs on disk: one JSONL file a run. Lines are only ever appended.

A process may die in the middle of a line. The next writer ends that line and goes on below it; a
reader reports it and keeps the rest. Of duplicate records the first counts. A failure marked for
retry is dropped as soon as the retry is recorded.
Several processes and hosts may use one folder: one of them makes a file, and one at a time writes
it. A file that is done may be compressed with gzip (`.jsonl.gz`): it is read, not written.
"""

import contextlib
import gzip
import itertools
import json
import os
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

try:
    import fcntl
except ImportError:  # not on Windows; there two writers are not kept apart
    fcntl = None  # type: ignore[assignment]

from pks4.bench.plan.settings import Settings
from pks4.bench.records.lines import Shared
from pks4.bench.records.record import SCHEMA_VERSION, Record, RunHeader, without_retried
from pks4.errors import UserError, unknown_of_many

Line = TypeVar("Line", bound=BaseModel)
ENDINGS = (".jsonl", ".jsonl.gz")  # of the files of runs
PATIENCE = 0.2  # seconds to wait for a lock; `is_held` holds one for less


@dataclass(frozen=True)
class RunFile:
    """A run as read: its header, its records, and notes on lines that could not be read."""

    path: Path
    header: RunHeader
    records: list[Record]
    torn: list[str] = field(default_factory=list)

    def missing(self) -> dict[str, list[str]]:
        """Cell id -> measures without all of their records, or to be retried."""
        final = [r for r in self.records if not r.again]
        seen = Counter((r.cell, r.measure) for r in final)
        parts = {(r.cell, r.measure): r.parts for r in final}
        left = {
            cell.id: [m for m in cell.measures if seen[cell.id, m] < parts.get((cell.id, m), 1)]
            for cell in self.header.cells
        }
        return {cell: measures for cell, measures in left.items() if measures}


def content(path: Path) -> bytes:
    """The bytes of a file, uncompressed."""
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: is no whole gzip file; restore it") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def _parsed(path: Path) -> Iterator[tuple[int, Any]]:
    """The number and content of each line; None where it is no JSON."""
    for number, line in enumerate(content(path).split(b"\n"), 1):
        if line.strip():
            data = None
            with contextlib.suppress(ValueError, RecursionError):
                data = json.loads(line)
            yield number, data


def _torn(path: Path, number: int) -> str:
    return f"{path}: line {number} is torn or foreign and was left out"


def read(path: Path) -> RunFile:
    """Read a run's file; raise UserError where it is not one."""
    shared, torn = Shared(), []
    records: dict[tuple[str, ...], Record] = {}
    for number, data in _parsed(path):
        try:
            if not shared.take(data):
                record = shared.record(data)
                records.setdefault(record.key, record)
        except (ValueError, RecursionError) as error:
            if shared.header is None:
                raise UserError(
                    f"{path}: line {number} is not the header of a run; is this a "
                    "results file of pks4-bench?"
                ) from error
            torn.append(_torn(path, number))
    if shared.header is None:
        raise UserError(f"{path}: empty; there is no run in it")
    return RunFile(path, shared.header, without_retried(list(records.values())), torn)


def entries(path: Path, kind: type[Line]) -> tuple[list[Line], list[str]]:
    """The lines of a ledger, and notes on those that could not be read; none without a file."""
    found, torn = [], []
    for number, data in _parsed(path) if path.exists() else ():
        try:
            found.append(kind.model_validate(data))
        except ValueError:
            torn.append(_torn(path, number))
    return found, torn


class Taken(UserError):
    """A new file's name is taken."""


class Writer:
    """Appends lines to a run's file, each batch in one write, on disk before it returns.

    Only one process at a time may hold a run's file for writing. `new`: refuse a file that exists.
    `patience`: seconds to wait for a process that holds it.
    """

    def __init__(self, path: Path, *, new: bool = False, patience: float = PATIENCE) -> None:
        if path.suffix == ".gz":
            raise UserError(f"{path}: a compressed run is not written to; gunzip it first")
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | (os.O_EXCL if new else 0)
        self.path = path
        self._shared: Shared | None = None  # None: not known
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
        """Write entries, one line each, after the shared lines that they need."""
        shared, self._shared = self._shared or self._known(), None
        lines: list[Settings] = []
        for entry in entries:
            if isinstance(entry, Record):
                lines += shared.lines(entry)
                continue
            if isinstance(entry, RunHeader):
                entry = entry.model_copy(update={"schema_version": SCHEMA_VERSION})
                shared.begin(entry)
            lines.append(entry)
        self._write("".join(line.model_dump_json() + "\n" for line in lines).encode())
        self._shared = shared  # all of them are on disk

    def _known(self) -> Shared:
        """The shared lines that the file has."""
        shared = Shared()
        for _, data in _parsed(self.path):
            with contextlib.suppress(ValueError, RecursionError):
                shared.take(data)
        return shared

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
    """Write the header of a new run; gives the file, and the header with the final name.

    If another process or host took the name in the same second, -2, -3 and so on are added.
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


def is_held(path: Path) -> bool | None:
    """Whether a process, here or on another host, has a run's file open for writing.

    None where the file system cannot lock, so that nobody knows.
    """
    if fcntl is None or not path.exists():
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return None
    return False


def name_of(path: Path) -> str:
    """The name of the run in a file."""
    return path.name.removesuffix(".gz").removesuffix(".jsonl")


def runs(folder: Path) -> list[Path]:
    """Files of runs in a folder, the last written at the end; not those without a header yet."""
    found = []
    for path in (path for ending in ENDINGS for path in folder.glob(f"*{ending}")):
        with contextlib.suppress(FileNotFoundError):  # removed since
            status = path.stat()
            if status.st_size:
                found.append((status.st_mtime_ns, path))
    return [path for _, path in sorted(found)]


def find_run(name: str, folders: list[Path]) -> Path:
    """A run by path, by name, or `latest`: the last written of the first folder with any."""
    path = Path(name)
    if name.endswith(ENDINGS):
        return path
    listed = [runs(folder) for folder in folders]
    named = {name_of(path): path for paths in listed for path in paths}
    if name == "latest" and named:
        return next(paths[-1] for paths in listed if paths)
    if name not in named:
        raise UserError(unknown_of_many("run", name, sorted(named), "pks4-bench list runs"))
    return named[name]
