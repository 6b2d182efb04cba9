"""TorchCodec in its exact seek mode; optional, and in need of FFmpeg's libraries on the system.

Its approximate mode guesses frames from a mean rate and is wrong on variable ones, so it is never
used.  The file is looked at by its packets first, so that a broken one gives the same kind of error
as with PyAV, and a file on which the two count differently is refused as inexact.
"""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pks4.data.errors import VideoError, wrong_count
from pks4.data.readers.packets import index, opened

_REMEDY = "use reader 'pyav'"


def info() -> dict[str, Any]:
    """Name and version of this reader."""
    _decoder_class("torchcodec")
    return {"name": "torchcodec", "version": version("torchcodec"), "seek_mode": "exact"}


def count_frames(path: Path | str) -> int:
    """The number of frames that TorchCodec's scan of the file finds."""
    return len(_video(path))


def read_frames(
    path: Path | str, indices: Sequence[int], num_frames: int | None = None
) -> NDArray[np.uint8]:
    """Frames `indices` (t, h, w, 3) RGB; see the package's `read_frames`."""
    video = _video(path)
    if num_frames is not None and len(video) != num_frames:
        raise wrong_count(path, len(video), num_frames)
    if max(indices) >= len(video):
        message = f"frame {max(indices)} was asked for but the file holds {len(video)}"
        raise VideoError(path, "truncated", message)
    try:
        return video.get_frames_at(list(indices)).data.numpy()
    except (RuntimeError, ValueError, IndexError) as error:
        message = f"decoding failed ({_gist(error)}); restore the file, or {_REMEDY}"
        raise VideoError(path, "decode", message) from error


def _decoder_class(path: Path | str) -> Any:
    """The library's decoder, or a VideoError that says what is not there."""
    try:
        from torchcodec.decoders import VideoDecoder

        version("torchcodec")
    except (ImportError, PackageNotFoundError) as error:
        message = f"reader 'torchcodec' is not installed; pip install torchcodec, or {_REMEDY}"
        raise VideoError(path, "backend", message) from error
    except (RuntimeError, OSError) as error:  # raised where FFmpeg's libraries cannot be loaded
        message = (
            "reader 'torchcodec' cannot be loaded; install FFmpeg's libraries (apt install ffmpeg) "
            f"and the version that fits torch, or {_REMEDY}"
        )
        raise VideoError(path, "backend", message) from error
    return VideoDecoder


def _video(path: Path | str) -> Any:
    """A decoder of the file, if its number of frames is that of the packets."""
    decoder = _decoder_class(path)
    with opened(path) as (container, stream):
        packets = len(index(path, container, stream))
    try:
        video = decoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact")
    except (RuntimeError, ValueError) as error:
        message = f"torchcodec cannot open it ({_gist(error)}); {_REMEDY}"
        raise VideoError(path, "open", message) from error
    if len(video) != packets:
        message = f"torchcodec sees {len(video)} frames where the file has {packets}; {_REMEDY}"
        raise VideoError(path, "inexact", message)
    return video


def _gist(error: Exception) -> str:
    """The first line of a message that otherwise carries a stack trace."""
    return str(error).strip().splitlines()[0][:160]
