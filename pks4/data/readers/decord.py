"""decord: fast on the embedded set, whose clips are closed-GOP H.264 by construction.

On some files decord 0.6.0 silently returns wrong frames: open GOPs (leading pictures), intra
refresh, MPEG-TS, HEVC in default settings.  This reader looks at the packets first and refuses,
with VideoError(kind="inexact"), every file outside the kinds that were tried and found exact.  A
decord reader must not be shared between threads or taken across a fork, so each call opens one.

Colour goes through decord's own FFmpeg filter chain, which differs from PyAV's conversion by a few
grey levels.
"""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pks4.data.errors import VideoError, wrong_count
from pks4.data.readers.orientation import Orientation, orientation_of_file
from pks4.data.readers.packets import index, leading_pictures, opened

EXACT_CODECS = ("h264", "vp9", "mjpeg", "mpeg4")
EXACT_CONTAINERS = ("mp4", "matroska", "avi")
_REMEDY = "use reader 'pyav'"


def info() -> dict[str, Any]:
    """Name and version of this reader."""
    _decord("decord")
    return {"name": "decord", "version": version("decord")}


def count_frames(path: Path | str) -> int:
    """The number of frames decord sees, on a file it is exact on."""
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
        return video.get_batch(list(indices)).asnumpy()
    except _decord(path).DECORDError as error:
        message = f"decoding failed ({_gist(error)}); restore the file, or {_REMEDY}"
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
    """decord's own reader of a file that it reads exactly."""
    decord = _decord(path)
    packets = _exact_packets(path)
    try:
        video = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
    except (decord.DECORDError, RuntimeError) as error:
        message = f"decord cannot open it ({_gist(error)}); {_REMEDY}"
        raise VideoError(path, "open", message) from error
    if len(video) != packets:
        message = f"decord sees {len(video)} frames where the file has {packets}; {_REMEDY}"
        raise VideoError(path, "inexact", message)
    return video


def _exact_packets(path: Path | str) -> int:
    """The number of packets; raises VideoError for a file that decord would get wrong."""
    with opened(path) as (container, stream):
        packets = index(path, container, stream)
        containers = container.format.name.split(",")
        codec = stream.codec_context.codec.canonical_name
    wrong = None
    if not set(containers) & set(EXACT_CONTAINERS):
        wrong = f"container {containers[0]}"
    elif codec not in EXACT_CODECS:
        wrong = f"codec {codec}"
    elif any(packet.pts is None for packet in packets):
        wrong = "packets without a time"
    elif leading_pictures(packets):
        wrong = "leading pictures (open GOP)"
    elif any(packet.key and not packet.afresh for packet in packets):
        wrong = "key frames that do not start afresh (intra refresh)"
    elif orientation_of_file(path) != Orientation():
        wrong = "a turn or mirror noted in the file"
    if wrong:
        raise VideoError(path, "inexact", f"{wrong}: decord is not exact on such files; {_REMEDY}")
    return len(packets)


def _gist(error: Exception) -> str:
    """The first line of decord's message, which otherwise carries a stack trace."""
    return str(error).strip().splitlines()[0][:160]
