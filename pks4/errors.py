"""Errors for users: one line that names the mistake, the near names and the remedy."""

import errno
from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from typing import Any

TRY_AGAIN = {"try_again": True}  # in the detail of a failed record: a resumed run tries it again
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
LONGEST_NAME = 80  # characters of a name in an error
NEAREST = 3  # suggestions from a long list of names


class UserError(Exception):
    """A mistake in the user's input; printed as one line, without a traceback."""


class CannotWrite(UserError):
    """A path that cannot be written, for example on a full disk; not a fault of the program."""

    detail = TRY_AGAIN


def detail_of(error: Exception) -> dict[str, Any]:
    """The detail of a failed record: the error's `detail`, and whether to try again."""
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return TRY_AGAIN
    return getattr(error, "detail", {})


def unknown_name(what: str, name: str, known: Iterable[str]) -> str:
    """An error line for an unknown name: the near names if any, else all known names."""
    names, name = sorted(known), shortened(name)
    near = get_close_matches(name, names, n=2, cutoff=0.6)
    if near:
        return f"unknown {what} {name!r}; did you mean {' or '.join(map(repr, near))}?"
    return f"unknown {what} {name!r}; there are: {', '.join(names) or 'none'}"


def unknown_of_many(what: str, name: str, known: Iterable[str], listing: str) -> str:
    """An error line for an unknown name among many: the nearest few, and a command that lists all.

    A name is near if it, or its beginning, resembles the given one.
    """
    names, name = list(known), shortened(name)
    if not names:
        return f"unknown {what} {name!r}; there are: none"

    def similarity(known_name: str) -> float:
        candidates = (known_name, known_name[: len(name)])
        return max(SequenceMatcher(None, name, text).ratio() for text in candidates)

    nearest = ", ".join(sorted(names, key=similarity, reverse=True)[:NEAREST])
    return f"unknown {what} {name!r}; the nearest: {nearest}; {listing} lists all {len(names)}"


def shortened(text: str) -> str:
    """A name as an error shows it, cut at `LONGEST_NAME` characters."""
    return text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}…"
