"""What sentences about a run are made of: rows at one T, ties, ranks, multiples of ours."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pks4.bench import units
from pks4.bench.view.rows import Row, Series
from pks4.bench.view.view import FAMILIES, PKS4_FAMILY, View

Rows = Mapping[str, Row]  # label -> row, all of one metric, setting and T


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A sentence or two, and the records behind them."""

    words: str
    sources: tuple[Row, ...] = ()
    topic: str = ""


def at(series: Mapping[str, Series], frames: int) -> dict[str, Row]:
    """The rows at one frame count, for those contestants that have one."""
    return {label: found[frames] for label, found in series.items() if frames in found}


def lowest(rows: Rows) -> list[str]:
    """The labels that share the lowest value: more than one in a tie."""
    least = min(row.value for row in rows.values())
    return [label for label, row in rows.items() if row.value == least]


def highest(rows: Rows) -> list[str]:
    """The labels that share the highest value: more than one in a tie."""
    most = max(row.value for row in rows.values())
    return [label for label, row in rows.items() if row.value == most]


def extremes(values: Mapping[str, Any]) -> tuple[str, str]:
    """The labels of the smallest and of the largest value, the first ones in a tie."""
    return min(values, key=values.__getitem__), max(values, key=values.__getitem__)


def rank(rows: Rows, label: str) -> int:
    """The place of a label when the lowest value comes first; equals share a place."""
    return 1 + sum(row.value < rows[label].value for row in rows.values())


def ours_besides(view: View, rows: Rows, labels: Sequence[str]) -> list[Row]:
    """Our row, where there is one and it is not among those of `labels`."""
    return [rows[view.ours]] if view.ours in rows and view.ours not in labels else []


def named(view: View, labels: Sequence[str]) -> str:
    """The names of these contestants as a sentence lists them."""
    return units.listed(view.name(label) for label in labels)


def multiples(view: View, rows: Rows, what: str) -> Iterator[Finding]:
    """Each rival family's span as multiples of our value; nothing if that is 0."""
    ours = rows.get(view.ours)
    if ours is None or not ours.value:
        return
    families: list[str] = []
    sources = [ours]
    for family in dict.fromkeys([*FAMILIES, *map(view.family, rows)]):
        rivals = {label: row for label, row in rows.items() if view.family(label) == family}
        if family == PKS4_FAMILY or not rivals:
            continue
        ends = [rivals[label] for label in extremes({k: row.value for k, row in rivals.items()})]
        spans = [units.times(row.value / ours.value) for row in ends]
        families.append(f"{family} {' to '.join(dict.fromkeys(spans))}")
        sources += ends
    if families:
        words = f"{what}, as a multiple of {view.name(view.ours)}: {'; '.join(families)}."
        distinct = {row.number: row for row in sources}
        yield Finding(words=words, sources=tuple(distinct.values()))
