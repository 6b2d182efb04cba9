"""The table that holds our exact costs against the figures that papers and repositories print."""

import math
from collections.abc import Iterator

from pks4.bench import units
from pks4.bench.contestants import published as figures
from pks4.bench.contestants.published import Figure, Pair
from pks4.bench.plan.cell import split_seed
from pks4.bench.report.tables import columns
from pks4.bench.report.tables.table import Column, Entry, Line, Table, number, table, text
from pks4.bench.view.rows import Row
from pks4.bench.view.view import View

QUANTITIES = {
    "params_total": "parameters",
    "params_trainable": "trained parameters",
    "gmacs": "forward MACs",
}
_METRICS = {"params_total": "params_total", "params_trainable": "params_trainable"}
_METRICS |= {"macs_forward": "gmacs"}


def published(view: View) -> Table:
    """A line for each published figure whose configuration this run measured."""
    pairs = sorted(_pairs(view), key=lambda one: (one[0], one[2].figure.row))
    labels = list(view.contestants)
    made = [_line(view, labels[place], row, pair) for place, row, pair in pairs]
    return table(
        name="published",
        title="Ours beside published",
        note=f"{_summary([pair for _, _, pair in pairs])} Theirs are per view, a multiply-add "
        "counting as one. Like for like: ours in the stages that their count holds.",
        columns=(
            *columns.WHO,
            columns.FRAMES,
            Column(key="num_classes", heading="classes", numeric=True, context=True),
            Column(key="quantity", heading="what"),
            Column(key="published", heading="published", numeric=True),
            Column(key="ours", heading="ours", numeric=True),
            Column(key="difference", heading="difference, %", numeric=True),
            Column(key="alike", heading="like for like", numeric=True),
            Column(key="alike_difference", heading="like for like, %", numeric=True),
            Column(key="verdict", heading="verdict, or why"),
            Column(key="counted", heading="they count", raw_only=True),
            Column(key="source", heading="source"),
        ),
        lines=made,
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
    """Our number beside a figure, with four digits: `121.6 M`, `1,703 GMAC`."""
    if value is None:
        return units.MISSING
    digits = units.significant(value / figures.SCALES[figure.quantity], 4)
    return f"{digits} {_unit(figure)}"


def source(figure: Figure) -> str:
    """Where a figure stands, in short: `arXiv 2302.03024, Table 1 (606 for 3 views)`."""
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
        for setting in view.settings(metric):
            for label, series in view.series(setting, metric).items():
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


def _line(view: View, label: str, row: Row, pair: Pair) -> Line:
    figure = pair.figure
    unexplained = pair.needs_reason and not figure.reason
    return {
        **columns.who(view, label),
        **columns.at(figure.frames),
        "num_classes": text(figure.num_classes),
        "quantity": text(QUANTITIES[figure.quantity]),
        "published": Entry(value=figure.published, text=theirs(figure)),
        "ours": number(row, ours(figure, pair.ours)),
        "difference": Entry(value=pair.difference, text=percent(pair.difference)),
        "alike": Entry(value=pair.alike, text=ours(figure, pair.alike)),
        "alike_difference": Entry(value=pair.alike_difference, text=percent(pair.alike_difference)),
        "verdict": Entry(
            value=pair.verdict, text=pair.verdict, tone="bad" if unexplained else None
        ),
        "counted": text(figure.counted or None),
        "source": Entry(value=figure.source_url, text=source(figure), url=figure.source_url),
    }


def _summary(pairs: list[Pair]) -> str:
    """How many of the figures are met, and how."""
    equal = sum(pair.rounds_to_it for pair in pairs)
    apart = sum(pair.needs_reason for pair in pairs)
    return (
        f"Of {units.counted(len(pairs), 'figure')}, {equal} equal as printed, "
        f"{len(pairs) - equal - apart} within 1 %, {apart} further apart."
    )
