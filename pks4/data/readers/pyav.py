"""PyAV: exact on every file FFmpeg decodes; the default for users' files.

The reader uses a packet index and seeks.  It reads all packets once, without decoding, for (pts,
dts, key); the sorted pts number the frames.  For each requested frame it seeks to the last key
packet shown no later and decodes until that pts comes out.  If the index cannot be trusted (see
`are_numbered`; or a key packet is no intra picture), or decoding does not agree with it, the reader
decodes the file from its start, which defines the frames' numbers.  Both ways give the same pixels;
only the time differs.

swscale converts colours; it differs from decord's filter chain by a few grey levels.  Turns and
mirrors noted in the file are applied, as players do.  A frame that the decoder marks as damaged, or
that is predicted from one, is an error; only a hash detects damage that it does not notice.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from pks4.data.errors import VideoError, wrong_count
from pks4.data.readers.orientation import SkewedError, orientation
from pks4.data.readers.packets import Packet, are_numbered, index, opened, too_few

Frames = dict[int, NDArray[np.uint8]]


class _IndexMismatchError(Exception):
    """Decoding gave other frames than the index lists."""


class _DamagedError(Exception):
    """The decoder marks a requested frame, or one before it since the key, as damaged."""


def info() -> dict[str, Any]:
    """Name and versions of this reader."""
    libraries = {name: ".".join(map(str, v)) for name, v in av.library_versions.items()}
    return {"name": "pyav", "version": av.__version__, "libavcodec": libraries["libavcodec"]}


def count_frames(path: Path | str) -> int:
    """The number of frames, by decoding all of them."""
    with opened(path) as (container, stream):
        index(path, container, stream)
    with opened(path) as (container, stream):
        count = sum(1 for _ in container.decode(stream))
    if not count:
        raise _no_frame(path)
    return count


def read_frames(
    path: Path | str, indices: Sequence[int], num_frames: int | None = None
) -> NDArray[np.uint8]:
    """Frames `indices` (t, h, w, 3) RGB; see the package's `read_frames`."""
    try:
        frames, count = _frames(path, indices)
    except _DamagedError:
        raise VideoError(path, "decode", "the file is damaged; restore it") from None
    except SkewedError:
        message = "its display matrix is no quarter turn or mirror; encode it upright"
        raise VideoError(path, "decode", message) from None
    if not count:
        raise _no_frame(path)
    if num_frames is not None and count != num_frames:
        raise wrong_count(path, count, num_frames)
    for wanted in indices:
        if wanted not in frames:
            raise too_few(path, wanted, count)
    if len({frame.shape for frame in frames.values()}) > 1:
        message = "the frame size changes within the file; encode it in one size"
        raise VideoError(path, "decode", message)
    return np.stack([frames[wanted] for wanted in indices])


def _no_frame(path: Path | str) -> VideoError:
    message = "no frame of the video stream can be decoded; restore the file, or encode it again"
    return VideoError(path, "no_frames", message)


def _frames(path: Path | str, indices: Sequence[int]) -> tuple[Frames, int]:
    """The requested frames that exist, and the number of frames in the file."""
    with opened(path) as (container, stream):
        packets = index(path, container, stream)
        try:
            return _by_index(container, stream, packets, indices), len(packets)
        except _IndexMismatchError:
            pass
    with opened(path) as (container, stream):
        return _by_decoding_all(container, stream, indices)


def _by_index(container: InputContainer, stream: VideoStream, packets: list[Packet],
              indices: Sequence[int]) -> Frames:  # fmt: skip
    """Seek to the requested frames. Raises _IndexMismatchError if the index is wrong."""
    if not are_numbered(packets, container, stream):
        raise _IndexMismatchError
    times = sorted(packet.pts for packet in packets)
    keys = sorted((p for p in packets if p.key), key=lambda p: p.pts)
    starts = [key.pts for key in keys]
    frames, colour = {}, VideoReformatter()
    section = -1
    for wanted in sorted({i for i in indices if i < len(times)}):
        if (key := bisect_right(starts, times[wanted]) - 1) != section:
            start, section = keys[key], key
            target = start.pts if start.dts is None else min(start.pts, start.dts)
            container.seek(target, stream=stream, backward=True)
            decoding = container.decode(stream)
            frame = _decode_until(decoding, start.pts, start.pts)
            if frame.pict_type != PictureType.I:
                raise _IndexMismatchError  # only a recovery point, as in intra refresh
        if frame.pts != times[wanted]:
            frame = _decode_until(decoding, times[wanted], start.pts)
        frames[wanted] = _rgb(frame, colour)
    return frames


def _decode_until(decoding: Iterator[av.VideoFrame], pts: int, start: int) -> av.VideoFrame:
    """The frame shown at `pts`, from a decoder that began at the key frame shown at `start`."""
    for frame in decoding:
        if frame.is_corrupt and frame.pts is not None and frame.pts >= start:
            raise _DamagedError
        if frame.pts == pts:
            return frame
        if frame.pts is None or frame.pts > pts:
            break
    raise _IndexMismatchError


def _by_decoding_all(
    container: InputContainer, stream: VideoStream, indices: Sequence[int]
) -> tuple[Frames, int]:
    """One pass from the start: the requested frames that exist, and the number of frames."""
    wanted, frames, count, colour = set(indices), {}, 0, VideoReformatter()
    damaged = False  # since the last key frame
    for position, frame in enumerate(container.decode(stream)):
        count = position + 1
        damaged = frame.is_corrupt or (damaged and not frame.key_frame)
        if position in wanted:
            if damaged:
                raise _DamagedError
            frames[position] = _rgb(frame, colour)
    return frames, count


def _rgb(frame: av.VideoFrame, colour: VideoReformatter) -> NDArray[np.uint8]:
    """(h, w, 3), rotated upright; `colour` is reused, since making one is slow."""
    image = colour.reformat(frame, format="rgb24").to_ndarray()
    return orientation(frame).upright(image)
