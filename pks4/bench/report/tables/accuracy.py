"""The tables of accuracy: shares with intervals, and differences to PKS4.

The table of convergence: how far, how fast, and whether a target was reached at all.

The table of accuracy against T: one line a contestant and metric, and what more frames bring.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import median_high
from typing import Any

from pks4.bench import units
from pks4.bench.report.tables import columns
from pks4.bench.report.tables.table import Column, Entry, Line, Table, number, table, text
from pks4.bench.stats import intervals
from pks4.bench.view import curves, pooled_seeds, versus_pks4
from pks4.bench.view.curves import Curve
from pks4.bench.view.rows import Row, Series, Setting
from pks4.bench.view.versus_pks4 import SHARES, Against
from pks4.bench.view.view import View, frame_counts

_SEEDS = Column(key="seeds", heading="seeds", numeric=True)


def accuracy(view: View) -> Table:
    """Top-1, top-5 and within-pair accuracy with their intervals, beside the training's cost."""
    made = [
        {
            **columns.place(setting),
            **columns.who(view, label),
            **columns.at(frames),
            **_shares(view, setting, label, frames),
            **_training(view, setting, label, frames),
        }
        for setting, label, frames in columns.measured(view, [*SHARES])
    ]
    several = any(line["seeds"].value > 1 for line in made)
    note = (
        "Shares of test clips in %: means over seeds with their 95 % intervals (Student's t; none "
        f"where all seeds agree; with one seed, Wilson over clips). {pooled_seeds.WHAT_VARIES}"
    )
    one = (
        "Shares of test clips in %, with their 95 % intervals (Wilson). One seed: the intervals "
        "hold for other clips, not for another training."
    )
    return table(
        name="accuracy",
        title="Accuracy",
        note=note if several else one,
        columns=(
            *columns.SETTING,
            Column(key="task", heading="task"),
            *columns.WHO,
            columns.FRAMES,
            *((_SEEDS,) if several else ()),
            *(column for key, heading in SHARES.items() for column in _columns(key, heading)),
            Column(key="chance", heading="chance", numeric=True),
            Column(key="clips", heading="clips", numeric=True),
            Column(key="training_macs", heading="training", unit="MAC"),
            Column(key="training_seconds", heading="training", unit="s"),
            Column(key="learning_rate", heading="learning rate", numeric=True),
        ),
        lines=made,
    )


def _columns(key: str, heading: str) -> Sequence[Column]:
    return (
        Column(key=key, heading=heading, numeric=True),
        Column(key=f"{key}_low", heading="low", raw_only=True),
        Column(key=f"{key}_high", heading="high", raw_only=True),
    )


def _shares(view: View, setting: Setting, label: str, frames: int) -> Line:
    fields: dict[str, Entry] = {}
    for key in SHARES:
        fields |= share(key, view.find(setting, key, label, frames))
    return fields


def share(key: str, row: Row | None) -> dict[str, Entry]:
    """The fields of a share of clips with its interval, in %; raw values are shares of 1."""
    ends = row.interval() if row else None
    low, high = ends or (None, None)
    told = f" [{units.percent_interval(ends)}]" if ends else ""
    shown = f"{100 * row.value:.1f}{told}" if row else None
    return {key: number(row, shown), f"{key}_low": text(low), f"{key}_high": text(high)}


def _training(view: View, setting: Setting, label: str, frames: int) -> Line:
    top1 = view.find(setting, "top1", label, frames)
    detail: Mapping[str, Any] = top1.detail if top1 else {}
    evidence: Mapping[str, Any] = top1.evidence if top1 else {}
    chance = detail.get("chance")
    shown = units.MISSING if chance is None else f"{100 * chance:.1f}"
    return {
        "seeds": text(max(1, len(top1.records)) if top1 else 0),
        "chance": Entry(value=chance, text=shown),
        "clips": text(detail.get("clips")),
        "training_macs": number(view.find(setting, "training_macs", label, frames)),
        "training_seconds": number(view.find(setting, "training_seconds", label, frames)),
        "learning_rate": text(evidence.get("learning_rate")),
    }


