"""The table of rankings: does the order of contestants hold in another setting?"""

from collections.abc import Mapping
from itertools import combinations

from pks4.bench import units
from pks4.bench.report.tables import columns
from pks4.bench.stats import ranking
from pks4.bench.table import Column, Table, TableCell, TableRow, table, words
from pks4.bench.view.rows import Row, Setting
from pks4.bench.view.view import View


def rankings(view: View) -> Table:
    """Kendall's tau between the top-1 of each two settings that share three contestants or more."""
    rows = []
    for first, second in combinations(view.settings("top1"), 2):
        ours, theirs = (view.at_largest(setting, "top1") for setting in (first, second))
        shared = [label for label in ours if label in theirs]
        if len(shared) >= ranking.LEAST_METHODS:
            rows.append(_row(view, first, second, ours, theirs, shared))
    return table(
        name="rankings",
        title="Does the ranking hold?",
        note=(
            "Kendall's tau between the top-1 of the contestants that two settings share: 1 is the "
            "same order, -1 the reverse. Interval: 95 %, over draws of clips and seeds. Where it "
            "holds 0 the two rankings are not shown to agree."
        ),
        columns=(
            Column("first", "setting"),
            Column("second", "and"),
            Column("contestants", "contestants", numeric=True),
            *columns.interval_columns("tau", "tau", "tau_"),
            Column("turned", "turned over"),
        ),
        rows=rows,
    )


def _row(
    view: View,
    first: Setting,
    second: Setting,
    ours: Mapping[str, Row],
    theirs: Mapping[str, Row],
    shared: list[str],
) -> TableRow:
    sides = [view.answers([side[label] for label in shared]) for side in (ours, theirs)]
    turned = [
        f"{view.name(a)} and {view.name(b)}"
        for a, b in combinations(shared, 2)
        if (ours[a].value - ours[b].value) * (theirs[a].value - theirs[b].value) < 0
    ]
    found = {
        "first": words(first.title),
        "second": words(second.title),
        "contestants": words(len(shared)),
        "turned": words(units.listed(turned) if turned else "no pair"),
    }
    if sides[0] is None or sides[1] is None:
        return {**found, **columns.interval_cells(words(None), "tau", None, "tau_")}
    tau = ranking.agreement(sides[0], sides[1])
    text = columns.bracketed(f"{tau.value:.2f}", "{:.2f} to {:.2f}".format(*tau.interval or ()))
    return {
        **found,
        **columns.interval_cells(TableCell(tau.value, text), "tau", tau.interval, "tau_"),
    }
