"""TOML as every file of settings is read: a table, or one line that names the file."""

import tomllib
from pathlib import Path
from typing import Any

from pks4.errors import UserError

DOTS = 1000  # in a line; what the parser takes for a dotted key grows with the square of its parts


def text_of(path: Path) -> str:
    """The text of a file; raises UserError where it is not there or not text."""
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
    except ValueError as error:  # a number of thousands of digits is one, too
        raise UserError(f"{where}: not valid TOML: {error}") from error
