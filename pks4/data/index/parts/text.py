"""Annotation files as lines, tables or JSON; a fault is one error with file:line or key."""

import csv
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pks4.data.errors import ManifestError
from pks4.data.index.parts.files import SUFFIXES

_VIDEO = re.compile(rf"(.+(?:{'|'.join(map(re.escape, SUFFIXES))}))(?:\s+(.*))?", re.IGNORECASE)


def visible(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder that match, sorted, without hidden ones such as `._` of macOS."""
    found = folder.glob(pattern)
    return sorted(p for p in found if not p.name.startswith(".") and p.is_file())


def read_text(path: Path) -> str:
    """The text of an annotation file, with or without a byte-order mark."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ManifestError(
            f"{path}: cannot be read ({error.strerror}); give the official annotations"
        ) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
    raise ManifestError(f"{path}:{line}: not text in UTF-8; save the file as such")


def lines(path: Path) -> Iterator[tuple[str, str]]:
    """Every line that is not empty, as file:line and its text."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            yield f"{path}:{number}", line.strip()


def word_lines(path: Path, count: int) -> Iterator[tuple[str, list[str]]]:
    """Every line that is not empty, as file:line and `count` words, split from the right."""
    for where, line in lines(path):
        parts = line.rsplit(None, count - 1)
        if len(parts) != count:
            raise ManifestError(f"{where}: expected {count} words, found {line!r}; correct it")
        yield where, parts


def named_lines(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Every line that begins with a video, as file:line, its path, and the words after it.

    A path ends with the suffix of a video, so it may hold spaces; else it is the first word.
    """
    for where, line in lines(path):
        match = _VIDEO.fullmatch(line)
        name, *rest = (match[1], match[2] or "") if match else line.split(None, 1)
        yield where, name.replace("\\", "/"), " ".join(rest).split()


def csv_rows(
    path: Path, columns: Sequence[str], delimiter: str = ","
) -> Iterator[tuple[str, dict[str, str]]]:
    """Every row of a CSV with a header that holds at least `columns`; empty rows are skipped."""
    rows = csv.reader(read_text(path).split("\n"), strict=True, delimiter=delimiter)
    try:
        header = [name.strip() for name in next(rows, [])]
        for column in columns:
            if column not in header:
                raise ManifestError(
                    f"{path}:1: no column {column!r}; the first line must hold {','.join(columns)}"
                )
        for row in filter(None, rows):
            where = f"{path}:{rows.line_num}"
            if len(row) != len(header):
                raise ManifestError(
                    f"{where}: {len(row)} columns, the header has {len(header)}; correct it, "
                    f"quoting any {delimiter!r} inside a value"
                )
            yield where, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise ManifestError(f"{path}:{rows.line_num}: not CSV ({error}); correct it") from None


def read_json(path: Path, kind: type) -> Any:
    """A JSON document whose top level is of type `kind`, list or dict."""
    try:
        value = json.loads(read_text(path), object_pairs_hook=_single_keys)
    except json.JSONDecodeError as error:
        raise ManifestError(f"{path}:{error.lineno}: not JSON ({error.msg}); restore it") from None
    except (ValueError, RecursionError):
        raise ManifestError(f"{path}: no JSON that can be read; restore it") from None
    except KeyError as error:
        raise ManifestError(
            f"{path}:{error.args[0]}: this key is there twice; remove one"
        ) from None
    if not isinstance(value, kind):
        raise ManifestError(f"{path}:1: expected a JSON {kind.__name__}; restore the official file")
    return value


def json_field(where: str, item: Any, name: str, kind: type | tuple[type, ...] = str) -> Any:
    """A field of a JSON object. Raises ManifestError if it is missing or of another type."""
    if not isinstance(item, dict) or not isinstance(item.get(name), kind):
        raise ManifestError(f"{where}: no usable {name!r}; restore the official file")
    return item[name]


def whole_number(where: str, name: str, value: str) -> int:
    """A whole number; '12.0' is one."""
    try:
        number = float(value)
        if number == int(number):
            return int(number)
    except (ValueError, OverflowError):
        pass
    raise ManifestError(f"{where}: {name} {value!r} is not a whole number; correct it")


def first_existing(folder: Path, *names: str) -> Path:
    """The first of these files that exists. Raises ManifestError that names all of them."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ManifestError(f"{folder}: no {' or '.join(names)} here; give the official annotations")


def _single_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object without repeated keys; the json module would silently keep the last value."""
    fields = dict[str, Any]()
    for key, value in pairs:
        if key in fields:
            raise KeyError(key)
        fields[key] = value
    return fields
