"""A split in memory, for training: every clip is decoded once, into one tensor.

Letters: n clips, t frames, h w rows and columns; channels RGB.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pks4.data.dataset import Dataset
from pks4.data.errors import BadClipsError, DataError, VideoError
from pks4.data.integrity import check_unchanged
from pks4.data.manifest import Entry, read_manifest
from pks4.data.readers import read_frames, reader_info
from pks4.errors import unknown_name

MAX_BYTES = 4 * 2**30
_SHOWN = 5  # bad clips named in the error


@dataclass(frozen=True)
class Clips:
    """Video (n, t, 3, h, w) uint8, label (n,) int64, the files, and the reader's info."""

    video: torch.Tensor
    label: torch.Tensor
    paths: tuple[Path, ...]
    reader: dict[str, Any]


def load_split(
    dataset: Dataset,
    split: str,
    frames: int,
    *,
    reader: str = "pyav",
    limit: int | None = None,
    max_bytes: int = MAX_BYTES,
    progress: Callable[[int, int], None] | None = None,
) -> Clips:
    """Decode `frames` frames of every clip of a split, the centres of equal segments.

    `limit` takes only the first so many clips (labels cycle, so they stay balanced); `max_bytes`
    bounds the tensor; `progress(done, total)` counts clips.
    Raises DataError for a setting out of range or a data set that was changed since it was made.
    Raises BadClipsError, after all clips were tried, if any could not be read exactly or has
    another length than its manifest says.
    """
    if split not in dataset.splits:
        raise DataError(unknown_name("split", split, dataset.splits))
    if limit is not None and limit < 1:
        raise DataError(f"limit is {limit}; give 1 or more, or None for all clips")
    check_unchanged(dataset)
    entries = read_manifest(dataset.splits[split], classes=dataset.classes)
    return load_entries(entries[:limit], frames, reader=reader, max_bytes=max_bytes,
                        progress=progress)  # fmt: skip


def load_entries(
    entries: Sequence[Entry],
    frames: int,
    *,
    reader: str = "pyav",
    max_bytes: int = MAX_BYTES,
    progress: Callable[[int, int], None] | None = None,
) -> Clips:
    """`load_split` on the entries of any manifest; all clips must have one frame size."""
    info = reader_info(reader)
    shortest = min(entries, key=lambda entry: entry.num_frames)
    if not 1 <= frames <= shortest.num_frames:
        most = shortest.num_frames
        raise DataError(f"frames is {frames}; {shortest.path} has {most}, give 1..{most}")
    video: torch.Tensor | None = None
    errors: list[Exception] = []
    # Threads, not processes: decoding releases the interpreter lock, and each call opens a reader.
    with (
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
        closing(pool.map(lambda entry: _read(entry, frames, reader), entries)) as clips,
    ):
        for position, clip in enumerate(clips):
            if isinstance(clip, VideoError):
                errors.append(clip)
                continue
            if video is None:
                video = _empty_video(len(entries), clip.shape, max_bytes)
            if clip.shape[1:3] != tuple(video.shape[3:]):
                errors.append(_size_error(entries[position].path, clip, video))
                continue
            video[position] = torch.from_numpy(clip).permute(0, 3, 1, 2)  # (t, 3, h, w)
            if progress is not None:
                progress(position + 1, len(entries))
    if errors or video is None:
        raise _bad_clips(errors, len(entries))
    label = torch.tensor([entry.label for entry in entries], dtype=torch.int64)
    return Clips(video, label, tuple(entry.path for entry in entries), info)


def segment_centres(num_frames: int, frames: int) -> list[int]:
    """The middle frame of each of `frames` equal segments of a clip."""
    return [(2 * segment + 1) * num_frames // (2 * frames) for segment in range(frames)]


def _read(entry: Entry, frames: int, reader: str) -> NDArray[np.uint8] | VideoError:
    indices = segment_centres(entry.num_frames, frames)
    try:
        return read_frames(entry.path, indices, reader, num_frames=entry.num_frames)
    except VideoError as error:
        return error


def _empty_video(clips: int, shape: tuple[int, ...], max_bytes: int) -> torch.Tensor:
    """An empty (n, t, 3, h, w) tensor. Raises DataError above max_bytes."""
    frames, height, width, channels = shape
    needed = clips * frames * height * width * channels
    if needed > max_bytes:
        raise DataError(
            f"{clips} clips of {frames} x {height} x {width} take {needed / 2**30:.2f} GiB, "
            f"more than max_bytes ({max_bytes / 2**30:.2f} GiB); lower limit or frames, or raise it"
        )
    return torch.empty(clips, frames, channels, height, width, dtype=torch.uint8)


def _size_error(path: Path, clip: NDArray[np.uint8], video: torch.Tensor) -> DataError:
    size, first = clip.shape[1:3], tuple(video.shape[3:])
    return DataError(f"{path}: frames are {size}, the first clip's {first}; make them one size")


def _bad_clips(errors: list[Exception], total: int) -> BadClipsError:
    shown = "; ".join(str(error) for error in errors[:_SHOWN])
    more = f"; and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
    return BadClipsError(f"{len(errors)} of {total} clips cannot be used: {shown}{more}", errors)
