"""The traits of the readers' matrix: how each is put into a file of a container."""

import shutil
import struct
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import product
from pathlib import Path

import av
from av.stream import Disposition

from tests.campaigns.reader_files import RATE, Muxed, Track, bases, mux

STEP = 1000 // RATE  # of a frame, in the bases' time base
TRAITS = (
    "plain", "B-frames", "open GOP", "hidden frames", "dropped places", "edit list", "trimmed",
    "cut at 60 %", "hole", "variable rate", "double times", "missing times", "interlaced", "10 bit",
    "odd sizes", "sample aspect", "display matrix", "two streams", "sound only",
    "attached picture", "zero length",
)  # fmt: skip
Found = dict[tuple[str, str], Path]
How = Muxed | Callable[[Path], None]


@dataclass(frozen=True)
class Made:
    """A file and its trait."""

    codec: str
    container: str
    trait: str
    path: Path
    whole: Path  # the encoding that it was muxed from


def traits(found: Found, codec: str, container: str) -> Iterator[tuple[str, str, How]]:
    """(trait, name, how to make it) of one codec in one container."""
    base = found.get((codec, "plain"))
    if base is None:
        return
    for variant in ("plain", "B-frames", "open GOP", "hidden frames", "variable rate",
                    "interlaced", "10 bit", "odd sizes"):  # fmt: skip
        if (codec, variant) in found:
            name = variant.replace(" ", "_")
            yield variant, name, Muxed([Track(found[codec, variant])])
    if (codec, "hidden frames") in found and codec == "vp9":
        apart = Track(found[codec, "hidden frames"], bitstream="vp9_superframe_split")
        yield "hidden frames", "hidden_apart", Muxed([apart])
    for variant in ("plain", "B-frames", "open GOP", "hidden frames"):
        if (codec, variant) not in found:
            continue
        name, path = variant.replace(" ", "_"), found[codec, variant]
        yield from _pieces(name, path, container)
        yield from _damages(name, path, container)
    yield from _times(base, container)
    yield "sample aspect", "aspect", Muxed([Track(base, stream=_aspect)])
    yield from _matrices(base, codec, container)
    yield from _streams(found, base, codec, container)
    if codec == "mpeg4" and container == "avi":
        yield "dropped places", "not_coded", Muxed([Track(base, change=_not_coded)])
    if container == "avi":
        yield "dropped places", "dropped", Muxed([Track(base, change=_dropped)])


def made(folder: Path, codecs: Iterable[str], containers: Iterable[str]) -> Iterator[Made]:
    """Every file of the matrix that encoders and muxers make here, in order."""
    found = bases(folder, {*codecs, "mjpeg"})
    for container in containers:
        (folder / container).mkdir(exist_ok=True)
    for codec in codecs:
        for container in containers:
            for trait, name, how in traits(found, codec, container):
                path = folder / container / f"{codec}_{name}.{container}"
                file = make(path, trait, how)
                if file:
                    yield file


def make(path: Path, trait: str, how: How) -> Made | None:
    """One file, called by its codec, what it shows and its container; None if none can be made."""
    try:
        if isinstance(how, Muxed):
            mux(path, how)
        else:
            how(path)
    except (av.error.FFmpegError, ValueError):
        path.unlink(missing_ok=True)
        return None
    whole = how.tracks[0].base if isinstance(how, Muxed) and how.tracks else path
    return Made(path.name.partition("_")[0], path.suffix[1:], trait, path, whole)


def _pieces(name: str, path: Path, container: str) -> Iterator[tuple[str, str, How]]:
    """A part of a clip, copied without encoding: from a key, from elsewhere, to elsewhere."""
    for start, stop in ((12, 40), (24, 33), (5, 40), (13, 30)):
        change = partial(_piece, start=start, stop=stop)
        yield "trimmed", f"{name}_{start}_{stop}", Muxed([Track(path, change=change)])
    if container in ("mp4", "mov"):
        for first in (5, 12, 17):
            change = partial(_shifted, frames=-first)
            yield "edit list", f"{name}_edit_{first}", Muxed([Track(path, change=change)])
        for parts in ([(8, 10)], [(14, 9), (30, 8)], [(20, 6), (3, 6)]):
            named = "_".join(map(str, parts[0] + (parts[1] if len(parts) > 1 else ())))
            patch = partial(edited, parts=parts)
            yield "edit list", f"{name}_parts_{named}", Muxed([Track(path)], patch=patch)
        yield "edit list", f"{name}_late", Muxed([Track(path, change=partial(_shifted, frames=9))])


