"""The table of what contestants see at the start: each frame's share of the largest sensitivity."""

from pks4.bench import units
from pks4.bench.report.tables import columns
from pks4.bench.report.tables.columns import Place
from pks4.bench.table import Column, Table, TableRow, table, value_of, words
from pks4.bench.view.view import View

_METRICS = {"sees_least": "least frame", "sees_last": "last frame"}


def sees(view: View) -> Table:
    """One row a contestant and T: the least frame, the last one, and with one seed every frame."""
    return table(
        name="sees",
        title="Sensitivity by frame",
        note=(
            "Root mean square of the gradient of the logits with respect to a frame's pixels, over "
            "that of the frame with the largest, on the weights that training starts from. Frames "
            "of one tubelet count together in the first two columns. A contestant cannot use a "
            "frame at 0. Over seeds the first two are means."
        ),
        columns=(
            *columns.PLACE,
            *(Column(key, heading, numeric=True) for key, heading in _METRICS.items()),
            Column("by_frame", "by frame"),
        ),
        rows=columns.by_place(view, [*_METRICS], lambda place: _cells(view, place)),
    )


def _cells(view: View, place: Place) -> TableRow:
    found = {key: place.find(view, key) for key in _METRICS}
    least = found["sees_least"]
    profile = least.detail.get("by_frame", []) if least else []
    return {
        **{key: value_of(row, _digits(row.value) if row else "") for key, row in found.items()},
        "by_frame": words(", ".join(map(_digits, profile)) or None),
    }


def _digits(share: float) -> str:
    return units.significant(share, 2)
