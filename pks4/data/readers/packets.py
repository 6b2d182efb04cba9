"""The packet index of a video: its frames, keys and times, read without decoding.

pts is the time to show a frame, dts the time to decode it, both in the unit of the stream.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from pks4.data.errors import VideoError, wrong_count
from pks4.data.readers.structure import check_whole

NOT_CODED_BYTES = 12  # a picture of MPEG-4 that is not coded (6.2.5 of ISO/IEC 14496-2) is shorter
HOLE = bytes(32), bytes(512)  # zeros; the longer for MJPEG, which is filled up
CUT_SECONDS = 0.1  # what a duration may exceed the packets by, for a last frame without one


class Packet(NamedTuple):
    """Times of one packet, whether it is flagged as key, and whether decoding restarts at it.

    It `may_show_nothing` where only decoding tells: XviD drops a frame by an empty picture.
    It is `holed` if it holds a run of zeros, which a codec writes at most to fill up.

    In H.264 a key packet may be only a recovery point (open GOP, intra refresh).  Decoding restarts
    only at an IDR picture, after which no frame refers to earlier ones.  In other codecs it
    restarts at every key packet.
    """

    pts: int | None
    dts: int | None
    key: bool
    restarts: bool
    may_show_nothing: bool = False
    holed: bool = False


@contextmanager
def opened(path: Path | str) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A container and its first video stream; every failure becomes a VideoError.

    An attached picture, as the cover of an album is, counts as no video.
    """
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
        cover = Disposition.attached_pic
        videos = [s for s in container.streams.video if not s.disposition & cover]
        if not videos:
            raise VideoError(path, "no_video", "no video stream in this file; give a video")
        stream = videos[0]
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
        raise too_few(path, max(indices), found)


def too_few(path: Path | str, wanted: int, found: int) -> VideoError:
    """The error for a frame past the end."""
    message = f"frame {wanted} was asked for but the file holds {found}"
    return VideoError(path, "truncated", f"{message}; restore the file, or correct num_frames")


def index(
    path: Path | str, container: InputContainer, stream: VideoStream, *, holes: bool = False
) -> list[Packet]:
    """All packets of shown frames, in decoding order.

    Raises VideoError for a stream without any, a file that is cut (see `structure`), a Matroska
    file that ends before its declared duration, or zeros in AV1.

    Packets that an edit list hides (a clip trimmed without encoding) are not shown, nor are hidden
    pictures of VP8 and VP9, and places of AVI that hold nothing. With `holes`, the contents of
    packets are searched for runs of zeros.
    """
    check_whole(path, container.format.name)
    context = stream.codec_context
    codec = context.codec.canonical_name
    extra = context.extradata if codec == "h264" else None
    maybe_hidden = codec in ("vp8", "vp9")  # no other codec needs the packet's content copied
    silent = codec == "av1"  # its decoder leaves a damaged picture out without a word
    hole = HOLE[codec == "mjpeg"] if holes or silent else None
    chosen = stream.index
    tiny = NOT_CODED_BYTES if codec == "mpeg4" else 0
    name = container.format.name
    timed = "matroska" in name and container.duration  # of the longest stream
    packets, last, ends = [], None, dict[int, int]()
    for packet in container.demux(*([] if timed else [stream])):
        if timed:
            number, pts = packet.stream_index, packet.pts
            if pts is not None:
                ends[number] = max(ends.get(number, 0), pts + (packet.duration or 0))
            if number != chosen:
                continue
        if not packet.size:
            continue
        last = packet
        if packet.is_discard:
            continue
        if maybe_hidden and is_hidden(codec, bytes(packet)):
            continue
        key = packet.is_keyframe
        restarts = key and (extra is None or has_idr(bytes(packet), extra))
        uncertain = packet.size < tiny
        holed = hole is not None and hole in bytes(packet)
        if holed and silent:
            message = "a packet holds zeros, so the file is damaged; restore it"
            raise VideoError(path, "decode", message)
        packets.append(Packet(packet.pts, packet.dts, key, restarts, uncertain, holed))
    if last and last.is_corrupt and "mpegts" not in name:
        raise VideoError(path, "truncated", "it ends within a packet; restore the file")
    streams = container.streams
    end = max((float(time * streams[n].time_base) for n, time in ends.items()), default=0.0)
    if timed and end + CUT_SECONDS < container.duration / av.time_base:
        message = (
            f"its packets end at {end:.2f} s where {container.duration / av.time_base:.2f} s were "
            "declared; restore the file"
        )
        raise VideoError(path, "truncated", message)
    if not packets:
        raise VideoError(path, "no_frames", "the video stream holds no frame; restore the file")
    return packets


def are_numbered(packets: list[Packet], container: InputContainer, stream: VideoStream) -> bool:
    """Whether the order of their times is that of the frames which a decoder shows.

    It is not where times are missing or double, where a packet may show nothing, where the decoder
    drops what comes before its first key, where an edit list goes back, in an AVI file with
    B-frames, whose times say when to decode, and in a transport stream, whose last frame may be in
    part.
    """
    times = {packet.pts for packet in packets}
    decoded = [packet.dts for packet in packets if packet.dts is not None]
    if None in times or len(times) != len(packets) or not packets[0].key:
        return False
    if any(packet.may_show_nothing for packet in packets):
        return False
    name = container.format.name
    if name == "mpegts" or (name == "avi" and stream.codec_context.has_b_frames):
        return False
    if any(after <= before for before, after in pairwise(decoded)):
        return False
    return min(times) == min(packet.pts for packet in packets if packet.key)


def is_hidden(codec: str, content: bytes) -> bool:
    """Whether a packet of VP8 or VP9 holds only a picture that is not shown (an alt-ref frame).

    Sources: the frame tag of VP8 (RFC 6386, 9.1), the uncompressed header of VP9 (its bitstream
    specification, 6.2) and its superframes (annex B), whose last picture is shown.
    """
    if codec == "vp8":
        return not content[0] & 0x10
    if codec != "vp9" or content[-1] & 0xE0 == 0xC0:  # a superframe ends with its index
        return False
    bits = f"{content[0]:08b}"
    profile_three = bits[2:4] == "11"
    existing, _, shown = bits[4 + profile_three : 7 + profile_three]
    return existing == "0" and shown == "0"


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
