"""decord: fast on the embedded set, whose clips are closed-GOP H.264 by construction.

On some files decord 0.6.0 silently returns wrong frames: open GOPs (leading pictures), intra
refresh, MPEG-TS, H.264 in AVI, HEVC in default settings.  Of several video streams it may choose
another, and it shows damaged pictures without a word.  This reader inspects the packets first.  It
refuses, with VideoError(kind="inexact"), every kind of file that was not tested and exact.  A
decord reader must not be shared between threads or taken across a fork, so each call opens one.

decord converts colours by an FFmpeg filter chain, which differs from PyAV's conversion by a few
grey levels.
"""

from collections.abc import Sequence
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from types import ModuleType
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

EXACT_CODECS = ("h264", "vp9", "mjpeg", "mpeg4")
EXACT_CONTAINERS = ("mp4", "matroska", "avi")
_REMEDY = "use reader 'pyav'"


def info() -> dict[str, Any]:
    """Name and version of this reader."""
    _decord("decord")
    return {"name": "decord", "version": version("decord")}


def count_frames(path: Path | str) -> int:
    """The number of frames that decord finds, in a file that it reads exactly."""
    return len(_video(path))


def read_frames(
    path: Path | str, indices: Sequence[int], num_frames: int | None = None
) -> NDArray[np.uint8]:
    """Frames `indices` (t, h, w, 3) RGB; see the package's `read_frames`."""
    video = _video(path)
    check_request(path, len(video), indices, num_frames)
    try:
        return video.get_batch(list(indices)).asnumpy()
    except _decord(path).DECORDError as error:
        message = f"decoding failed ({first_line(error)}); restore the file, or {_REMEDY}"
        raise VideoError(path, "decode", message) from error


def _decord(path: Path | str) -> ModuleType:
    """The library, or a VideoError that says how to install it."""
    try:
        import decord
    except ImportError as error:
        message = "reader 'decord' is not installed; pip install decord, or " + _REMEDY
        raise VideoError(path, "backend", message) from error
    return decord


def _video(path: Path | str) -> Any:
    """decord's reader for a file; VideoError for a file that it would read wrong."""
    decord = _decord(path)
    packets = _exact_packets(path)
    try:
        video = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
    except (decord.DECORDError, RuntimeError) as error:
        message = f"decord cannot open it ({first_line(error)}); {_REMEDY}"
        raise VideoError(path, "open", message) from error
    if len(video) != packets:
        message = f"decord sees {len(video)} frames where the file has {packets}; {_REMEDY}"
        raise VideoError(path, "inexact", message)
    return video


def _exact_packets(path: Path | str) -> int:
    """The number of packets. Raises VideoError for a file that decord would read wrong."""
    with opened(path) as (container, stream):
        packets = index(path, container, stream, holes=True)
        containers = container.format.name.split(",")
        codec = stream.codec_context.codec.canonical_name
        numbered = are_numbered(packets, container, stream)
        videos = len(container.streams.video)
    fault = None
    if not set(containers) & set(EXACT_CONTAINERS):
        fault = f"container {containers[0]}"
    elif codec not in EXACT_CODECS:
        fault = f"codec {codec}"
    elif (codec, containers) == ("h264", ["avi"]):
        fault = "H.264 in AVI"
    elif videos > 1:
        fault = "several video streams or a picture"
    elif not numbered:
        fault = "packets whose times do not number the frames"
    elif any(packet.holed for packet in packets):
        fault = "a run of zeros in a packet"
    elif codec == "mpeg4" and any(b.pts < a.pts for a, b in pairwise(packets)):
        fault = "B-frames of MPEG-4"
    elif leading_pictures(packets):
        fault = "leading pictures (open GOP)"
    elif any(packet.key and not packet.restarts for packet in packets):
        fault = "key frames that do not restart decoding (intra refresh)"
    elif orientation_of_file(path) != Orientation():
        fault = "a turn or mirror noted in the file"
    if fault:
        raise VideoError(path, "inexact", f"{fault}: decord is not exact on such files; {_REMEDY}")
    return len(packets)
