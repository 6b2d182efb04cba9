"""Is a finished data set still what was made?  Asked whenever one is taken from the cache.

Always: each manifest has the clips and frames that `dataset.json` says, and the clips' hashes of
frames before encoding, the authority, give its digest.  Once in a process for each file, and again
when its time or size changed: the file's own hash.  A file that differs is an error that names it;
nothing is rendered anew in silence.
"""

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from pks4.data.dataset import DESCRIPTION, Dataset, digest
from pks4.data.errors import DataError
from pks4.data.manifest import Entry, read_manifest

_Seen = tuple[str, int, int, str]  # path, bytes, time of change in ns, the hash that it had
_seen: set[_Seen] = set()


def check_unchanged(dataset: Dataset) -> None:
    """Raise DataError, naming the file and the remedy, if the data set is not what was made."""
    entries = {
        split: read_manifest(manifest, classes=dataset.classes)
        for split, manifest in dataset.splits.items()
    }
    for split, manifest in dataset.splits.items():
        _check_manifest(manifest, entries[split], dataset.counts[split], dataset.frames)
    everyone = [entry for split in dataset.counts for entry in entries[split]]
    if digest([entry.frames_sha256 or "" for entry in everyone]) != dataset.digest:
        names = ", ".join(manifest.name for manifest in dataset.splits.values())
        raise DataError(
            f"{dataset.root}: the frames_sha256 of {names} do not give the digest in "
            f"{DESCRIPTION}; one of them was changed: delete the folder and make the data set again"
        )
    _check_files(everyone)


def file_sha256(path: Path) -> str:
    """The hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_manifest(manifest: Path, entries: list[Entry], count: int, frames: int) -> None:
    remedy = "delete the folder and make the data set again"
    if len(entries) != count:
        raise DataError(
            f"{manifest}: {len(entries)} clips where {DESCRIPTION} says {count}; {remedy}"
        )
    for entry in entries:
        if entry.num_frames != frames:
            raise DataError(
                f"{manifest}: {entry.num_frames} frames of {entry.path.name} where {DESCRIPTION} "
                f"says {frames}; {remedy}"
            )


def _check_files(entries: Iterable[Entry]) -> None:
    """Compare the files with their hashes, but those that this process has compared already."""
    new = [(entry, seen) for entry in entries if (seen := _state(entry)) not in _seen]
    # threads: hashing leaves the interpreter's lock
    with (
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
        closing(pool.map(lambda each: file_sha256(each[0].path), new)) as hashes,
    ):
        for (entry, seen), found in zip(new, hashes, strict=True):
            if found != entry.file_sha256:
                raise DataError(
                    f"{entry.path}: this file was changed, its sha256 is {found[:12]}... where "
                    f"the manifest says {(entry.file_sha256 or 'none')[:12]}; delete it and make "
                    "the data set again, which renders what is missing"
                )
            _seen.add(seen)


def _state(entry: Entry) -> _Seen:
    status = entry.path.stat()
    return str(entry.path), status.st_size, status.st_mtime_ns, entry.file_sha256 or ""
