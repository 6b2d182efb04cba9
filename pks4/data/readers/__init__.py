"""Video readers with one interface: exactly the requested frames, or a VideoError.

A reader is a file of this folder, imported on first use, with three functions:

    read_frames(path, indices, num_frames=None) -> uint8 array (t, h, w, 3), RGB
    count_frames(path) -> int
    info() -> dict

`pyav` is exact on everything FFmpeg opens and is the default.  `decord` is known to return wrong
frames of some kinds of files; the reader refuses them with a VideoError of kind `inexact`.
`torchcodec` is optional and needs FFmpeg's libraries on the system.  The readers convert YUV to RGB
by slightly different arithmetic, so their pixels differ by a few grey levels: compare results only
between records with the same reader.  No reader ever returns fewer, other or substituted frames.

A clip may be a folder of numbered pictures. It is read by `images`, whatever reader is chosen for
files. `packets` reads the packet index that the others use, and `structure` tells whether a file is
whole; `reader_speed` times the readers.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from pks4.data.errors import DataError, VideoError
from pks4.errors import unknown_name

READERS = ("pyav", "decord", "torchcodec")  # of files, for a user to choose from

__all__ = [
    "READERS", "Reader", "VideoError", "count_frames", "open_reader", "read_frames", "reader_info",
]  # fmt: skip


class Reader(Protocol):
    """The functions of a reader's file; a reader keeps no state between calls."""

    def read_frames(
        self, path: Path | str, indices: Sequence[int], num_frames: int | None = None
    ) -> NDArray[np.uint8]: ...

    def count_frames(self, path: Path | str) -> int: ...

    def info(self) -> dict[str, Any]: ...


def open_reader(name: str) -> Reader:
    """The reader called `name`.  Raises DataError, with a near name, for an unknown one."""
    if name not in READERS:
        raise DataError(unknown_name("reader", name, READERS))
    return _imported(name)


def reader_for(path: Path | str, reader: str) -> Reader:
    """`images` for a folder, else the reader called `reader`."""
    chosen = open_reader(reader)
    return _imported("images") if Path(path).is_dir() else chosen


def read_frames(
    path: Path | str,
    indices: Sequence[int],
    reader: str = "pyav",
    *,
    num_frames: int | None = None,
) -> NDArray[np.uint8]:
    """Frames `indices` of a video in that order, (t, h, w, 3) uint8 RGB.

    Indices count frames in order of presentation from 0; they may repeat and have any order.
    With `num_frames`, the file must hold exactly that many.
    Raises VideoError if any frame cannot be read exactly, DataError for a negative index.
    """
    numbers = [int(index) for index in indices]
    if not numbers or min(numbers) < 0:
        raise DataError(f"indices are {numbers}; give at least one, counting from 0")
    return reader_for(path, reader).read_frames(path, numbers, num_frames)


def count_frames(path: Path | str, reader: str = "pyav") -> int:
    """The number of frames a video decodes to.  Raises VideoError if it cannot be decoded."""
    return reader_for(path, reader).count_frames(path)


def reader_info(name: str) -> dict[str, Any]:
    """The reader's name and versions, for a record.  Raises VideoError if it is not installed."""
    return open_reader(name).info()


def _imported(name: str) -> Reader:
    return cast(Reader, import_module(f"pks4.data.readers.{name}"))