def differences(view: View) -> Table:
    """Each contestant's accuracy against the reference's, with how it was found and a word."""
    settings = dict.fromkeys(s for metric in SHARES for s in view.settings(metric))
    found = [(setting, one) for setting in settings for one in versus_pks4.compare(view, setting)]
    who = view.name(view.reference) if view.reference else "PKS4"
    counts = [one.family for _, one in found] or [0]
    once = any(one.seeds == 1 for _, one in found)
    note = (
        f"Shares in %. Difference: contestant minus {who}, in percentage points, with its 95 % "
        f"interval by itself. The word weighs all comparisons of a setting and T at once "
        f"({pooled_seeds.span(counts)}): Holm-adjusted p below {intervals.LEVEL}, else "
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
            Column(key="metric", heading="accuracy"),
            *columns.WHO,
            columns.FRAMES,
            _SEEDS,
            Column(key="share", heading="share", numeric=True),
            Column(key="reference_share", heading=who, numeric=True),
            Column(key="difference", heading="difference", numeric=True),
            Column(key="low", heading="low", raw_only=True),
            Column(key="high", heading="high", raw_only=True),
            Column(key="p", heading="p, Holm", numeric=True),
            Column(key="word", heading="is"),
            Column(key="method", heading="how"),
        ),
        lines=[_difference(view, setting, one) for setting, one in found],
    )


def _difference(view: View, setting: Setting, one: Against) -> Line:
    low, high = one.interval or (None, None)
    told = f" [{units.point_interval(one.interval)}]" if one.interval else ""
    p = units.MISSING if one.p is None else units.significant(one.p, 2)
    return {
        **columns.place(setting),
        "metric": text(SHARES[one.metric]),
        **columns.who(view, one.row.label),
        **columns.at(one.row.frames),
        "seeds": text(one.seeds),
        "share": number(one.row, f"{100 * one.row.value:.1f}"),
        "reference_share": number(one.base, f"{100 * one.base.value:.1f}"),
        "difference": Entry(value=one.value, text=units.points(one.value) + told, source=one.row),
        "low": text(low),
        "high": text(high),
        "p": Entry(value=one.p, text=p),
        "word": Entry(value=one.word, text=one.word, tone=one.word),
        "method": text(one.method),
    }


_COSTS: dict[str, tuple[Callable[[Curve, int], float], str, str]] = {
    "epochs_to_target": (lambda _, epoch: epoch, "epochs to target", ""),
    "macs_to_target": (lambda curve, epoch: curve.macs[epoch - 1], "compute to target", "MAC"),
    "seconds_to_target": (lambda curve, epoch: curve.seconds[epoch - 1], "time to target", "s"),
}


def convergence(view: View) -> Table:
    """One line a contestant and T with a validation curve."""
    rows = [
        (setting, view.series(setting, curves.METRIC)[label][frames])
        for setting, label, frames in columns.measured(view, [curves.METRIC])
    ]
    beside = any(row.evidence.get("alone") is False for _, row in rows)
    return table(
        name="convergence",
        title="Convergence",
        note=(
            "Top-1 on the validation split after each epoch, in %; the best epoch is chosen on the "
            "same clips, so the test's top-1 is the number to quote. 98 %: the first epoch with "
            "that share of a training's own best. A best in the last epoch may still have risen. "
            "Medians over seeds (least to most); a seed that missed the target counts as later "
            "than all that reached it. Seconds hold for this machine"
            f"{', and ran beside other cells' if beside else ''}. {pooled_seeds.WHAT_VARIES}"
        ),
        columns=(
            *columns.SETTING,
            columns.TASK,
            *columns.WHO,
            columns.FRAMES,
            Column(key="seeds", heading="seeds", numeric=True),
            Column(key="epochs", heading="epochs", numeric=True),
            Column(key="val_top1_best", heading="best top-1", numeric=True),
            Column(key="val_top1_best_low", heading="low", raw_only=True),
            Column(key="val_top1_best_high", heading="high", raw_only=True),
            Column(key="best_epoch", heading="best in epoch", numeric=True),
            Column(key="nearly_epoch", heading="98 % in epoch", numeric=True),
            Column(key="target", heading="target", numeric=True),
            Column(key="reached", heading="target reached"),
            *(
                Column(key=key, heading=heading, numeric=True)
                for key, (_, heading, _) in _COSTS.items()
            ),
        ),
        lines=[_convergence_line(view, setting, row) for setting, row in rows],
    )


