"""Errors that say what to do: one line, the name that was meant, the remedy."""

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_NAME = 80  # characters of a name in an error


class UserError(Exception):
    """A mistake in what the user gave; shown as one line, without a traceback."""


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
