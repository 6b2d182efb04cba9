"""Errors of the data room: each is one line with its remedy."""

from pathlib import Path
from typing import Literal, get_args

from pks4.errors import CannotWrite, UserError

VideoErrorKind = Literal[
    "missing", "open", "no_video", "no_frames", "truncated", "decode", "inexact", "backend"
]
VIDEO_ERROR_KINDS: tuple[VideoErrorKind, ...] = get_args(VideoErrorKind)


class DataError(UserError, ValueError):
    """A setting or a file that no data set can be made or read with."""


class ManifestError(DataError):
    """A line of a manifest that cannot be used; the message starts with file:line."""


class CacheError(CannotWrite, OSError):
    """A cache folder that cannot be written."""


class BadClipsError(DataError):
    """Clips of a split that could not be read exactly.

    `errors` holds all of them, in order of reading; `detail`, for a record, their number and the
    first twenty.
    """

    def __init__(self, message: str, errors: list[Exception]) -> None:
        super().__init__(message)
        self.errors = errors
        self.detail = {"bad": len(errors), "bad_named": [str(error) for error in errors[:20]]}


class VideoError(UserError):
    """A video that could not be read exactly.

    `kind` is one of
    missing (no such file), open (not a video that the reader can open), no_video (no video stream),
    no_frames (no frame in it), truncated (the file is cut, or has fewer frames than requested),
    decode (the decoder failed), inexact (this reader would return wrong frames, or the file holds
    more than declared), backend (the reader is not installed).
    """

    def __init__(self, path: Path | str, kind: VideoErrorKind, message: str) -> None:
        super().__init__(f"{path}: {message} [{kind}]")
        self.path = Path(path)
        self.kind: VideoErrorKind = kind

    def __reduce__(self) -> tuple:
        return _video_error, (self.args[0], self.path, self.kind)


def wrong_count(path: Path | str, found: int, declared: int) -> VideoError:
    """The error for a file with another number of frames than declared."""
    kind: VideoErrorKind = "truncated" if found < declared else "inexact"
    remedy = "restore the file, or correct num_frames"
    return VideoError(path, kind, f"{found} frames where {declared} were declared; {remedy}")


def _video_error(line: str, path: Path, kind: VideoErrorKind) -> VideoError:
    """Rebuild an error from its pickle, in another process."""
    error = VideoError(path, kind, "")
    error.args = (line,)
    return error
