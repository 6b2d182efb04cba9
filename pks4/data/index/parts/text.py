"""Annotation files as lines, tables or JSON; what cannot be read is one error with its place."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pks4.data.errors import ManifestError


def content(path: Path) -> str:
    """The text of an annotation file."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = error.strerror
    except UnicodeDecodeError:
        reason = "not text in UTF-8"
    raise ManifestError(f"{path}: cannot be read ({reason}); give the official annotations")


def words(path: Path, count: int) -> Iterator[tuple[str, list[str]]]:
    """Every line that is not empty, as file:line and its `count` words, split from the right."""
    for number, line in enumerate(content(path).splitlines(), 1):
        if not line.strip():
            continue
        parts = line.strip().rsplit(None, count - 1)
        if len(parts) != count:
            raise ManifestError(f"{path}:{number}: expected {count} words, found {line.strip()!r}")
        yield f"{path}:{number}", parts


def table(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Every row of a CSV with a header that holds at least `columns`."""
    rows = csv.reader(content(path).splitlines(), strict=True)
    try:
        header = next(rows, [])
        for column in columns:
            if column not in header:
                raise ManifestError(
                    f"{path}:1: no column {column!r}; the first line must hold {','.join(columns)}"
                )
        for row in rows:
            where = f"{path}:{rows.line_num}"
            if len(row) != len(header):
                raise ManifestError(f"{where}: {len(row)} columns, the header has {len(header)}")
            yield where, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise ManifestError(f"{path}:{rows.line_num}: not CSV ({error}); correct it") from None


def document(path: Path, kind: type) -> Any:
    """A JSON document that is a list or an object."""
    try:
        value = json.loads(content(path), object_pairs_hook=_single_keys)
    except json.JSONDecodeError as error:
        raise ManifestError(f"{path}:{error.lineno}: not JSON ({error.msg}); restore it") from None
    except (ValueError, RecursionError):
        raise ManifestError(f"{path}: no JSON that can be read; restore it") from None
    except KeyError as error:
        raise ManifestError(f"{path}:{error.args[0]}: this key stands twice; remove one") from None
    if not isinstance(value, kind):
        raise ManifestError(f"{path}:1: expected a JSON {kind.__name__}; restore the official file")
    return value


def field(where: str, item: Any, name: str, kind: type | tuple[type, ...] = str) -> Any:
    """One field of a JSON object, of the type that the format gives it."""
    if not isinstance(item, dict) or not isinstance(item.get(name), kind):
        raise ManifestError(f"{where}: no usable {name!r}; restore the official file")
    return item[name]


def whole(where: str, name: str, value: str) -> int:
    """A whole number; '12.0' counts as one."""
    try:
        number = float(value)
        if number == int(number):
            return int(number)
    except (ValueError, OverflowError):
        pass
    raise ManifestError(f"{where}: {name} {value!r} is not a whole number; correct it")


def first_of(folder: Path, *names: str) -> Path:
    """The first of some files that is there, or an error that names them all."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ManifestError(f"{folder}: no {' or '.join(names)} here; give the official annotations")


def _single_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, if no key stands twice; JSON alone would keep the last one in silence."""
    found = dict[str, Any]()
    for key, value in pairs:
        if key in found:
            raise KeyError(key)
        found[key] = value
    return found
