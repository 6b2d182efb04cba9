"""The table of convergence: how far, how fast, and whether a target was reached at all."""

from collections.abc import Callable, Sequence
from statistics import median_high

from pks4.bench import curves, lines, seeds, units
from pks4.bench.curves import Curve
from pks4.bench.sheet import Column, Entry, Line, Table, table, text
from pks4.bench.tables_accuracy import share
from pks4.bench.view import Row, Setting, View

_COSTS: dict[str, tuple[Callable[[Curve, int], float], str, str]] = {
    "epochs_to_target": (lambda _, epoch: epoch, "epochs to target", ""),
    "macs_to_target": (lambda curve, epoch: curve.macs[epoch - 1], "compute to target", "MAC"),
    "seconds_to_target": (lambda curve, epoch: curve.seconds[epoch - 1], "time to target", "s"),
}


def convergence(view: View) -> Table:
    """One line a contestant and T with a validation curve."""
    rows = [
        (setting, view.series(setting, curves.METRIC)[label][frames])
        for setting, label, frames in lines.measured(view, [curves.METRIC])
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
            f"{', and ran beside other cells' if beside else ''}. {seeds.WHAT_VARIES}"
        ),
        columns=(
            *lines.SETTING,
            lines.TASK,
            *lines.WHO,
            lines.FRAMES,
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
        lines=[_line(view, setting, row) for setting, row in rows],
    )


def _line(view: View, setting: Setting, row: Row) -> Line:
    found = curves.of(view, row)
    epochs = [len(curve.top1) for curve in found]
    return {
        **lines.place(setting),
        **lines.who(view, row.label),
        **lines.at(row.frames),
        "seeds": text(len(found)),
        "epochs": text(seeds.span(epochs)),
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
    epochs = seeds.span(len(curve.top1) for curve in found)
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
