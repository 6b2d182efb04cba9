"""Render the embedded data set into a cache folder: parallel, resumable, atomic.

Every clip is written under a temporary name, moved into place and added to a journal.  After all
clips come the manifests, and `dataset.json` last.  A finished folder is reused after a check of its
hashes.  An interrupted one is resumed: a clip in the journal or a manifest is kept if its file
still has the recorded hash; all others are rendered.
"""

import hashlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from importlib.metadata import version
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from pks4.data.dataset import DESCRIPTION, Dataset, cache_root, digest, write_whole
from pks4.data.errors import CacheError, DataError
from pks4.data.integrity import check_unchanged, file_sha256
from pks4.data.kinetic_digits.encode import encode, frames_sha256
from pks4.data.kinetic_digits.render import render
from pks4.data.kinetic_digits.tasks import (
    DEFAULT_FRAMES,
    FPS,
    GENERATOR_VERSION,
    MIN_FRAMES,
    SPLITS,
    class_names,
)
from pks4.data.manifest import manifest_text, read_manifest
from pks4.errors import unknown_name

DEFAULT_COUNTS = {
    "temporal": {"train": 3600, "val": 360, "test": 1080},
    "motion": {"train": 3600, "val": 360, "test": 1080},
    "shapes": {"train": 3600, "val": 360, "test": 1080},
    "spatial": {"train": 3600, "val": 360, "test": 1080},
    "long": {"train": 600, "val": 120, "test": 360},  # of 512 frames each
}
MIN_SIZE = 32  # smaller digits are not legible
JOURNAL = "journal.jsonl"
_CHUNK_FRAMES = 256  # a worker renders about so many frames a report
_WRITING = threading.Lock()  # a worker finishes the file it writes before it ends

Progress = Callable[[int, int], None]
Row = dict[str, Any]


class _Job(NamedTuple):
    """One clip to render, with all that a worker process needs."""

    root: Path
    task: str
    split: str
    index: int
    size: int
    frames: int
    seed: int

    @property
    def path(self) -> str:
        return f"{self.split}/{self.index:06d}.mp4"


