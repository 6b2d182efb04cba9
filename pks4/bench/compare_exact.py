"""Exact numbers: equal or changed, and by how much in which part of the model.

MACs, bytes and parameters follow from the code alone, so that any difference within one case is a
change of the code. The parts are what the record's detail holds: by module class, by stage, by
phase of the step.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Change(NamedTuple):
    """One part of a number, before and after; a part that is not there counts 0."""

    part: str
    base: int | float
    head: int | float


def changes(base: Mapping[str, Any], head: Mapping[str, Any]) -> tuple[Change, ...]:
    """The parts of two details that differ, the largest difference first."""
    old, new = dict(_numbers(base)), dict(_numbers(head))
    found = [
        Change(part, old.get(part, 0), new.get(part, 0))
        for part in dict.fromkeys([*old, *new])
        if old.get(part, 0) != new.get(part, 0)
    ]
    return tuple(sorted(found, key=lambda c: -abs(c.head - c.base)))


def _numbers(detail: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, int | float]]:
    for name, value in detail.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{above}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{above}{name}", value