def _damages(name: str, path: Path, container: str) -> Iterator[tuple[str, str, How]]:
    forms = {"": {}}
    if container in ("mp4", "mov"):
        forms |= {"front": {"movflags": "+faststart"},
                  "fragments": {"movflags": "frag_keyframe+empty_moov"}}  # fmt: skip
    elif container in ("mkv", "webm"):
        forms |= {"live": {"live": "1"}}
    for form, options in forms.items():
        if form and name == "plain":
            yield "plain", f"whole_{form}", Muxed([Track(path)], options)
        more = [("", 95), ("last", 60), ("last", 95)] if name == "plain" else []
        for sound, share in [("", 60), *more]:
            cut = Muxed([Track(path)], options, sound, partial(_cut, share=share / 100))
            yield "cut at 60 %", f"{name}_{form}_{sound}_cut{share}", cut
        holed = Muxed([Track(path)], options, patch=_holed)
        yield "hole", f"{name}_{form}_hole", holed
    if container == "ts":
        aligned = partial(_cut, share=0.6, unit=188)
        yield "cut at 60 %", f"{name}_cut_between_packets", Muxed([Track(path)], patch=aligned)


def _times(base: Path, container: str) -> Iterator[tuple[str, str, How]]:
    if container != "avi":  # which keeps no time
        yield "double times", "double", Muxed([Track(base, change=_double)])
    if container == "ts":
        yield "missing times", "missing", Muxed([Track(base)], patch=_untimed)


def _matrices(base: Path, codec: str, container: str) -> Iterator[tuple[str, str, How]]:
    """All eight, and one that is askew: in the container's header, and in that of the codec."""
    if container in ("mp4", "mov"):
        one = 1 << 16
        for exchanged, p, q in product((0, 1), (1, -1), (1, -1)):
            a, b, c, d = (0, p, q, 0) if exchanged else (p, 0, 0, q)
            patch = partial(_matrix, values=(a * one, b * one, c * one, d * one))
            name = f"matrix_{a}_{b}_{c}_{d}"
            yield "display matrix", name, Muxed([Track(base)], patch=patch)
        skewed = partial(_matrix, values=(46341, 46341, -46341, 46341))
        yield "display matrix", "matrix_skewed", Muxed([Track(base)], patch=skewed)
    if container in ("mkv", "webm"):
        for degrees in (90, 180, 270):
            turn = partial(_turned, degrees=degrees)
            yield "display matrix", f"turned_{degrees}", Muxed([Track(base, stream=turn)])
    if codec == "h264":
        for degrees, flip in ((90, ""), (180, ""), (270, ""), (0, "horizontal"), (90, "vertical")):
            bits = f"h264_metadata=display_orientation=insert:rotate={degrees}"
            bits += f":flip={flip}" if flip else ""
            yield "display matrix", f"sei_{degrees}{flip}", Muxed([Track(base, bitstream=bits)])


def _streams(found: Found, base: Path, codec: str, container: str
             ) -> Iterator[tuple[str, str, How]]:  # fmt: skip
    other = found.get((codec, "odd sizes")), found.get(("mjpeg", "plain"))
    if other[0]:
        yield "two streams", "small_second", Muxed([Track(base), Track(other[0])])
        yield "two streams", "small_first", Muxed([Track(other[0]), Track(base)])
    later = Track(base, change=partial(_piece, start=12, stop=40))
    yield "two streams", "short_second", Muxed([Track(base), later])
    yield "two streams", "sound_first", Muxed([Track(base)], sound="first")
    yield "sound only", "sound", Muxed([], sound="first")
    if other[1]:
        cover = Track(other[1], change=lambda packets: packets[:1], stream=_cover)
        yield "attached picture", "cover_last", Muxed([Track(base), cover])
        yield "attached picture", "cover_first", Muxed([cover, Track(base)])
        yield "attached picture", "cover_sound", Muxed([cover], sound="first")
    if (ffmpeg := shutil.which("ffmpeg")) and other[1]:
        yield "attached picture", "cover_ffmpeg", partial(_attached, ffmpeg, base, other[1])
    yield "zero length", "no_packet", Muxed([Track(base, change=lambda packets: [])])
    yield "zero length", "one_frame", Muxed([Track(base, change=lambda packets: packets[:1])])
    yield "zero length", "no_byte", lambda path: path.write_bytes(b"")


