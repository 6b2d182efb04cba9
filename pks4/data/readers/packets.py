"""The packet index of a video: its frames, keys and times, read without decoding.

pts is the time to show a frame, dts the time to decode it, both in the unit of the stream.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from pks4.data.errors import VideoError, wrong_count


@dataclass(frozen=True)
class Packet:
    """Times of one packet, whether it is flagged as key, and whether decoding restarts at it.

    In H.264 a key packet may be only a recovery point (open GOP, intra refresh).  Decoding restarts
    only at an IDR picture, after which no frame refers to earlier ones.  In other codecs it
    restarts at every key packet.
    """

    pts: int | None
    dts: int | None
    key: bool
    restarts: bool


@contextmanager
def opened(path: Path | str) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A container and its first video stream; every failure becomes a VideoError."""
    path = Path(path)
    if not path.exists():
        raise VideoError(path, "missing", "no such file; restore it or correct the path")
    if not path.is_file():
        raise VideoError(path, "open", "not a file; give the path of a video")
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = f"{path.stat().st_size} bytes, {reason_of(error)}"
        raise VideoError(path, "open", f"not a readable video ({reason}); restore it") from error
    with container:
        if not container.streams.video:
            raise VideoError(path, "no_video", "no video stream in this file")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise VideoError(path, "open", "FFmpeg does not know its codec; encode it again")
        # One thread: clips are read in parallel, so frame threads would only add a delay.
        stream.codec_context.thread_count = 1
        try:
            yield container, stream
        except av.error.FFmpegError as error:
            message = f"decoding failed ({reason_of(error)}); restore the file"
            raise VideoError(path, "decode", message) from error


def reason_of(error: Exception) -> str:
    """FFmpeg's short reason."""
    return getattr(error, "strerror", None) or str(error)


def first_line(error: Exception) -> str:
    """The first line of a message of decord or TorchCodec, without the stack trace after it."""
    return str(error).strip().splitlines()[0][:160]


def check_request(
    path: Path | str, found: int, indices: Sequence[int], num_frames: int | None
) -> None:
    """Raise VideoError unless the file holds `num_frames` frames, if given, and every index."""
    if num_frames is not None and found != num_frames:
        raise wrong_count(path, found, num_frames)
    if max(indices) >= found:
        message = f"frame {max(indices)} was asked for but the file holds {found}"
        raise VideoError(path, "truncated", message)


def index(path: Path | str, container: InputContainer, stream: VideoStream) -> list[Packet]:
    """All packets of shown frames, in decoding order.

    Raises VideoError for a stream without any, or with fewer packets than its header declares.
    Packets that an edit list hides (a clip trimmed without encoding) count as declared, not shown.
    """
    context = stream.codec_context
    extra = context.extradata if context.codec.canonical_name == "h264" else None
    packets, count = [], 0
    for packet in container.demux(stream):
        count += packet.dts is not None or packet.pts is not None  # else the end's empty packet
        if packet.size and not packet.is_discard:
            key = packet.is_keyframe
            restarts = key and (extra is None or has_idr(bytes(packet), extra))
            packets.append(Packet(packet.pts, packet.dts, key, restarts))
    if count < stream.frames:
        raise wrong_count(path, count, stream.frames)
    if not packets:
        raise VideoError(path, "no_frames", "the video stream holds no frame")
    return packets


def has_idr(content: bytes, extra: bytes) -> bool:
    """Whether an H.264 packet holds an IDR picture (NAL unit type 5).

    `extra` is the stream's configuration. If it starts with 1 (ISO/IEC 14496-15), the length of a
    unit precedes it, in as many bytes as `extra` says; else the start code 00 00 01 precedes it.
    """
    if not extra.startswith(b"\x01"):
        units = content.split(b"\x00\x00\x01")[1:]
        return any(unit and unit[0] & 31 == 5 for unit in units)
    width, position = (extra[4] & 3) + 1, 0
    while position + width < len(content):
        if content[position + width] & 31 == 5:
            return True
        position += width + int.from_bytes(content[position : position + width], "big")
    return False


def leading_pictures(packets: list[Packet]) -> list[int]:
    """Positions of packets that are shown before, but decoded after, their key packet.

    They mark an open GOP: decoding that starts at the key packet cannot show them.
    """
    positions, key_pts = [], None
    for position, packet in enumerate(packets):
        if packet.key:
            key_pts = packet.pts
        elif key_pts is not None and packet.pts is not None and packet.pts < key_pts:
            positions.append(position)
    return positions
