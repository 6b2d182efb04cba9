"""Errors that say what to do: one line, the name that was meant, the remedy."""

import errno
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

TRY_AGAIN = {"try_again": True}  # in the detail of a failed record: a resumed run tries it again
FULL = (errno.ENOSPC, errno.EDQUOT)
LONGEST_NAME = 80  # characters of a name in an error


class UserError(Exception):
    """A mistake in what the user gave; shown as one line, without a traceback."""


class CannotWrite(UserError):
    """A place that cannot be written to, such as a full disk, which is no fault of what ran."""

    detail = TRY_AGAIN


def detail_of(error: Exception) -> dict[str, Any]:
    """What a record keeps of an error: how far it came, where it tells; whether to try again."""
    if isinstance(error, OSError) and error.errno in FULL:
        return TRY_AGAIN
    return getattr(error, "detail", {})


def unknown_name(what: str, name: str, known: Iterable[str]) -> str:
    """A line for a name that is not there: the near ones first, else all of them."""
    names, name = sorted(known), shortened(name)
    near = get_close_matches(name, names, n=2, cutoff=0.6)
    if near:
        return f"unknown {what} {name!r}; did you mean {' or '.join(map(repr, near))}?"
    return f"unknown {what} {name!r}; there are: {', '.join(names) or 'none'}"


def shortened(text: str) -> str:
    """A name as an error shows it: what is far too long is cut."""
    return text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}…"