def make(
    task: str,
    *,
    size: int = 64,
    frames: int | None = None,
    counts: Mapping[str, int] | None = None,
    seed: int = 0,
    cache: Path | str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Render a task of `tasks.TASKS`, or return it from the cache.

    `size` is the side in pixels, `frames` the length of a clip (by default 16, and 512 for `long`),
    `counts` the clips of each split. Labels cycle: a multiple of the classes is exactly balanced,
    any other count within one clip a class.  `cache` defaults to $PKS4_CACHE, else the user's cache
    folder.  `workers` processes render (default: one a core); `progress(done, total)` counts clips.

    Raises DataError for a setting out of range, or for a finished data set with a changed file;
    CacheError for a cache that it cannot write.
    """
    class_names(task)  # raises for an unknown task
    frames = DEFAULT_FRAMES[task] if frames is None else frames
    counts = dict(DEFAULT_COUNTS[task] if counts is None else counts)
    _check(task, size, frames, counts, seed, workers)
    counts = {split: counts[split] for split in SPLITS if split in counts}
    root = cache_root(cache) / folder_name(task, size, frames, counts, seed)
    jobs = [
        _Job(root, task, split, index, size, frames, seed)
        for split, count in counts.items()
        for index in range(count)
    ]
    parts = [DESCRIPTION, *(f"{split}.csv" for split in counts), *(job.path for job in jobs)]
    if all((root / part).is_file() for part in parts):
        dataset = Dataset.read(root)
        check_unchanged(dataset)
        return dataset
    return _finish(jobs, _render_missing(root, jobs, workers, progress), counts)


def folder_name(task: str, size: int, frames: int, counts: Mapping[str, int], seed: int) -> str:
    """The name of a data set's folder: everything that determines its frames."""
    parts = [task, f"{size}px", f"{frames}f", f"seed{seed}", f"v{GENERATOR_VERSION}"]
    return "-".join(parts + [f"{split}{count}" for split, count in counts.items()])


def _check(task: str, size: int, frames: int, counts: dict[str, int], seed: int,
           workers: int | None) -> None:  # fmt: skip
    whole = {"size": size, "frames": frames, "seed": seed, **counts}
    for name, value in whole.items():
        if not isinstance(value, int) or isinstance(value, bool):
            raise DataError(f"{name} is {value!r}; give a whole number")
    if size < MIN_SIZE or size % 2:
        raise DataError(f"size is {size}; give an even number of pixels, at least {MIN_SIZE}")
    if frames < MIN_FRAMES[task]:
        raise DataError(f"frames is {frames}; task {task!r} takes at least {MIN_FRAMES[task]}")
    if seed < 0:
        raise DataError(f"seed is {seed}; give 0 or more")
    if workers is not None and workers < 1:
        raise DataError(f"workers is {workers}; give 1 or more, or None for one a core")
    if not counts:
        raise DataError(f"counts is empty; give the clips of at least one of {', '.join(SPLITS)}")
    for split, count in counts.items():
        if split not in SPLITS:
            raise DataError(unknown_name("split", split, SPLITS))
        if count < 1:
            raise DataError(f"counts[{split!r}] is {count}; give 1 or more, or leave the split out")


def _render_missing(
    root: Path, jobs: list[_Job], workers: int | None, progress: Progress | None
) -> dict[str, Row]:
    """Render the missing clips; the manifest rows of all clips by path."""
    rows = _verified(root, jobs)
    missing = [job for job in jobs if job.path not in rows]
    if progress is not None:
        progress(len(rows), len(jobs))
    with _journal(root) as journal, closing(_rendered(missing, workers)) as rendered:
        for row in rendered:
            journal.write(json.dumps(row) + "\n")
            journal.flush()
            rows[row["path"]] = row
            if progress is not None:
                progress(len(rows), len(jobs))
    return rows


def _verified(root: Path, jobs: list[_Job]) -> dict[str, Row]:
    """Rows of the existing clips that still have their recorded hash."""
    paths = {job.path for job in jobs}
    rows = {}
    for row in _recorded(root):
        path = root / row["path"]
        if row["path"] in paths and path.is_file() and file_sha256(path) == row["file_sha256"]:
            rows[row["path"]] = row
    return rows


def _recorded(root: Path) -> Iterator[Row]:
    """Rows of earlier calls that were interrupted, or whose folder was damaged."""
    for split in SPLITS:
        manifest = root / f"{split}.csv"
        if manifest.is_file():
            for entry in read_manifest(manifest, check_files=False):
                row = entry.model_dump(exclude={"class_name"}) | {"class": entry.class_name}
                yield row | {"path": entry.path.relative_to(root).as_posix()}
    journal = root / JOURNAL
    if journal.is_file():
        for line in journal.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except ValueError:  # truncated by the interruption; its clip is rendered again
                continue


def _journal(root: Path) -> TextIO:
    try:
        root.mkdir(parents=True, exist_ok=True)
        return (root / JOURNAL).open("a", encoding="utf-8")
    except OSError as error:
        raise CacheError(
            f"cannot write into the cache folder {root}: {error.strerror}; "
            "set PKS4_CACHE, or pass cache=, to a folder that can be written to"
        ) from error


def _rendered(jobs: list[_Job], workers: int | None) -> Iterator[Row]:
    """Rows of the jobs as they finish, in no fixed order."""
    step = max(1, _CHUNK_FRAMES // jobs[0].frames) if jobs else 1
    chunks = [jobs[start : start + step] for start in range(0, len(jobs), step)]
    workers = min(workers or _cores(), len(chunks))
    if workers <= 1:
        for job in jobs:
            yield _render(job)
        return
    # spawn: a fork would copy locks that the caller's threads hold
    context = get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, initializer=_follow_parent, initargs=(reader,))
    try:
        for future in as_completed([pool.submit(_render_chunk, chunk) for chunk in chunks]):
            yield from future.result()
    except BaseException:
        writer.close()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _follow_parent(reader: Connection) -> None:
    """Ignore interrupts, which the parent handles; end when the parent closes the pipe or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(reader,), daemon=True).start()


def _end_with_parent(reader: Connection) -> None:
    reader.poll(None)
    with _WRITING:
        os._exit(1)


def _render_chunk(jobs: list[_Job]) -> list[Row]:
    return [_render(job) for job in jobs]


def _render(job: _Job) -> Row:
    """Render, encode and write one clip; its row of the manifest."""
    clip = render(job.task, job.split, job.index, size=job.size, frames=job.frames, seed=job.seed)
    content = encode(clip.frames, FPS)
    with _WRITING:
        write_whole(job.root / job.path, content)
    return {
        "path": job.path,
        "label": clip.label,
        "class": class_names(job.task)[clip.label],
        "num_frames": job.frames,
        "sprite": clip.sprite,
        "frames_sha256": frames_sha256(clip.frames),
        "file_sha256": hashlib.sha256(content).hexdigest(),
    }


def _finish(jobs: list[_Job], rows: dict[str, Row], counts: dict[str, int]) -> Dataset:
    """Write the manifests, then the description; delete the journal."""
    root, task, *_ = first = jobs[0]
    for split in counts:
        text = manifest_text(rows[job.path] for job in jobs if job.split == split)
        write_whole(root / f"{split}.csv", text.encode())
    dataset = Dataset(
        root=root,
        task=task,
        classes=class_names(task),
        size=first.size,
        frames=first.frames,
        fps=FPS,
        seed=first.seed,
        generator_version=GENERATOR_VERSION,
        counts=counts,
        splits={split: root / f"{split}.csv" for split in counts},
        digest=digest([rows[job.path]["frames_sha256"] for job in jobs]),
        versions={name: version(name) for name in ("numpy", "scipy", "scikit-learn", "av")},
    )
    text = json.dumps(dataset.description(), indent=1) + "\n"
    write_whole(root / DESCRIPTION, text.encode())
    (root / JOURNAL).unlink(missing_ok=True)
    return dataset
