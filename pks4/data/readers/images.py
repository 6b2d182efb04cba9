"""A clip as a folder of numbered pictures, as Jester and Something-Something V1 come.

The files are `00001.jpg`, `img_00001.jpg` and the like: one prefix, one ending, and whole numbers
from 0 or 1 on without a hole. They are read in the order of their numbers. Hidden files and files
that are no picture are not looked at. Pillow decodes them, and turns them as their EXIF says.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pks4.data.errors import VideoError
from pks4.data.readers.packets import check_request

_NUMBERED = re.compile(r"(?P<prefix>(?!\.).*?)(?P<number>[0-9]+)(?P<ending>\.(?:jpe?g|png))", re.I)


def info() -> dict[str, Any]:
    """Name and version of this reader."""
    return {"name": "images", "version": f"Pillow {PIL.__version__}"}


def is_picture(name: str) -> bool:
    """Whether a file's name is that of a numbered picture."""
    return _NUMBERED.fullmatch(name) is not None


def pictures(folder: Path | str) -> list[Path]:
    """The pictures of a clip in the order of their numbers; none is opened.

    Raises VideoError for a folder without any, with other pictures between them, with a hole, and
    with a number twice.
    """
    folder = Path(folder)
    found = sorted(filter(None, map(_NUMBERED.fullmatch, _names(folder))), key=_number)
    if not found:
        message = "no numbered picture (00001.jpg, img_00001.jpg) in this folder; restore it"
        raise VideoError(folder, "open", message)
    first = found[0]
    start = _number(first)
    if start > 1:
        raise _hole(folder, first, 1)
    for wanted, match in enumerate(found, start):
        if (match["prefix"], match["ending"]) != (first["prefix"], first["ending"]):
            message = f"{match[0]} and {first[0]} are of two kinds; keep one prefix and one ending"
            raise VideoError(folder, "inexact", message)
        if _number(match) < wanted:
            message = f"{match[0]} has a number that another picture has too; keep one"
            raise VideoError(folder, "inexact", message)
        if _number(match) > wanted:
            raise _hole(folder, match, wanted)
    return [folder / match[0] for match in found]


def count_frames(path: Path | str) -> int:
    """The number of pictures, by decoding all of them."""
    files = pictures(path)
    for picture in files:
        _rgb(picture)
    return len(files)


def read_frames(
    path: Path | str, indices: Sequence[int], num_frames: int | None = None
) -> NDArray[np.uint8]:
    """Frames `indices` (t, h, w, 3) RGB; see the package's `read_frames`."""
    files = pictures(path)
    check_request(path, len(files), indices, num_frames)
    frames = {wanted: _rgb(files[wanted]) for wanted in set(indices)}
    if len({frame.shape for frame in frames.values()}) > 1:
        raise VideoError(path, "decode", "the frame size changes within the folder")
    return np.stack([frames[wanted] for wanted in indices])


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        message = "no such folder; restore it or correct the path"
        raise VideoError(folder, "missing", message) from None
    except OSError as error:
        raise VideoError(folder, "open", f"cannot be listed ({error.strerror})") from error


def _number(match: re.Match[str]) -> int:
    return int(match["number"])


def _hole(folder: Path, after: re.Match[str], wanted: int) -> VideoError:
    """The error for a picture that is missing, by the name that it would have."""
    name = f"{after['prefix']}{wanted:0{len(after['number'])}d}{after['ending']}"
    return VideoError(folder, "truncated", f"{name} is missing before {after[0]}; restore it")


def _rgb(path: Path) -> NDArray[np.uint8]:
    """(h, w, 3), turned upright."""
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        message = f"not a readable picture ({reason}); restore it"
        raise VideoError(path, "decode", message) from error
