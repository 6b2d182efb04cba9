"""A manifest: one CSV per split, one line a clip, read strictly.

Columns path, label, class, num_frames are required; sprite, frames_sha256 and file_sha256 may be
missing or empty.  Paths are relative to the manifest's folder and stay inside it, unless the caller
allows otherwise.  A bad line stops the reading with one error that starts with file:line.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from pydantic import BaseModel, ConfigDict

from pks4.data.errors import DataError, ManifestError, wrong_count
from pks4.data.readers import count_frames
from pks4.errors import shortened, unknown_name

REQUIRED = ("path", "label", "class", "num_frames")
COLUMNS = (*REQUIRED, "sprite", "frames_sha256", "file_sha256")


class Entry(BaseModel):
    """One clip of a manifest; `path` is ready to open, `sprite` indexes `load_digits`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    label: int
    class_name: str
    num_frames: int
    sprite: int | None = None
    frames_sha256: str | None = None
    file_sha256: str | None = None


def read_manifest(
    path: Path | str,
    *,
    classes: Sequence[str] | None = None,
    folder: Path | None = None,
    allow_outside: bool = False,
    check_files: bool = True,
) -> list[Entry]:
    """Read a manifest, in the order of its lines.

    `classes` is the label map: a label must index it and the class must be the name it holds.
    Without one, a label must keep one class name throughout.  `folder` is the base of paths; the
    default is the manifest's folder.  `allow_outside` accepts absolute paths and paths that leave
    the folder; `check_files` requires every file to exist.

    Raises ManifestError, with file:line and the remedy, at the first bad line.
    """
    path = Path(path)
    names = dict(enumerate(classes)) if classes is not None else {}
    lines = _lines(path)
    header = next(lines)[1]
    _check_header(f"{path}:1", header)
    entries = []
    for where, row in lines:
        if len(row) != len(header):
            raise ManifestError(
                f"{where}: {len(row)} columns where the header has {len(header)}; "
                "correct the line, quoting any comma inside a value"
            )
        cells = dict(zip(header, row, strict=True))
        entry = _entry(where, cells, folder or path.parent, allow_outside)
        _check_label(where, entry, names, mapped=classes is not None)
        if check_files and not _is_there(entry):
            raise ManifestError(
                f"{where}: no such file {shortened(cells['path'])!r}; restore it, remove the line, "
                "or make the data set again"
            )
        entries.append(entry)
    if not entries:
        raise ManifestError(f"{path}:1: no clip in this manifest; make the data set again")
    return entries


def manifest_text(rows: Iterable[dict]) -> str:
    """The CSV text of rows that hold the values of COLUMNS."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def verify(entry: Entry, *, reader: str = "pyav", check_hash: bool = False) -> None:
    """Decode a clip of a manifest and require exactly `num_frames` frames.

    `check_hash` also compares the file's bytes with `file_sha256`, if the manifest has it.
    Raises VideoError for a clip that is missing, unreadable, shorter or longer, and DataError for
    other bytes.
    """
    num_frames = count_frames(entry.path, reader)
    if num_frames != entry.num_frames:
        raise wrong_count(entry.path, num_frames, entry.num_frames)
    if check_hash and entry.file_sha256:
        digest = hashlib.sha256(entry.path.read_bytes()).hexdigest()
        if digest != entry.file_sha256:
            raise DataError(
                f"{entry.path}: sha256 {digest[:12]}... is not the manifest's "
                f"{entry.file_sha256[:12]}...; restore the file or make the data set again"
            )


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The header and every row, each with its file:line."""
    if not path.is_file():
        raise ManifestError(f"{path}: no such manifest; make the data set, or correct the path")
    number = 0
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file, strict=True)
            yield f"{path}:1", next(rows, [])
            for row in rows:
                number = rows.line_num
                yield f"{path}:{number}", row
    except (UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(
            f"{path}:{number + 1}: not CSV text in UTF-8 from here on ({error}); save it as such"
        ) from error


def _check_header(where: str, header: list[str]) -> None:
    for column in header:
        if column not in COLUMNS:
            raise ManifestError(f"{where}: {unknown_name('column', column, COLUMNS)}")
    missing = [column for column in REQUIRED if column not in header]
    if missing or len(set(header)) != len(header):
        wrong = f"no column {missing[0]!r}" if missing else "a column twice"
        raise ManifestError(f"{where}: {wrong}; the first line must be {','.join(COLUMNS)}")


def _entry(where: str, cells: dict[str, str], folder: Path, allow_outside: bool) -> Entry:
    text = cells["path"]
    if not text:
        raise ManifestError(f"{where}: empty path; give the clip's path relative to the manifest")
    if not allow_outside and leaves_folder(text):
        raise ManifestError(
            f"{where}: path {shortened(text)!r} leaves the manifest's folder; "
            "use a relative path below it, or pass allow_outside=True"
        )
    num_frames = _whole_number(where, "num_frames", cells["num_frames"])
    if num_frames < 1:
        raise ManifestError(f"{where}: num_frames is {num_frames}; a clip has at least one frame")
    sprite = cells.get("sprite")
    return Entry(
        path=folder / text,
        label=_whole_number(where, "label", cells["label"]),
        class_name=cells["class"],
        num_frames=num_frames,
        sprite=_whole_number(where, "sprite", sprite) if sprite else None,
        frames_sha256=cells.get("frames_sha256") or None,
        file_sha256=cells.get("file_sha256") or None,
    )


def leaves_folder(text: str) -> bool:
    """Whether a path is absolute or climbs, in POSIX or in Windows notation."""
    paths = (PurePosixPath(text), PureWindowsPath(text))
    return any(path.anchor or ".." in path.parts for path in paths)


def _is_there(entry: Entry) -> bool:
    """Whether the clip's file exists, or its folder of pictures, which has no hash of a file."""
    try:
        return entry.path.is_file() or (not entry.file_sha256 and entry.path.is_dir())
    except OSError:  # a name that is too long for a file
        return False


def _whole_number(where: str, column: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        value = shortened(text)
        raise ManifestError(f"{where}: {column} {value!r} is not a whole number") from None


def _check_label(where: str, entry: Entry, names: dict[int, str], *, mapped: bool) -> None:
    if mapped and entry.label not in names:
        raise ManifestError(
            f"{where}: label {entry.label} is outside the map of {len(names)} classes; "
            f"use 0..{len(names) - 1}"
        )
    if entry.label < 0:
        raise ManifestError(f"{where}: label {entry.label} is negative; labels start at 0")
    name = names.setdefault(entry.label, entry.class_name)
    if name != entry.class_name:
        raise ManifestError(
            f"{where}: label {entry.label} is class {shortened(name)!r}, not "
            f"{shortened(entry.class_name)!r}; "
            "correct the label or the class"
        )
