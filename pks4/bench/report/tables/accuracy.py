"""The tables of trained contestants.

* `accuracy`: shares with intervals, and what the training cost;
* `differences`: each contestant's share minus that of PKS4;
* `convergence`: how far, how fast, and whether a target was reached at all;
* `accuracy_frames`: one row a contestant and metric, and what more frames bring.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import median_high
from typing import Any

from pks4.bench import units
from pks4.bench.report.tables import columns
from pks4.bench.report.tables.columns import Place, bracketed
from pks4.bench.stats import intervals
from pks4.bench.table import Column, Table, TableCell, TableRow, table, value_of, words
from pks4.bench.view import curves, pooled_seeds, trainings, versus_pks4
from pks4.bench.view.curves import Curve
from pks4.bench.view.rows import Row, Series, Setting
from pks4.bench.view.versus_pks4 import SHARES, Difference
from pks4.bench.view.view import View, frame_counts


def accuracy(view: View) -> Table:
    """Top-1, top-5 and within-pair accuracy with their intervals, and the training's cost."""
    rows = columns.by_place(view, [*SHARES], lambda place: _accuracy_cells(view, place))
    several = any(row["seeds"].value > 1 for row in rows)
    over_seeds = (
        "Shares of test clips in %: means over seeds with their 95 % intervals (Student's t; none "
        f"where all seeds agree; with one seed, Wilson over clips). {pooled_seeds.WHAT_VARIES}"
    )
    one_seed = (
        "Shares of test clips in %, with their 95 % intervals (Wilson). One seed: the intervals "
        "hold for other clips, not for another training."
    )
    starts = (
        " Image model: the digits that the model it starts from names right on held-out stills, in "
        "%. Least frame: the sensitivity of the logits to the frame that is seen least, at the "
        "start, over that of the frame seen most."
    )
    return table(
        name="accuracy",
        title="Accuracy",
        note=(over_seeds if several else one_seed) + starts,
        columns=(
            *columns.SETTING,
            Column("task", "task"),
            *columns.CONTESTANT,
            columns.FRAMES,
            *((columns.SEEDS,) if several else ()),
            *(
                column
                for key, heading in SHARES.items()
                for column in columns.interval_columns(key, heading, f"{key}_")
            ),
            Column("chance", "chance", numeric=True),
            Column("clips", "clips", numeric=True),
            Column("image_top1", "image model", numeric=True),
            Column("sees_least", "least frame", numeric=True),
            Column("training_macs", "training", unit="MAC"),
            Column("training_seconds", "training", unit="s"),
            Column("learning_rate", "learning rate", numeric=True),
        ),
        rows=rows,
    )


def _accuracy_cells(view: View, place: Place) -> TableRow:
    shares = [share(key, place.find(view, key)) for key in SHARES]
    top1 = place.find(view, "top1")
    detail: Mapping[str, Any] = top1.detail if top1 else {}
    evidence: Mapping[str, Any] = top1.evidence if top1 else {}
    return {
        **{key: cell for cells in shares for key, cell in cells.items()},
        "seeds": words(max(1, len(top1.records)) if top1 else 0),
        "chance": _known(detail.get("chance"), _in_percent),
        "clips": words(detail.get("clips")),
        "image_top1": _known(trainings.image_top1(view, top1) if top1 else None, _in_percent),
        "sees_least": _known(trainings.sees_least(view, top1) if top1 else None, _two_digits),
        **columns.values(view, place, ("training_macs", "training_seconds")),
        "learning_rate": words(evidence.get("learning_rate")),
    }


def _known(value: float | None, write: Callable[[float], str]) -> TableCell:
    return TableCell() if value is None else TableCell(value, write(value))


def _in_percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _two_digits(share: float) -> str:
    return units.significant(share, 2)


def share(key: str, row: Row | None) -> TableRow:
    """The cells of a share of clips with its interval, in %; raw values are shares of 1."""
    ends = row.interval() if row else None
    text = bracketed(_percent(row), units.percent_interval(ends) if ends else None)
    return columns.interval_cells(value_of(row, text), key, ends, f"{key}_")


def _percent(row: Row | None) -> str:
    return _in_percent(row.value) if row else ""


