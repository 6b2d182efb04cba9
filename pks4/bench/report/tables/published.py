"""The table of our exact costs and the figures that papers and repositories print."""

import math
from collections.abc import Iterator

from pks4.bench import units
from pks4.bench.contestants import published as figures
from pks4.bench.contestants.published import Figure, Pair
from pks4.bench.plan.cell import split_seed
from pks4.bench.report.tables import columns
from pks4.bench.table import Column, Table, TableCell, TableRow, table, value_of, words
from pks4.bench.view.rows import Row
from pks4.bench.view.view import View

QUANTITIES = {
    "params_total": "parameters",
    "params_trainable": "trained parameters",
    "gmacs": "forward MACs",
}
_METRICS = {  # of our records -> the figure's quantity
    "params_total": "params_total",
    "params_trainable": "params_trainable",
    "macs_forward": "gmacs",
}


def published(view: View) -> Table:
    """A row for each published figure whose configuration this run measured."""
    pairs = sorted(_pairs(view), key=lambda one: (one[0], one[2].figure.row))
    labels = list(view.contestants)
    return table(
        name="published",
        title="Ours and published",
        note=f"{_summary([pair for _, _, pair in pairs])} Theirs are per view, a multiply-add "
        "counting as one. Like for like: ours in the stages that their count holds.",
        columns=(
            *columns.CONTESTANT,
            columns.FRAMES,
            Column("num_classes", "classes", numeric=True, context=True),
            Column("quantity", "what"),
            Column("published", "published", numeric=True),
            Column("ours", "ours", numeric=True),
            Column("difference", "difference, %", numeric=True),
            Column("alike", "like for like", numeric=True),
            Column("alike_difference", "like for like, %", numeric=True),
            Column("verdict", "verdict, or why"),
            Column("counted", "they count", raw_only=True),
            Column("source", "source"),
        ),
        rows=[_row(view, labels[place], row, pair) for place, row, pair in pairs],
    )


def percent(fraction: float | None) -> str:
    """A signed difference in per cent: `+0.14`."""
    return units.MISSING if fraction is None else f"{100 * fraction:+.2f}"


def theirs(figure: Figure) -> str:
    """A published figure of one view with the digits that its rounding leaves: `122 M`."""
    scale = figures.SCALES[figure.quantity]
    decimals = max(0, -math.floor(math.log10(2 * figure.half_unit / scale)))
    return f"{figure.published / scale:,.{decimals}f} {_unit(figure)}"


def ours(figure: Figure, value: float | None) -> str:
    """Our number for a figure, with four digits: `121.6 M`, `1,703 GMAC`."""
    if value is None:
        return units.MISSING
    digits = units.significant(value / figures.SCALES[figure.quantity], 4)
    return f"{digits} {_unit(figure)}"


def source(figure: Figure) -> str:
    """Where a figure is printed, in short: `arXiv 2302.03024, Table 1 (606 for 3 views)`."""
    parts = figure.source_url.removeprefix("https://").split("/")
    site = f"arXiv {parts[-1]}" if parts[0] == "arxiv.org" else "/".join(parts[1:3]) or parts[0]
    views = f" ({figure.printed} for {figure.views} views)" if figure.views > 1 else ""
    return f"{site}, {figure.where}{views}"


def _unit(figure: Figure) -> str:
    return "GMAC" if figure.quantity == "gmacs" else "M"


def _pairs(view: View) -> Iterator[tuple[int, Row, Pair]]:
    """Place of the contestant, its record, and the pair; each figure once for a contestant."""
    known = figures.read()
    cells = {split_seed(cell["id"])[0]: cell for cell in view.header.get("cells", [])}
    places = {label: place for place, label in enumerate(view.contestants)}
    seen = set()
    for metric, quantity in _METRICS.items():
        for _, label, series in columns.each_series(view, metric):
            for row in series.values():
                for figure in _figures(known, cells.get(split_seed(row.cell)[0]), quantity):
                    if (label, figure.row) not in seen:
                        seen.add((label, figure.row))
                        yield places[label], row, _pair(figure, row)


def _figures(known: list[Figure], cell: dict | None, quantity: str) -> list[Figure]:
    """The figures of a planned cell's configuration, for one quantity."""
    if cell is None:
        return []
    configuration = (cell["model"], cell["options"], cell["frames"], cell["num_classes"])
    return [one for one in figures.find(known, *configuration) if one.quantity == quantity]


def _pair(figure: Figure, row: Row) -> Pair:
    if figure.quantity != "gmacs":
        return Pair(figure=figure, ours=row.value)
    return figures.pair_macs(figure, row.value, row.detail.get("by_stage", {}))


def _row(view: View, label: str, row: Row, pair: Pair) -> TableRow:
    figure, alike = pair.figure, pair.alike_difference
    unexplained = pair.needs_reason and not figure.reason
    return {
        **columns.contestant(view, label),
        "frames": words(figure.frames),
        "num_classes": words(figure.num_classes),
        "quantity": words(QUANTITIES[figure.quantity]),
        "published": TableCell(figure.published, theirs(figure)),
        "ours": value_of(row, ours(figure, pair.ours)),
        "difference": TableCell(pair.difference, percent(pair.difference)),
        "alike": TableCell(pair.alike, ours(figure, pair.alike)),
        "alike_difference": TableCell(alike, percent(alike)),
        "verdict": words(pair.verdict, tone="bad" if unexplained else None),
        "counted": words(figure.counted or None),
        "source": TableCell(figure.source_url, source(figure), url=figure.source_url),
    }


def _summary(pairs: list[Pair]) -> str:
    """How many of the figures are met, and how."""
    equal = sum(pair.rounds_to_it for pair in pairs)
    apart = sum(pair.needs_reason for pair in pairs)
    return (
        f"Of {units.counted(len(pairs), 'figure')}, {equal} equal as printed, "
        f"{len(pairs) - equal - apart} within 1 %, {apart} further apart."
    )
