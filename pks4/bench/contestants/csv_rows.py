"""A CSV file of published figures as checked rows: one pydantic model a file.

An error is one line that names the file, the row (the header is row 1) and the column.
"""

import csv
import json
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from pks4.errors import UserError


class CsvRow(BaseModel):
    """A row; the fields after `row`, or their aliases, are the columns in their order."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    row: int  # in the file, the header being row 1

    @classmethod
    def columns(cls) -> tuple[str, ...]:
        """The header of the file."""
        return tuple(f.alias or name for name, f in cls.model_fields.items() if name != "row")


Row = TypeVar("Row", bound=CsvRow)
_PLAIN = re.compile(r"[0-9.eE+-]+")


def amount(text: str, kind: type[float] = float) -> float:
    """The number above 0 that a text holds; raises ValueError."""
    try:
        value = kind(text if _PLAIN.fullmatch(text) else "")  # Python also reads "1_0" and " 10"
    except ValueError:
        value = kind(0)
    if not 0 < value < float("inf"):
        what = "a whole number" if kind is int else "a number"
        raise ValueError(f"must be {what} above 0, got {text!r}")
    return value


def _not_empty(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    return text


def _https(url: str) -> str:
    if not url.startswith("https://"):
        raise ValueError(f"must begin with https://, got {url!r}")
    return url


def _json_object(text: str) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"must be a JSON object, got {text!r}")
    return value


Amount = Annotated[float, BeforeValidator(amount)]
Count = Annotated[int, BeforeValidator(lambda text: amount(text, int))]
Text = Annotated[str, AfterValidator(_not_empty)]
Link = Annotated[str, AfterValidator(_https)]
Options = Annotated[dict[str, Any], BeforeValidator(_json_object)]


def read_rows(path: Path, model: type[Row]) -> list[Row]:
    """Every row of the file. Raises UserError for the first thing that is wrong in it."""
    columns = model.columns()
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *lines = [*csv.reader(file)] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    if tuple(header) != columns:
        missing = [name for name in columns if name not in header] or "none, but their order"
        raise UserError(f"{path}, row 1: columns must be {', '.join(columns)}; missing: {missing}")
    rows = []
    for number, line in enumerate(lines, start=2):
        where = f"{path}, row {number}"
        if len(line) != len(columns):
            raise UserError(f"{where}: {len(line)} fields instead of {len(columns)}")
        try:
            fields = dict(zip(columns, line, strict=True))
            rows.append(model.model_validate({"row": number, **fields}))
        except ValidationError as error:
            problem = error.errors()[0]
            what = problem["msg"].removeprefix("Value error, ")
            raise UserError(f"{where}, column {problem['loc'][0]}: {what}") from error
    return rows
