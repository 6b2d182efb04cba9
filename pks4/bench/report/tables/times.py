"""The tables of what was timed: medians, ratios with verdicts, growth with T, and streams."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from pks4.bench import units
from pks4.bench.report.tables import columns
from pks4.bench.report.tables.columns import Place, bracketed
from pks4.bench.stats import growth
from pks4.bench.stats.paired_times import LEAST_EFFECT, RATIO, SECONDS
from pks4.bench.table import Column, Table, TableCell, TableRow, part_of, table, value_of, words
from pks4.bench.view.rows import Row, Series
from pks4.bench.view.view import OK, View

_MODEL = {"forward": "forward", "step": "step"}  # operations, and how a heading names them
_SCAN = {"scan_forward": "forward", "scan_train": "forward and backward"}


def timing(view: View) -> Table:
    """Median seconds of forward and step, and paired ratios to the baseline with verdicts."""
    return _timing(view, "time", "Wall-clock time", _MODEL, (), lambda place: {})


def scans(view: View) -> Table:
    """The same of the scan alone, with its sizes and what it is paired with."""
    facts = (Column("sizes", "b · t · s · d · n"), Column("baseline", "baseline"))
    return _timing(view, "scan", "The scan alone", _SCAN, facts, partial(_scan_facts, view))


def _scan_facts(view: View, place: Place) -> TableRow:
    seconds, ratio = (place.find(view, f"scan_forward{end}") for end in (SECONDS, RATIO))
    return {
        "sizes": words(" · ".join(map(str, seconds.detail["shape"].values())) if seconds else None),
        "baseline": words(ratio.detail["reference"] if ratio else None),
    }


def _timing(
    view: View,
    name: str,
    title: str,
    operations: Mapping[str, str],
    facts: Sequence[Column],
    facts_of: Callable[[Place], TableRow],
) -> Table:
    seconds = [f"{operation}{SECONDS}" for operation in operations]
    ratios = [f"{operation}{RATIO}" for operation in operations]
    baselines = {
        str(row.detail["reference"])
        for row in view.rows
        if row.metric in ratios and row.status == OK and "reference" in row.detail
    }
    named = f"; the baseline is {units.listed(sorted(baselines))}" if baselines else ""

    def cells(place: Place) -> TableRow:
        found = {**facts_of(place), **columns.values(view, place, seconds)}
        for key in operations:
            found |= _ratio(key, place.find(view, f"{key}{RATIO}"))
        return found

    return table(
        name=name,
        title=title,
        note=(
            f"Medians over rounds. Ratio: contestant ÷ baseline, 95 % interval{named}. Floor: a "
            "ratio nearer to 1 than this is called no difference; "
            f"{100 * LEAST_EFFECT:.0f} %, or more where the baseline timed against itself asks it."
        ),
        columns=(
            *columns.PLACE,
            *facts,
            *(Column(f"{key}{SECONDS}", heading, unit="s") for key, heading in operations.items()),
            *(c for key, heading in operations.items() for c in _ratio_columns(key, heading)),
        ),
        rows=columns.by_place(view, (*seconds, *ratios), cells),
    )


def _ratio_columns(operation: str, heading: str) -> Sequence[Column]:
    return (
        *columns.interval_columns(f"{operation}_ratio", f"{heading} ratio", f"{operation}_"),
        Column(f"{operation}_floor", f"{heading} floor, %", numeric=True),
        Column(f"{operation}_verdict", f"{heading} verdict"),
    )


def _ratio(operation: str, row: Row | None) -> TableRow:
    ends, floor = row.interval() if row else None, noise_floor(row)
    verdict = row.detail.get("verdict") if row else None
    text = ratio_words(row) if row else None
    percent = units.MISSING if floor is None else f"{100 * floor:.1f}"
    return {
        **columns.interval_cells(value_of(row, text), f"{operation}_ratio", ends, f"{operation}_"),
        f"{operation}_floor": TableCell(floor, percent),
        f"{operation}_verdict": words(verdict, tone=verdict),
    }


def ratio_words(row: Row) -> str:
    """A ratio with its interval, where it has one: `1.80 [1.71 to 1.89]`."""
    ends = row.interval()
    return bracketed(f"{row.value:.2f}", units.ratio_interval(ends) if ends else None)


def noise_floor(row: Row | None) -> float | None:
    """How far from 1 a ratio must be to count, as a fraction; None where the record has no floor.

    `least_effect` is |ln ratio|, what the session's A/A arm asks for (`stats/paired_times.py`).
    """
    least = row.detail.get("least_effect") if row else None
    return None if least is None else math.expm1(least)


def time_growth(view: View) -> Table:
    """How seconds grow with frames: a + b T^p, where there are enough numbers of frames."""
    return table(
        name="growth",
        title="Growth of times with T",
        note="seconds = a + b·T^p through medians; p with its 95 % bootstrap interval over rounds.",
        columns=(
            *columns.SERIES,
            Column("metric", "operation"),
            Column("constant", "a", unit="s"),
            *columns.interval_columns("power", "p", "power_"),
            Column("factor", "b", raw_only=True),
            Column("range", "T"),
        ),
        rows=columns.by_series(view, [f"{key}{SECONDS}" for key in _MODEL], _growth),
    )


def _growth(metric: str, series: Series) -> TableRow | None:
    samples = {t: row.detail.get("samples_seconds", [row.value]) for t, row in series.items()}
    fitted = growth.fit_power(samples)
    if fitted is None:
        return None
    last = series[max(series)]
    text = f"{fitted.p:.2f} [{units.ratio_interval(fitted.interval)}]"
    power = TableCell(fitted.p, text, source=last)
    return {
        "metric": words(metric.removesuffix(SECONDS)),
        "constant": part_of(last, fitted.a),
        **columns.interval_cells(power, "power", fitted.interval, "power_"),
        "factor": words(fitted.b),
        "range": words(f"{fitted.frames[0]} to {fitted.frames[-1]}"),
    }


_STREAMING = (
    Column("streaming_deviation", "difference", numeric=True),
    Column("streaming_state_bytes", "state", unit="B"),
    Column("streaming_bytes_per_frame", "per added frame", unit="B"),
    Column("streaming_frame_seconds", "a late frame, p50", unit="s"),
    Column("streaming_frame_p99_seconds", "p99", unit="s"),
    Column("streaming_late_ratio", "late ÷ early", numeric=True),
)


def streaming(view: View) -> Table:
    """Who can be fed one frame at a time, what that costs, and whether the cost grows."""
    metrics = [column.key for column in _STREAMING]
    return table(
        name="streaming",
        title="One frame at a time",
        note=(
            "Difference to the whole clip, of the largest logit, with the gate open; at most 1e-5 "
            "is rounding. State: at the last frame. p50 and p99: of the frame after it. "
            "Late ÷ early: its time over that of the frame after the tenth, 95 % interval. "
            "Who takes whole clips only is among the failures, with the reason."
        ),
        columns=(
            *columns.SERIES,
            *_STREAMING,
            Column("verdict", "time is"),
            Column("memory", "memory is"),
            Column("last", "last frame", numeric=True),
        ),
        rows=columns.by_place(view, metrics, lambda place: _stream(view, place, metrics)),
    )


def _stream(view: View, place: Place, metrics: Sequence[str]) -> TableRow:
    deviation = place.find(view, "streaming_deviation")
    late = place.find(view, "streaming_late_ratio")
    added = place.find(view, "streaming_bytes_per_frame")
    return {
        **columns.values(view, place, metrics),
        "streaming_deviation": value_of(deviation, f"{deviation.value:.1e}" if deviation else None),
        "streaming_late_ratio": value_of(late, ratio_words(late) if late else None),
        "verdict": words(late.detail["verdict"] if late else None),
        "memory": words(("growing" if added.value > 0 else "constant") if added else None),
        "last": words(late.detail["late_frame"] if late else None),
    }
