"""Features of clips on the disk: computed once, checked, mapped into memory, bounded in all.

A file `<digest>.features` holds the features of all clips of a split, one after another, and
`<digest>.json` shape, labels and hash. `digest` is that of a key that names all
that the features depend on. Files are written once and appear whole; one process writes and others
wait. Files that were not read for longest make room for new ones, but not those in use: a reader
holds a shared lock for as long as it reads.
"""

import contextlib
import hashlib
import json
import os
import warnings
import weakref
from collections.abc import Callable, Iterator
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from pks4.data.dataset import write_whole
from pks4.data.errors import CacheError
from pks4.errors import UserError
from pks4.train.batches import InMemory

try:
    import fcntl
except ImportError:  # not on Windows; there a file in use cannot be removed
    fcntl = None  # type: ignore[assignment]

VERSION = 1  # raise it when the content of files changes
VARIABLE = "PKS4_FEATURES_GIB"
DEFAULT_GIB = 4.0
Labelled = tuple[Tensor, int]  # features of a clip, its label


def limit_bytes() -> int:
    """The bound on all files of features, from $PKS4_FEATURES_GIB; UserError for no number."""
    given = os.environ.get(VARIABLE, "") or str(DEFAULT_GIB)
    try:
        gib = float(given)
        if not 0 <= gib < float("inf"):
            raise ValueError
    except ValueError:
        raise UserError(f"{VARIABLE} is {given!r}; give GiB, such as {DEFAULT_GIB:g}") from None
    return int(gib * 2**30)


class FeatureFiles:
    """The files in a folder, together at most `limit` bytes."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit

    def get(
        self, key: dict[str, Any], clips: int, compute: Callable[[], Iterator[Labelled]]
    ) -> InMemory | None:
        """The features that `key` names, read or computed now; None where there is no room.

        `compute()` gives those of each of the `clips` clips in order, of one shape and dtype.
        Raises CacheError if a file cannot be written.
        """
        whole = json.dumps({"version": VERSION, **key}, sort_keys=True)
        name = hashlib.sha256(whole.encode()).hexdigest()[:32]
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.features"
        with _locked(Path(f"{path}.lock")):
            return self._read(path) or self._make(path, clips, compute())

    def _read(self, path: Path) -> InMemory | None:
        """What a file holds; None if there is none, and None with a warning if it is damaged."""
        try:
            with _locked(self.folder / "room.lock"):
                content = path.with_suffix(".json").read_bytes()
                held = _held(path)
        except FileNotFoundError:
            return None
        try:
            facts = json.loads(content)
            shape, dtype = facts["shape"], getattr(torch, facts["dtype"])
            if os.fstat(held).st_size != prod(shape) * dtype.itemsize:
                raise ValueError("cut")
            features = torch.from_file(str(path), size=prod(shape), dtype=dtype).view(shape)
            label = torch.tensor(facts["labels"])
            if facts["sha256"] != hashlib.sha256(_bytes(features)).hexdigest():
                raise ValueError("changed")
        except Exception as error:  # a damaged file fails in many ways
            os.close(held)
            warnings.warn(
                f"{path} is damaged ({type(error).__name__}); its features are computed again",
                stacklevel=4,
            )
            return None
        os.utime(held)
        source = InMemory(features, label)
        weakref.finalize(source, os.close, held)
        return source

    def _make(self, path: Path, clips: int, computed: Iterator[Labelled]) -> InMemory | None:
        first, first_label = next(computed)
        part, labels, found = path.with_suffix(".part"), [], hashlib.sha256()
        with _locked(self.folder / "room.lock"):
            if not self._make_room(first.nbytes * clips):
                return None
            part.touch()
            held = _held(part)
            os.truncate(part, first.nbytes * clips)  # reserves its room
        try:
            with part.open("r+b") as file:
                for features, label in chain([(first, first_label)], computed):
                    file.write(_bytes(features))
                    found.update(_bytes(features))
                    labels.append(label)
            part.replace(path)
        except OSError as error:
            raise CacheError(
                f"cannot write {path}: {error.strerror}; free some space, lower {VARIABLE}, or set "
                "feature_cache = false"
            ) from error
        finally:
            part.unlink(missing_ok=True)
            os.close(held)
        facts = {
            "shape": [clips, *first.shape],
            "dtype": str(first.dtype).removeprefix("torch."),
            "labels": labels,
            "sha256": found.hexdigest(),
        }
        write_whole(path.with_suffix(".json"), json.dumps(facts).encode())
        return self._read(path)

    def _make_room(self, wanted: int) -> bool:
        """Remove the oldest files until `wanted` bytes fit; False, and none removed, if never."""
        found = [*self.folder.glob("*.features"), *self.folder.glob("*.part")]
        sizes = {file: file.stat() for file in found}
        excess = sum(stat.st_size for stat in sizes.values()) + wanted - self.limit
        removed: list[Path] = []
        for file in sorted(found, key=lambda file: sizes[file].st_mtime_ns):
            if excess > 0 and not _in_use(file):
                removed.append(file)
                excess -= sizes[file].st_size
        if excess > 0:
            return False
        for file in removed:
            file.unlink()
            file.with_suffix(".json").unlink(missing_ok=True)
        return True


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock. Raises CacheError where the file system has none."""
    lock = FileLock(path)
    try:
        lock.acquire()
    except OSError as error:
        raise CacheError(
            f"{path}: no lock can be held there: {error.strerror}; set PKS4_CACHE to another "
            "folder, or feature_cache = false"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _held(path: Path) -> int:
    """An open file under a shared lock, until it is closed or this process ends."""
    file = os.open(path, os.O_RDONLY)
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_SH)
    return file


def _in_use(path: Path) -> bool:
    if fcntl is None:
        return False
    file = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _bytes(x: Tensor) -> memoryview:
    return x.contiguous().view(-1).view(torch.uint8).numpy().data