def differences(view: View) -> Table:
    """Each contestant's accuracy against that of PKS4, with the method and a verdict."""
    settings = dict.fromkeys(s for metric in SHARES for s in view.settings(metric))
    found = [(setting, one) for setting in settings for one in versus_pks4.compare(view, setting)]
    who = view.name(view.ours) if view.ours else "PKS4"
    counts = [one.family for _, one in found] or [0]
    once = any(one.seeds == 1 for _, one in found)
    note = (
        f"Shares in %. Difference: contestant minus {who}, in percentage points, with its 95 % "
        f"interval, not adjusted. The verdict weighs all comparisons of a setting and T at once "
        f"({pooled_seeds.span(counts)}): Holm-adjusted p below {intervals.ALPHA}, else "
        f"inconclusive; a t-test needs {intervals.LEAST_SEEDS} seeds. {pooled_seeds.WHAT_VARIES}"
    )
    if once:
        note += f" {versus_pks4.ONE_SEED}"
    return table(
        name="accuracy_differences",
        title=f"Accuracy against {who}",
        note=note,
        columns=(
            *columns.SETTING,
            columns.TASK,
            Column("metric", "accuracy"),
            *columns.CONTESTANT,
            columns.FRAMES,
            columns.SEEDS,
            Column("share", "share", numeric=True),
            Column("reference_share", who, numeric=True),
            *columns.interval_columns("difference", "difference"),
            Column("p", "p, Holm", numeric=True),
            Column("word", "is"),
            Column("method", "how"),
        ),
        rows=[_difference(view, setting, one) for setting, one in found],
    )


def _difference(view: View, setting: Setting, one: Difference) -> TableRow:
    p = units.MISSING if one.p is None else units.significant(one.p, 2)
    return {
        **columns.place_cells(view, setting, one.row.label, one.row.frames),
        "metric": words(SHARES[one.metric]),
        "seeds": words(one.seeds),
        "share": value_of(one.row, _percent(one.row)),
        "reference_share": value_of(one.ours, _percent(one.ours)),
        **columns.point_cells("difference", one, one.row),
        "p": TableCell(one.p, p),
        "word": words(one.verdict, tone=one.verdict),
        "method": words(one.method),
    }


_COSTS: dict[str, tuple[Callable[[Curve, int], float], str, str]] = {
    "epochs_to_target": (lambda _, epoch: epoch, "epochs to target", ""),
    "macs_to_target": (lambda curve, epoch: curve.macs[epoch - 1], "compute to target", "MAC"),
    "seconds_to_target": (lambda curve, epoch: curve.seconds[epoch - 1], "time to target", "s"),
}


def convergence(view: View) -> Table:
    """One row a contestant and T with a validation curve."""
    found = [place.find(view, curves.METRIC) for place in columns.measured(view, [curves.METRIC])]
    shared = any(row.evidence.get("alone") is False for row in found if row)
    return table(
        name="convergence",
        title="Convergence",
        note=(
            "Top-1 on the validation split after each epoch, in %; the best epoch is chosen on the "
            "same clips, so the test's top-1 is the number to quote. 98 %: the first epoch with "
            "that share of a training's best. A best in the last epoch may still have risen. "
            "Medians over seeds (least to most); a seed that missed the target counts as later "
            "than all that reached it. Seconds hold for this machine"
            f"{', which ran other cells at the same time' if shared else ''}. "
            f"{pooled_seeds.WHAT_VARIES}"
        ),
        columns=(
            *columns.PLACE,
            columns.SEEDS,
            Column("epochs", "epochs", numeric=True),
            *columns.interval_columns(curves.METRIC, "best top-1", f"{curves.METRIC}_"),
            Column("best_epoch", "best in epoch", numeric=True),
            Column("nearly_epoch", "98 % in epoch", numeric=True),
            Column("target", "target", numeric=True),
            Column("reached", "target reached"),
            *(Column(key, heading, numeric=True) for key, (_, heading, _) in _COSTS.items()),
        ),
        rows=columns.by_place(view, [curves.METRIC], lambda place: _convergence(view, place)),
    )


