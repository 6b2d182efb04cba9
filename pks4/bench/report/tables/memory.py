"""The tables of memory: what fits, what is kept for backward, what the peak of a step is made of.

Nothing is simulated here. What fits comes from the run's `step_memory` records, so an answer is one
of the T that were measured; `pks4-bench fit` finds the exact one, with the same share kept free.
"""

from collections.abc import Callable, Mapping

from pks4.bench.report.tables import columns
from pks4.bench.report.tables.columns import Place
from pks4.bench.table import Column, Table, TableCell, TableRow, part_of, table, value_of, words
from pks4.bench.view.rows import Row, Series
from pks4.bench.view.view import View
from pks4.macs import STAGES
from pks4.simulate.what_fits import RESERVE, count

MEMORIES = (8, 16, 24, 40, 80)  # GiB, as accelerators are sold
METRIC = "step_peak_bytes"
_TARGET = Column("target", "target", context=True)
_PARTS = ("weights", "optimizer", "gradients", "inputs", "copies", "activations", "temporaries")


def fitting(view: View) -> Table:
    """One row a contestant and setting: the most frames in each memory, of those measured."""
    return table(
        name="fit",
        title="What fits in memory",
        note=(
            "The most frames, of the T measured, whose simulated training step fits when "
            f"{100 * RESERVE:g} % of the memory is kept free; what allocators and libraries take "
            "comes out of it. ≥: the largest T measured still fits. 0: the smallest does not. "
            "Between two T, pks4-bench fit finds the exact number."
        ),
        columns=(
            *columns.SERIES,
            *(Column(f"frames_{size}gib", f"{size} GiB", numeric=True) for size in MEMORIES),
            Column("measured", "T measured", context=True),
            _TARGET,
        ),
        rows=columns.by_series(view, [METRIC], lambda _, series: _fitting(series)),
    )


def most_frames(series: Mapping[int, Row], memory: int) -> int:
    """The largest T measured whose peak leaves the reserve of `memory` bytes free; 0: none."""
    limit = int(memory * (1 - RESERVE))
    return max((t for t, row in series.items() if row.value <= limit), default=0)


def _fitting(series: Series) -> TableRow:
    targets = {row.evidence.get("target") for row in series.values()}
    return {
        **{f"frames_{size}gib": _frames(series, size) for size in MEMORIES},
        "measured": words(", ".join(map(str, series))),
        "target": words(targets.pop() if len(targets) == 1 else None),
    }


def _frames(series: Series, size: int) -> TableCell:
    most = most_frames(series, size * 2**30)
    text = count(most, max(series))
    return TableCell(most, text, source=series[most or min(series)])


def kept(view: View) -> Table:
    """What is kept for backward, by stage, for every contestant whose file names its stages."""
    return table(
        name="kept",
        title="Kept for backward, by stage",
        note=(
            "Temporal: what a contestant adds to its 2D backbone, as its file says. Attention over "
            "space and time at once is the backbone's. Copies: weights that autocast lowers, "
            "within the sum."
        ),
        columns=(
            *columns.PLACE,
            Column("saved_bytes", "kept", unit="B"),
            *(Column(name, name, unit="B") for name in STAGES),
            Column("weight_copies", "of which copies", unit="B"),
            _TARGET,
        ),
        rows=columns.by_place(view, ["saved_bytes"], _found(view, "saved_bytes", _kept)),
    )


def _kept(row: Row) -> TableRow | None:
    by_stage = row.detail.get("by_stage", {})
    if not set(by_stage) <= set(STAGES):
        return None
    return {
        "saved_bytes": value_of(row),
        **{name: part_of(row, by_stage.get(name, 0)) for name in STAGES},
        "weight_copies": part_of(row, row.detail.get("weight_copies", 0)),
        "target": words(row.evidence.get("target")),
    }


def step_memory(view: View) -> Table:
    """What the peak of a training step is made of, for every contestant, setting and T."""
    return table(
        name="step_memory",
        title="Memory of a training step",
        note=(
            "Simulated: every storage from birth to death, at the moment with the most bytes. "
            "Optimizer: AdamW's two moments. Copies: weights that autocast lowers. Allocators and "
            "libraries come on top."
        ),
        columns=(
            *columns.PLACE,
            Column(METRIC, "peak", unit="B"),
            *(Column(name, name, unit="B") for name in _PARTS),
            Column("phase", "reached in"),
            _TARGET,
        ),
        rows=columns.by_place(view, [METRIC], _found(view, METRIC, _peak)),
    )


def _peak(row: Row) -> TableRow:
    parts = row.detail["parts"]
    return {
        METRIC: value_of(row),
        **{name: part_of(row, parts.get(name, 0)) for name in _PARTS},
        "phase": words(row.detail["phase"]),
        "target": words(row.evidence.get("target")),
    }


def _found(
    view: View, metric: str, cells: Callable[[Row], TableRow | None]
) -> Callable[[Place], TableRow | None]:
    """The cells of a place, from its row of `metric`."""
    return lambda place: cells(row) if (row := place.find(view, metric)) else None
