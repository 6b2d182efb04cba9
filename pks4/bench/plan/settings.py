"""Settings that are read from files: frozen models, TOML as strict tables, problems in one line.

All TOML files are read through `parse`: a file is a table, or the error is one line that names the
file. `problem` says where in the file something is wrong in the words of the file: a contestant by
its label, a claim by its id, any other item of a list by its number, counted from 1.
"""

import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pks4.errors import UserError, shortened, unknown_name

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Loc = tuple[int | str, ...]
DOTS = 1000  # in a line; what the parser takes for a dotted key grows with the square of its parts

# List of tables -> what one of them is, and the key that names it.
_NAMED = {
    "contestants": ("contestant", "label"), "grids": ("grid", "name"), "claims": ("claim", "id"),
    "tests": ("test", "name"),
}  # fmt: skip
_WANTED = {
    "int_type": "a whole number", "float_type": "a number", "bool_type": "true or false",
    "string_type": "a text", "list_type": "a list", "dict_type": "a table", "model_type": "a table",
    "model_attributes_type": "a table", "greater_than": "above {gt}",
    "greater_than_equal": "{ge} or more", "less_than_equal": "at most {le}",
    "too_short": "a list of {min_length} or more", "too_long": "a list of at most {max_length}",
    "string_too_short": "a text that is not empty", "finite_number": "a finite number",
    "literal_error": "{expected}",
}  # fmt: skip


class Settings(BaseModel):
    """Frozen settings; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Table(Settings):
    """A table of a TOML file; a value has the type that is asked for, and none is converted."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


def text_of(path: Path) -> str:
    """The text of a file; raises UserError if it is missing or not text."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error


def parse(text: str, where: object) -> dict[str, Any]:
    """The table in a TOML text; `where` names it in the UserError."""
    if any(line.count(".") > DOTS for line in text.splitlines()):
        raise UserError(f"{where}: not valid TOML: more than {DOTS} dots in a line; break it")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise UserError(f"{where}: not valid TOML: nested too deeply") from None
    except ValueError as error:  # also raised for a number of thousands of digits
        raise UserError(f"{where}: not valid TOML: {error}") from error


def problem(
    error: ValidationError,
    data: Mapping[str, Any],
    fields: Callable[[Loc], Iterable[str]],
    kinds: Collection[object] = (),
) -> str:
    """One line for the first problem of a table `data`; a misspelt key before the missing one.

    `fields(loc)` are the keys that are known where an unknown one was. `kinds` are the values of
    `kind` that tell tables of a list apart; pydantic puts them into places.
    """
    problems = error.errors()
    unknown = [p for p in problems if p["type"] == "extra_forbidden"]
    first = (unknown or problems)[0]
    what, loc = first["type"], tuple(part for part in first["loc"] if part not in kinds)
    if what == "extra_forbidden":
        key = str(loc[-1])
        return _at(loc[:-1], data, unknown_name("key", key, fields(first["loc"])))
    if what == "union_tag_invalid":
        return _at(loc, data, unknown_name("kind", str(first["ctx"]["tag"]), map(str, kinds)))
    if what == "union_tag_not_found":
        return _at(loc, data, f"has no kind; there are: {', '.join(map(str, kinds))}")
    if what == "missing":
        return _at(loc, data, "is missing; add it")
    if what == "value_error":
        return _at(loc, data, first["msg"].removeprefix("Value error, "))
    wanted = _WANTED.get(what, "").format(**first.get("ctx", {}))
    words = f"must be {wanted}" if wanted else first["msg"]
    return _at(loc, data, f"{words}, got {first['input']!r}"[:200])


def _at(loc: Loc, data: Mapping[str, Any], words: str) -> str:
    where = _place(loc, data)
    return f"{where}: {words}" if where else words


def _place(loc: Loc, data: Any) -> str:
    """A place in a table: `claim 'speed', test 'top-1', of no. 2, frames`."""
    parts: list[str] = []
    for step, part in enumerate(loc):
        if isinstance(part, int):
            kind, key = _NAMED.get(str(loc[step - 1]), (parts.pop(), ""))
            data = data[part]
            name = data.get(key) if isinstance(data, dict) else None
            named = shortened(name) if isinstance(name, str) else ""
            parts.append(f"{kind} {named!r}" if named else f"{kind} no. {part + 1}")
        elif isinstance(data, dict):
            parts.append(part)
            data = data.get(part)
    return ", ".join(parts)
