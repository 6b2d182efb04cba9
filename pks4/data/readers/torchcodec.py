"""TorchCodec in its exact seek mode; optional, needs FFmpeg's libraries on the system.

Its approximate mode computes frames from a mean rate, which is wrong for variable rates; it is
never used.  Version 0.17 on FFmpeg 5.1 returned other frames of an MPEG-TS without an error, and
failed on some seeks in an open GOP.  So this reader inspects the packets first, as the decord
reader does.  It refuses containers that were not tested and exact, and compares the time of every
returned frame with the packet index.
"""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pks4.data.errors import VideoError
from pks4.data.readers.orientation import Orientation, orientation_of_file
from pks4.data.readers.packets import (
    are_numbered,
    check_request,
    first_line,
    index,
    leading_pictures,
    opened,
)

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
    check_request(path, len(video), indices, num_frames)
    try:
        batch = video.get_frames_at(list(indices))
    except (RuntimeError, ValueError, IndexError) as error:
        message = f"decoding failed ({first_line(error)}); restore the file, or {_REMEDY}"
        raise VideoError(path, "inexact" if leading else "decode", message) from error
    expected = np.array([times[wanted] for wanted in indices])
    if not np.allclose(batch.pts_seconds.numpy(), expected, rtol=0, atol=1e-4):
        raise VideoError(path, "inexact", f"torchcodec returned frames of other times; {_REMEDY}")
    return batch.data.numpy()


def _decoder_class(path: Path | str) -> Any:
    """The library's decoder. Raises VideoError, with the remedy, if it is not installed."""
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
    """A decoder, the times of its frames in seconds, and whether there are open GOPs.

    Raises VideoError for a file that TorchCodec may read wrong or count unlike its packets.
    """
    decoder = _decoder_class(path)
    with opened(path) as (container, stream):
        packets = index(path, container, stream, holes=True)
        containers = container.format.name.split(",")
        numbered, chosen = are_numbered(packets, container, stream), stream.index
        times = sorted(float(p.pts * stream.time_base) for p in packets if p.pts is not None)
    turned = orientation_of_file(path)
    fault = None
    if not set(containers) & set(EXACT_CONTAINERS):
        fault = f"container {containers[0]}"
    elif not numbered:
        fault = "packets whose times do not number the frames"
    elif any(packet.holed for packet in packets):
        fault = "a run of zeros in a packet"
    elif turned is None or turned.is_mirrored:
        fault = "a mirror noted in the file"
    if fault:
        raise VideoError(path, "inexact", f"{fault}: torchcodec may not be exact; {_REMEDY}")
    try:
        video = decoder(
            str(path), stream_index=chosen, dimension_order="NHWC", num_ffmpeg_threads=1,
            seek_mode="exact",
        )  # fmt: skip
    except (RuntimeError, ValueError) as error:
        message = f"torchcodec cannot open it ({first_line(error)}); {_REMEDY}"
        raise VideoError(path, "open", message) from error
    if turned != Orientation() and not getattr(video.metadata, "rotation", None):
        message = f"a turn noted in the pictures is not applied; {_REMEDY}"
        raise VideoError(path, "inexact", message)
    if len(video) != len(packets):
        message = (
            f"torchcodec sees {len(video)} frames where the file has {len(packets)}; {_REMEDY}"
        )
        raise VideoError(path, "inexact", message)
    return video, times, bool(leading_pictures(packets))