def _convergence(view: View, place: Place) -> TableRow | None:
    row = place.find(view, curves.METRIC)
    if row is None:
        return None
    found = curves.of(view, row)
    return {
        "seeds": words(len(found)),
        "epochs": words(pooled_seeds.span(len(curve.top1) for curve in found)),
        **share(curves.METRIC, row),
        "best_epoch": _over_seeds([curve.best for curve in found], row),
        "nearly_epoch": _over_seeds([curve.nearly for curve in found], row),
        **_target(found, row),
    }


def _over_seeds(values: Sequence[int], row: Row) -> TableCell:
    """A median with its range, where there are several."""
    middle, low, high = median_high(values), min(values), max(values)
    text = f"{middle} ({low} to {high})" if low < high else str(middle)
    return TableCell(middle, text, source=row)


def _target(found: Sequence[Curve], row: Row) -> TableRow:
    """What the target took; a missed target is named, a missing one is a dash."""
    target = found[0].target
    if target is None:
        return {key: TableCell() for key in ("target", "reached", *_COSTS)}
    reached = sum(curve.reached is not None for curve in found)
    never = f"not reached in {pooled_seeds.span(len(curve.top1) for curve in found)} epochs"
    text = f"{reached} of {units.counted(len(found), 'seed')}" if reached else never
    return {
        "target": TableCell(target, f"{100 * target:.4g}"),
        "reached": TableCell(reached, text),
        **{key: _cost(found, key, row, never) for key in _COSTS},
    }


def _cost(found: Sequence[Curve], key: str, row: Row, never: str) -> TableCell:
    cost, _, unit = _COSTS[key]
    middle, low, high = curves.over_seeds(found, cost)
    if middle is None:
        return TableCell(text=never)
    text = _amount(middle, unit)
    if low != high:
        text += f" ({_amount(low, unit)} to {_amount(high, unit)})"
    return TableCell(middle, text, source=row)


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return "never"
    return units.quantity(value, unit) if unit else f"{value:g}"


def accuracy_frames(view: View) -> Table:
    """Shares at each T, for settings with two T or more; no row where there is one T."""
    found = [
        (setting, metric, series)
        for metric in SHARES
        for setting in view.settings(metric)
        if len(frame_counts(every := view.series(setting, metric))) > 1
        for series in every.values()
    ]
    shares = [row for _, _, series in found for row in series.values()]
    once = any(len(view.members(row)) == 1 for row in shares)
    counts = sorted({row.frames for row in shares})
    return table(
        name="accuracy_frames",
        title="Accuracy against frames",
        note=(
            "Shares in %, each of a training at that T, evaluated at the same T; their intervals "
            "are in the table of accuracy. Gain: at the most frames minus at the fewest, in "
            "percentage points, with its 95 % interval, not adjusted for the number of "
            f"lines. {pooled_seeds.WHAT_VARIES}{f' {versus_pks4.ONE_SEED}' if once else ''}"
        ),
        columns=(
            *columns.SETTING,
            columns.TASK,
            Column("metric", "accuracy"),
            *columns.CONTESTANT,
            *(Column(f"t{t}", f"T = {t}", numeric=True) for t in counts),
            *columns.interval_columns("gain", "gain"),
            Column("between", "between T"),
            columns.SEEDS,
            Column("method", "how"),
        ),
        rows=[_frames_row(view, setting, metric, one, counts) for setting, metric, one in found],
    )


def _frames_row(
    view: View, setting: Setting, metric: str, series: Series, counts: Sequence[int]
) -> TableRow:
    first, last = series[min(series)], series[max(series)]
    return {
        **columns.place_cells(view, setting, last.label),
        "metric": words(SHARES[metric]),
        **{f"t{t}": value_of(series.get(t), _percent(series.get(t))) for t in counts},
        **_gain(view, first, last),
    }


def _gain(view: View, first: Row, last: Row) -> TableRow:
    """The cells of the gain from the fewest to the most frames; empty where they are one."""
    found = versus_pks4.difference(view, last, first) if first.frames < last.frames else None
    if found is None:
        return {k: TableCell() for k in ("gain", "low", "high", "between", "seeds", "method")}
    return {
        **columns.point_cells("gain", found, last),
        "between": words(f"{first.frames} to {last.frames}"),
        "seeds": words(found.seeds),
        "method": words(found.method),
    }