def _convergence_line(view: View, setting: Setting, row: Row) -> Line:
    found = curves.of(view, row)
    epochs = [len(curve.top1) for curve in found]
    return {
        **columns.place(setting),
        **columns.who(view, row.label),
        **columns.at(row.frames),
        "seeds": text(len(found)),
        "epochs": text(pooled_seeds.span(epochs)),
        **share(curves.METRIC, row),
        "best_epoch": _over_seeds([curve.best for curve in found], row),
        "nearly_epoch": _over_seeds([curve.nearly for curve in found], row),
        **_target(found, row),
    }


def _over_seeds(values: Sequence[int], row: Row) -> Entry:
    """A median with its range, where there are several."""
    middle, low, high = median_high(values), min(values), max(values)
    told = f" ({low} to {high})" if low < high else ""
    return Entry(value=middle, text=f"{middle}{told}", source=row)


def _target(found: Sequence[Curve], row: Row) -> Line:
    """What the target took; a target that was missed is said to be, a missing one is a dash."""
    keys = ("target", "reached", *_COSTS)
    target = found[0].target
    if target is None:
        return {key: Entry() for key in keys}
    reached = sum(curve.reached is not None for curve in found)
    epochs = pooled_seeds.span(len(curve.top1) for curve in found)
    never = f"not reached in {epochs} epochs"
    told = f"{reached} of {units.counted(len(found), 'seed')}"
    return {
        "target": Entry(value=target, text=f"{100 * target:.4g}"),
        "reached": Entry(value=reached, text=told if reached else never),
        **{key: _cost(found, key, row, never) for key in _COSTS},
    }


def _cost(found: Sequence[Curve], key: str, row: Row, never: str) -> Entry:
    cost, _, unit = _COSTS[key]
    middle, low, high = curves.over_seeds(found, cost)
    if middle is None:
        return Entry(text=never)
    told = f" ({_amount(low, unit)} to {_amount(high, unit)})" if low != high else ""
    return Entry(value=middle, text=f"{_amount(middle, unit)}{told}", source=row)


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return "never"
    return units.quantity(value, unit) if unit else f"{value:g}"


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
            f"lines. {pooled_seeds.WHAT_VARIES}{f' {versus_pks4.ONE_SEED}' if once else ''}"
        ),
        columns=(
            *columns.SETTING,
            columns.TASK,
            Column(key="metric", heading="accuracy"),
            *columns.WHO,
            *(Column(key=f"t{t}", heading=f"T = {t}", numeric=True) for t in counts),
            Column(key="gain", heading="gain", numeric=True),
            Column(key="low", heading="low", raw_only=True),
            Column(key="high", heading="high", raw_only=True),
            Column(key="between", heading="between T"),
            Column(key="seeds", heading="seeds", numeric=True),
            Column(key="method", heading="how"),
        ),
        lines=[_frames_line(view, *one, counts) for one in made],
    )


def _frames_line(
    view: View, setting: Setting, metric: str, found: Series, counts: list[int]
) -> Line:
    last = found[max(found)]
    return {
        **columns.place(setting),
        "metric": text(SHARES[metric]),
        **columns.who(view, last.label),
        **{f"t{t}": _share(found.get(t)) for t in counts},
        **_gain(view, found[min(found)], last),
    }


def _share(row: Row | None) -> Entry:
    return number(row, f"{100 * row.value:.1f}" if row else None)


def _gain(view: View, first: Row, last: Row) -> Mapping[str, Entry]:
    """The fields of the gain from the fewest to the most frames; empty where they are one."""
    found = versus_pks4.difference(view, last, first) if first.frames < last.frames else None
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
