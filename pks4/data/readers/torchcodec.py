"""TorchCodec in its exact seek mode; optional, and in need of FFmpeg's libraries on the system.

Its approximate mode guesses frames from a mean rate and is wrong on variable ones, so it is never
used.  Version 0.17 on FFmpeg 5.1 returned other frames of an MPEG-TS without an error, and failed
on some seeks in an open GOP.  So the packets are looked at first, as with decord: containers that
were not found exact are refused, and the time of every frame that comes back is held against the
packet index.
"""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pks4.data.errors import VideoError, wrong_count
from pks4.data.readers.orientation import orientation_of_file
from pks4.data.readers.packets import index, leading_pictures, opened

EXACT_CONTAINERS = ("mp4", "matroska", "avi")
_REMEDY = "use reader 'pyav'"


def info() -> dict[str, Any]:
    """Name and version of this reader."""
    _decoder_class("torchcodec")
    return {"name": "torchcodec", "version": version("torchcodec"), "seek_mode": "exact"}


def count_frames(path: Path | str) -> int:
    """The number of frames that TorchCodec's scan of the file finds."""
    return len(_video(path)[0])


def read_frames(
    path: Path | str, indices: Sequence[int], num_frames: int | None = None
) -> NDArray[np.uint8]:
    """Frames `indices` (t, h, w, 3) RGB; see the package's `read_frames`."""
    video, times, leading = _video(path)
    if num_frames is not None and len(video) != num_frames:
        raise wrong_count(path, len(video), num_frames)
    if max(indices) >= len(video):
        message = f"frame {max(indices)} was asked for but the file holds {len(video)}"
        raise VideoError(path, "truncated", message)
    try:
        batch = video.get_frames_at(list(indices))
    except (RuntimeError, ValueError, IndexError) as error:
        message = f"decoding failed ({_gist(error)}); restore the file, or {_REMEDY}"
        raise VideoError(path, "inexact" if leading else "decode", message) from error
    expected = np.array([times[wanted] for wanted in indices])
    if not np.allclose(batch.pts_seconds.numpy(), expected, rtol=0, atol=1e-4):
        raise VideoError(path, "inexact", f"torchcodec returned frames of other times; {_REMEDY}")
    return batch.data.numpy()


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


def _video(path: Path | str) -> tuple[Any, list[float], bool]:
    """A decoder, the seconds at which its frames are shown, and whether there are open GOPs.

    Raises VideoError for a file that it may get wrong, or counts unlike its packets.
    """
    decoder = _decoder_class(path)
    with opened(path) as (container, stream):
        packets = index(path, container, stream)
        containers = container.format.name.split(",")
        times = sorted(float(p.pts * stream.time_base) for p in packets if p.pts is not None)
    if not set(containers) & set(EXACT_CONTAINERS) or len(set(times)) != len(packets):
        wrong = f"container {containers[0]}, or packets without a time of their own"
        raise VideoError(path, "inexact", f"{wrong}: torchcodec may not be exact; {_REMEDY}")
    turned = orientation_of_file(path)
    if turned is None or turned.is_mirrored:
        raise VideoError(path, "inexact", f"a mirror noted in the file is not applied; {_REMEDY}")
    try:
        video = decoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact")
    except (RuntimeError, ValueError) as error:
        message = f"torchcodec cannot open it ({_gist(error)}); {_REMEDY}"
        raise VideoError(path, "open", message) from error
    if len(video) != len(packets):
        message = (
            f"torchcodec sees {len(video)} frames where the file has {len(packets)}; {_REMEDY}"
        )
        raise VideoError(path, "inexact", message)
    return video, times, bool(leading_pictures(packets))


def _gist(error: Exception) -> str:
    """The first line of a message that otherwise carries a stack trace."""
    return str(error).strip().splitlines()[0][:160]
