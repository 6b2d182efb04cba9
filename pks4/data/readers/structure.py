"""Whether a file holds all that its container declares; read from its headers, without decoding.

MP4 and QuickTime are boxes, Matroska and WebM are elements, AVI is chunks: each says how long it
is, so a file that was cut ends within one, and a hole has none where one is due. A transport stream
declares nothing but the size of its packets. Not told: a cut between two boxes of a fragmented MP4,
between two elements of a live Matroska, or between two packets of a transport stream.

Sources: ISO/IEC 14496-12, 4.2; RFC 8794, 4 to 6; AVI RIFF File Reference; ISO/IEC 13818-1, 2.4.3.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from pks4.data.errors import VideoError

SEGMENT, CLUSTER = 0x18538067, 0x1F43B675
TS_SIZES = (188, 192, 204)  # of a packet: plain, with a time before it, with a checksum after it


class _CutError(Exception):
    """The file ends before a part does."""


class _HoleError(Exception):
    """No part begins where one is due."""


def check_whole(path: Path | str, formats: str) -> None:
    """Raise VideoError if the file is cut, or if a part has no header.

    `formats` is FFmpeg's name of the container; the check knows mp4, matroska, avi and mpegts.
    """
    check = _check_of(formats)
    if check is None:
        return
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            check(file, size)
        except _CutError as error:
            message = f"it ends at byte {size}, {error}; restore the file"
            raise VideoError(path, "truncated", message) from None
        except _HoleError as error:
            message = f"it is damaged at byte {error}; restore the file"
            raise VideoError(path, "decode", message) from None


def _check_of(formats: str) -> Callable[[BinaryIO, int], None] | None:
    checks = {"mp4": _boxes, "matroska": _elements, "avi": _chunks, "mpegts": _ts_packets}
    return next((checks[name] for name in formats.split(",") if name in checks), None)


def _boxes(file: BinaryIO, size: int) -> None:
    """MP4 and QuickTime. What follows a whole file that is not in fragments may be anything."""
    position, seen = 0, set[bytes]()
    while position < size:
        file.seek(position)
        header = file.read(16)
        length, name = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if len(header) < 8 or length < 8:
            if name.isalnum() and length == 0:  # up to the end
                return
            if {b"moov", b"mdat"} <= seen and b"moof" not in seen:
                return
            raise _CutError("within a box's header") if len(header) < 8 else _HoleError(position)
        seen.add(name)
        position += length
        if position > size:
            raise _CutError(f"where its {name.decode('latin-1')} box needs {position}")


def _elements(file: BinaryIO, size: int) -> None:
    """Matroska and WebM: those of the segment, and of its clusters."""
    position, end = 0, size
    while position < min(end, size):
        file.seek(position)
        header = file.read(12)
        width = 9 - header[0].bit_length()
        if width > 4:
            raise _HoleError(position)
        number = int.from_bytes(header[:width], "big")
        if len(header) <= width or len(header) < width + (more := 9 - header[width].bit_length()):
            raise _CutError("within an element's header")
        if more > 8:
            raise _HoleError(position)
        length = int.from_bytes(header[width : width + more], "big") & ((1 << 7 * more) - 1)
        known = length != (1 << 7 * more) - 1
        position += width + more
        if known and position + length > size:
            name = {SEGMENT: "segment", CLUSTER: "cluster"}.get(number, "element")
            raise _CutError(f"where its {name} needs {position + length}")
        if number == SEGMENT:
            end = position + length if known else size  # what follows may be anything
        elif number != CLUSTER and known:
            position += length


def _chunks(file: BinaryIO, size: int) -> None:
    """AVI: those of its RIFF lists, of the list of frames too."""
    position, riff_end, indexed = 0, 0, False
    while position + 8 <= size:
        file.seek(position)
        header = file.read(12)
        name, length = header[:4], int.from_bytes(header[4:8], "little")
        if name == b"RIFF":
            riff_end = position + 8 + length
        elif position >= riff_end and indexed:
            return  # what follows may be anything
        elif not name.strip(b" \0") or not name.isascii():
            raise _HoleError(position)
        indexed = indexed or name == b"idx1"
        if name == b"RIFF" or (name == b"LIST" and header[8:12] in (b"movi", b"rec ")):
            if name == b"LIST" and position + 8 + length > size + 1:
                raise _CutError(f"where its list of frames needs {position + 8 + length}")
            position += 12
            continue
        position += 8 + length + length % 2
        if position > size + 1:
            raise _CutError(f"where its chunk {name.decode('ascii')} needs {position}")
    if riff_end > size + 1 and not indexed:
        raise _CutError(f"where its header declares {riff_end}")


def _ts_packets(file: BinaryIO, size: int) -> None:
    """MPEG-TS: whole packets."""
    start = file.read(2 * max(TS_SIZES))
    for unit in TS_SIZES:
        first = 4 if unit == 192 else 0
        if start[first : first + 1] == b"G" == start[first + unit : first + unit + 1]:
            if size % unit:
                raise _CutError(f"within a packet of {unit} bytes")
            return