def _piece(packets: list[av.Packet], start: int, stop: int) -> list[av.Packet]:
    return _shifted(packets[start:stop], -packets[start].dts // STEP)


def _shifted(packets: list[av.Packet], frames: int) -> list[av.Packet]:
    for packet in packets:
        packet.pts, packet.dts = packet.pts + frames * STEP, packet.dts + frames * STEP
    return packets


def _dropped(packets: list[av.Packet]) -> list[av.Packet]:
    """Without some packets at the ends of groups, which later ones do not need."""
    return [p for k, p in enumerate(packets) if k not in (10, 11, 22, 23, 34, 35)]


def _not_coded(packets: list[av.Packet]) -> list[av.Packet]:
    """Some packets replaced by a picture that says it is not coded, as XviD drops frames."""
    for k in (10, 11, 23, 35):
        empty = av.Packet(bytes.fromhex("000001b6") + b"\x50\x00")
        empty.pts, empty.dts, empty.time_base = packets[k].pts, packets[k].dts, packets[k].time_base
        empty.duration = packets[k].duration
        packets[k] = empty
    return packets


def _double(packets: list[av.Packet]) -> list[av.Packet]:
    for k in (7, 20, 30):
        packets[k].pts = packets[k + 1].pts
    return packets


def _aspect(stream: av.VideoStream) -> None:
    stream.sample_aspect_ratio = Fraction(4, 3)


def _turned(stream: av.VideoStream, degrees: int) -> None:
    stream.set_display_rotation(degrees)


def _cover(stream: av.VideoStream) -> None:
    stream.disposition = Disposition.attached_pic


def _attached(ffmpeg: str, base: Path, picture: Path, path: Path) -> None:
    """A cover as FFmpeg's program attaches it."""
    command = [ffmpeg, "-v", "error", "-y", "-i", base, "-i", picture, "-map", "1:v",
               "-map", "0:v", "-c", "copy", "-frames:v:0", "1", "-disposition:v:0", "attached_pic",
               path]  # fmt: skip
    if subprocess.run(command, capture_output=True).returncode:
        raise ValueError(path)


def _cut(content: bytes, share: float, unit: int = 1) -> bytes:
    return content[: int(len(content) * share) // unit * unit]


def _holed(content: bytes) -> bytes:
    start, stop = int(len(content) * 0.45), int(len(content) * 0.55)
    return content[:start] + bytes(stop - start) + content[stop:]


def _untimed(content: bytes) -> bytes:
    """A transport stream whose every third picture has no time."""
    result, position, seen = bytearray(content), 0, 0
    while (position := content.find(b"\x00\x00\x01\xe0", position + 1)) > 0:
        seen += 1
        if seen % 3 == 0:
            result[position + 7] &= 0x3F
    return bytes(result)


def _matrix(content: bytes, values: tuple[int, int, int, int]) -> bytes:
    """An MP4 file whose track says (a, b, c, d) in place of the identity."""
    identity = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    a, b, c, d = values
    after = content.index(b"tkhd")
    place = content.index(identity, after)
    matrix = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    return content[:place] + matrix + content[place + len(identity) :]


def edited(content: bytes, parts: list[tuple[int, int]]) -> bytes:
    """An MP4 file with its index at the end, whose edit list shows (start, frames) `parts`."""
    entries = b"".join(
        struct.pack(">IiI", frames * 1000 // RATE, start * _units(content) // RATE, 1 << 16)
        for start, frames in parts
    )
    elst = struct.pack(">I4sII", 16 + len(entries), b"elst", 0, len(parts)) + entries
    edts = struct.pack(">I4s", 8 + len(elst), b"edts") + elst
    old = content.index(b"edts") - 4
    size = int.from_bytes(content[old : old + 4], "big")
    grown = len(edts) - size
    result = bytearray(content[:old] + edts + content[old + size :])
    for name in (b"moov", b"trak"):
        place = content.index(name) - 4
        length = int.from_bytes(content[place : place + 4], "big") + grown
        result[place : place + 4] = length.to_bytes(4, "big")
    return bytes(result)


def _units(content: bytes) -> int:
    """The time units of a second of the first track."""
    place = content.index(b"mdhd") + 16
    return int.from_bytes(content[place : place + 4], "big")
