"""Errors that say what to do: one line, the name that was meant, the remedy."""

import errno
from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from typing import Any

TRY_AGAIN = {"try_again": True}  # in the detail of a failed record: a resumed run tries it again
FULL = (errno.ENOSPC, errno.EDQUOT)
LONGEST_NAME = 80  # characters of a name in an error
NEAREST = 3  # names that are told of a long list


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


def unknown_of_many(what: str, name: str, known: Iterable[str], listing: str) -> str:
    """A line for a name of which there are many: the nearest few, and the command that lists all.

    A name is as near as it, or its beginning, looks like the one that was given.
    """
    names, name = list(known), shortened(name)
    if not names:
        return f"unknown {what} {name!r}; there are: none"
    near = sorted(names, key=lambda one: -max(_alike(name, one), _alike(name, one[: len(name)])))
    told = ", ".join(near[:NEAREST])
    return f"unknown {what} {name!r}; the nearest: {told}; {listing} lists all {len(names)}"


def _alike(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other).ratio()


def shortened(text: str) -> str:
    """A name as an error shows it: what is far too long is cut."""
    return text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}…"
