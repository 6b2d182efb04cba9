"""What most tables share: whose number a row holds, and cells and columns that come in groups."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from pks4.bench import units
from pks4.bench.stats.intervals import Estimate
from pks4.bench.table import Column, TableCell, TableRow, value_of, words
from pks4.bench.view.rows import Row, Series, Setting
from pks4.bench.view.view import View

SETTING = (
    Column("grid", "grid", context=True),
    Column("scale", "scale", context=True),
    Column("batch", "batch", context=True),
)
TASK = Column("task", "task", context=True)
CONTESTANT = (
    Column("contestant", "contestant"),
    Column("label", "label", raw_only=True),
    Column("family", "family", raw_only=True),
)
FRAMES = Column("frames", "T", numeric=True)
SERIES = (*SETTING, TASK, *CONTESTANT)  # of a row that holds several T
PLACE = (*SERIES, FRAMES)
SEEDS = Column("seeds", "seeds", numeric=True)


class Place(NamedTuple):
    """Whose number it is: the setting, the contestant, the T."""

    setting: Setting
    label: str
    frames: int

    def find(self, view: View, metric: str) -> Row | None:
        """The row that holds this metric; None when it was not measured."""
        return view.find(self.setting, metric, self.label, self.frames)


def measured(view: View, metrics: Sequence[str]) -> list[Place]:
    """Every place with a number of any of these metrics, in the order of the plan."""
    settings = dict.fromkeys(s for metric in metrics for s in view.settings(metric))
    places = []
    for setting in settings:
        every = [view.series(setting, metric) for metric in metrics]
        for label in view.contestants:
            frames = {t for series in every for t in series.get(label, {})}
            places += [Place(setting, label, t) for t in sorted(frames)]
    return places


def by_place(
    view: View, metrics: Sequence[str], cells: Callable[[Place], TableRow | None]
) -> list[TableRow]:
    """A row for every place with a number of these metrics; `cells` gives all but `PLACE`.

    Where `cells` gives None there is no row.
    """
    return [
        {**place_cells(view, *place), **found}
        for place in measured(view, metrics)
        if (found := cells(place)) is not None
    ]


def by_series(
    view: View, metrics: Sequence[str], cells: Callable[[str, Series], TableRow | None]
) -> list[TableRow]:
    """A row for every metric, setting and contestant; `cells` gives all but `SERIES`, or None."""
    return [
        {**place_cells(view, setting, label), **found}
        for metric in metrics
        for setting, label, series in each_series(view, metric)
        if (found := cells(metric, series)) is not None
    ]


def each_series(view: View, metric: str) -> Iterator[tuple[Setting, str, Series]]:
    """Every series of a metric with its setting and label."""
    for setting in view.settings(metric):
        for label, series in view.series(setting, metric).items():
            yield setting, label, series


def place_cells(view: View, setting: Setting, label: str, frames: int | None = None) -> TableRow:
    """The cells of `SERIES`, or with `frames` those of `PLACE`."""
    return {
        **{key: words(value) for key, value in setting._asdict().items()},
        **contestant(view, label),
        **({} if frames is None else {"frames": words(frames)}),
    }


def contestant(view: View, label: str) -> TableRow:
    """The cells of `CONTESTANT`."""
    family = view.family(label)
    return {
        "contestant": TableCell(view.name(label), view.name(label), family=family),
        "label": words(label),
        "family": words(family),
    }


def values(view: View, place: Place, metrics: Iterable[str]) -> TableRow:
    """A cell for each of these metrics at a place."""
    return {metric: value_of(place.find(view, metric)) for metric in metrics}


def interval_columns(key: str, heading: str, prefix: str = "") -> Sequence[Column]:
    """A number with its interval: one column for people, the two ends for CSV."""
    return (
        Column(key, heading, numeric=True),
        Column(f"{prefix}low", "low", raw_only=True),
        Column(f"{prefix}high", "high", raw_only=True),
    )


def interval_cells(
    cell: TableCell,
    key: str,
    ends: tuple[float, float] | None,
    prefix: str = "",
) -> TableRow:
    """The cells of `interval_columns`."""
    low, high = ends or (None, None)
    return {key: cell, f"{prefix}low": words(low), f"{prefix}high": words(high)}


def point_cells(key: str, difference: Estimate, row: Row) -> TableRow:
    """The cells of a difference of shares with its interval, in percentage points."""
    ends = difference.interval
    text = bracketed(units.points(difference.value), units.point_interval(ends) if ends else None)
    return interval_cells(TableCell(difference.value, text, source=row), key, ends)


def bracketed(text: str, ends: str | None) -> str:
    """A number with its interval, where there is one: `86.0 [82.0 to 90.0]`."""
    return f"{text} [{ends}]" if ends else text
