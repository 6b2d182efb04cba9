"""Whether a finished data set is unchanged; checked at every use of the cache.

Every check compares the manifests with `dataset.json`: their clips and frames, and the digest of
the hashes of frames before encoding, which are the authority.  The hash of a file is compared once
a process, and again when its time or size changed.  A file that differs is an error that names it;
no file is rendered again silently.
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

_FileState = tuple[str, int, int, str]  # path, bytes, time of change in ns, expected hash
_verified: set[_FileState] = set()


def check_unchanged(dataset: Dataset) -> None:
    """Raise DataError, with the file and the remedy, if the data set was changed."""
    entries = {
        split: read_manifest(manifest, classes=dataset.classes)
        for split, manifest in dataset.splits.items()
    }
    for split, manifest in dataset.splits.items():
        _check_manifest(manifest, entries[split], dataset.counts[split], dataset.frames)
    all_entries = [entry for split in dataset.counts for entry in entries[split]]
    if digest([entry.frames_sha256 or "" for entry in all_entries]) != dataset.digest:
        names = ", ".join(manifest.name for manifest in dataset.splits.values())
        raise DataError(
            f"{dataset.root}: the frames_sha256 of {names} do not give the digest in "
            f"{DESCRIPTION}; one of them was changed: delete the folder and make the data set again"
        )
    _check_files(all_entries)


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
    """Compare each file with its hash, unless this process has done so already."""
    new = [(entry, state) for entry in entries if (state := _state(entry)) not in _verified]
    # threads: hashing releases the interpreter lock
    with (
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
        closing(pool.map(lambda each: file_sha256(each[0].path), new)) as hashes,
    ):
        for (entry, state), sha256 in zip(new, hashes, strict=True):
            if sha256 != entry.file_sha256:
                raise DataError(
                    f"{entry.path}: this file was changed, its sha256 is {sha256[:12]}... where "
                    f"the manifest says {(entry.file_sha256 or 'none')[:12]}; delete it and make "
                    "the data set again, which renders the missing clips"
                )
            _verified.add(state)


def _state(entry: Entry) -> _FileState:
    status = entry.path.stat()
    return str(entry.path), status.st_size, status.st_mtime_ns, entry.file_sha256 or ""
