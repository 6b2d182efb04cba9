"""The table of accuracy against T: one line a contestant and metric, and what more frames bring."""

from collections.abc import Mapping

from pks4.bench import against, lines, seeds, units
from pks4.bench.against import SHARES
from pks4.bench.sheet import Column, Entry, Line, Table, number, table, text
from pks4.bench.view import Row, Series, Setting, View, frame_counts


def accuracy_frames(view: View) -> Table:
    """Shares at each T, for settings with two T or more; no line where there is one T."""
    places = [(setting, metric) for metric in SHARES for setting in view.settings(metric)]
    every = {place: view.series(*place) for place in places}
    every = {place: series for place, series in every.items() if len(frame_counts(series)) > 1}
    made = [
        (setting, metric, found)
        for (setting, metric), series in every.items()
        for found in series.values()
    ]
    once = any(len(view.members(row)) == 1 for _, _, found in made for row in found.values())
    counts = sorted({t for series in every.values() for t in frame_counts(series)})
    return table(
        name="accuracy_frames",
        title="Accuracy against frames",
        note=(
            "Shares in %, each of a training at that T, evaluated at the same T; their intervals "
            "are in the table of accuracy. Gain: at the most frames minus at the fewest, in "
            "percentage points, with its 95 % interval by itself: not adjusted for the number of "
            f"lines. {seeds.WHAT_VARIES}{f' {against.ONE_SEED}' if once else ''}"
        ),
        columns=(
            *lines.SETTING,
            lines.TASK,
            Column(key="metric", heading="accuracy"),
            *lines.WHO,
            *(Column(key=f"t{t}", heading=f"T = {t}", numeric=True) for t in counts),
            Column(key="gain", heading="gain", numeric=True),
            Column(key="low", heading="low", raw_only=True),
            Column(key="high", heading="high", raw_only=True),
            Column(key="between", heading="between T"),
            Column(key="seeds", heading="seeds", numeric=True),
            Column(key="method", heading="how"),
        ),
        lines=[_line(view, *one, counts) for one in made],
    )


def _line(view: View, setting: Setting, metric: str, found: Series, counts: list[int]) -> Line:
    last = found[max(found)]
    return {
        **lines.place(setting),
        "metric": text(SHARES[metric]),
        **lines.who(view, last.label),
        **{f"t{t}": _share(found.get(t)) for t in counts},
        **_gain(view, found[min(found)], last),
    }


def _share(row: Row | None) -> Entry:
    return number(row, f"{100 * row.value:.1f}" if row else None)


def _gain(view: View, first: Row, last: Row) -> Mapping[str, Entry]:
    """The fields of the gain from the fewest to the most frames; empty where they are one."""
    found = against.difference(view, last, first) if first.frames < last.frames else None
    if found is None:
        return {key: Entry() for key in ("gain", "low", "high", "between", "seeds", "method")}
    low, high = found.interval or (None, None)
    told = f" [{units.point_interval(found.interval)}]" if found.interval else ""
    return {
        "gain": Entry(value=found.value, text=units.points(found.value) + told, source=last),
        "low": text(low),
        "high": text(high),
        "between": text(f"{first.frames} to {last.frames}"),
        "seeds": text(found.seeds),
        "method": text(found.method),
    }
