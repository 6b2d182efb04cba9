"""Sentences about convergence: who reached the target, at what cost, and who may still rise."""

from collections.abc import Iterator, Mapping, Sequence

from pks4.bench import curves, seeds, units
from pks4.bench.curves import Curve
from pks4.bench.sentences import Finding, named
from pks4.bench.view import Setting, View


def convergence(view: View) -> Iterator[Finding]:
    """One finding for each setting with validation curves of two contestants or more."""
    for setting in view.settings(curves.METRIC):
        frames, found = curves.at_common_frames(view, setting)
        if len(found) > 1:
            series = view.series(setting, curves.METRIC)
            words = f"{_target(view, setting, found, frames)}{_rising(view, found)}"
            sources = tuple(series[label][frames] for label in found)
            yield Finding(words=words, sources=sources)


def _target(view: View, setting: Setting, found: Mapping[str, Sequence[Curve]], frames: int) -> str:
    """Who reached the target with half of the seeds or more, and who with the least compute."""
    epochs = seeds.span(len(curve.top1) for own in found.values() for curve in own)
    place = f"{setting.title}, T = {frames}, {epochs} epochs"
    targets = {curve.target for own in found.values() for curve in own}
    if None in targets or len(targets) > 1:
        return f"Validation top-1 was followed over the training ({place})."
    spent = {
        label: curves.over_seeds(own, lambda curve, epoch: curve.macs[epoch - 1])[0]
        for label, own in found.items()
    }
    reached = {label: macs for label, macs in spent.items() if macs is not None}
    target = units.percent(targets.pop())
    words = f"The target of {target} top-1 on the validation clips ({place}) was reached by "
    if not reached:
        return f"{words}nobody."
    least = min(reached, key=reached.__getitem__)
    words += f"{len(reached)} of {len(found)}, with the least compute by {view.name(least)}, "
    words += units.quantity(reached[least], "MAC")
    missed = [label for label in found if label not in reached]
    return words + (f"; not reached by {named(view, missed)}." if missed else ".")


def _rising(view: View, found: Mapping[str, Sequence[Curve]]) -> str:
    """Who was best in the last epoch with every seed, and so may not have converged."""
    rising = [k for k, own in found.items() if all(c.best == len(c.top1) for c in own)]
    if not rising:
        return ""
    return f" Best in the last epoch, and so perhaps not at the end: {named(view, rising)}."
