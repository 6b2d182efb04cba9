"""Sentences about trainings: accuracy and convergence.

Accuracy: who is best, who is above PKS4, who uses order, who had not flattened, at what cost.
Convergence: who reached the target, at what cost, and who may still rise.
"""

from collections.abc import Iterator, Mapping, Sequence

from pks4.bench import units
from pks4.bench.report.findings.sentences import (
    Finding,
    Rows,
    at,
    highest,
    multiples,
    named,
    ours_besides,
)
from pks4.bench.stats import intervals
from pks4.bench.view import curves, pooled_seeds, trainings, versus_pks4
from pks4.bench.view.curves import Curve
from pks4.bench.view.rows import Row, Setting
from pks4.bench.view.versus_pks4 import SHARES, Difference
from pks4.bench.view.view import FLOOR_FAMILY, PKS4_FAMILY, View, common_frames

COIN = 0.5  # within a pair of time-reversed classes, a bag of frames can only guess
_METRICS = ("top1", "within_pair")
_RIVALS, _VARIANTS = ("rival", "rivals"), ("variant of its own", "variants of its own")


def accuracy(view: View) -> Iterator[Finding]:
    """For each task: the best top-1, how settled it is, who differs, within-pair, and costs."""
    for setting in view.settings("top1"):
        series = view.series(setting, "top1")
        frames = common_frames(series)
        rows = at(series, frames)
        if len(rows) > 1:
            yield _best(view, setting, rows, frames)
        yield from _compared(view, setting, frames)
        yield from _within_pair(view, setting, frames)
        yield from _ends(view, rows)
        macs = at(view.series(setting, "training_macs"), frames)
        if len(macs) > 1:
            what = f"MACs of the whole training ({setting.task or setting.grid}, T = {frames})"
            yield from multiples(view, macs, what)


def _best(view: View, setting: Setting, rows: Rows, frames: int) -> Finding:
    first = highest(rows)
    best = rows[first[0]]
    place = f"T = {frames}, {setting.scale} scale"
    if any(row.records for row in rows.values()):
        counts = (max(1, len(row.records)) for row in rows.values())
        place += f", means of {pooled_seeds.span(counts)} seeds"
    words = (
        f"Best top-1 on {setting.task or setting.grid} ({place}): "
        f"{named(view, first)}, {_share(best)}. {_settled(view, rows, first)}"
    )
    for ours in (besides := ours_besides(view, rows, first)):
        words = f"{words.strip()} {view.name(view.ours)}: {_share(ours)}."
    return Finding(words=words.strip(), sources=(*map(rows.__getitem__, first), *besides))


def _settled(view: View, rows: Rows, first: list[str]) -> str:
    """Whether the intervals separate the best from the rest."""
    ends = rows[first[0]].interval()
    others = {label: row.interval() for label, row in rows.items() if label not in first}
    known = {label: interval for label, interval in others.items() if interval is not None}
    if ends is None or not known or len(known) < len(others):
        return ""
    close = [label for label, interval in known.items() if interval[1] >= ends[0]]
    if not close:
        return "No other contestant's interval reaches it."
    if len(close) > 3:
        return f"The intervals of {len(close)} others overlap it: the order among them is open."
    return f"The order against {named(view, close)} is open: their intervals overlap."


def _compared(view: View, setting: Setting, frames: int) -> Iterator[Finding]:
    """Which rivals, and which variants of PKS4, are above it, below it, or inconclusive."""
    for metric in _METRICS:
        every = [
            d
            for d in versus_pks4.compare(view, setting)
            if d.metric == metric and d.row.frames == frames
        ]
        compared = {view.ours, *(d.row.label for d in every)}
        left = [x for x in at(view.series(setting, metric), frames) if x not in compared]
        for variants, what in ((False, _RIVALS), (True, _VARIANTS)):
            differences = [d for d in every if _is_variant(view, d.row.label) is variants]
            if differences:
                rest = [label for label in left if _is_variant(view, label) is variants]
                yield _against_ours(view, setting, differences, what, rest)


def _is_variant(view: View, label: str) -> bool:
    return view.family(label) == PKS4_FAMILY


def _against_ours(
    view: View, setting: Setting, found: list[Difference], what: tuple[str, str], left: list[str]
) -> Finding:
    """One sentence on those that were compared; those in `left` could not be."""
    ours, first = view.name(view.ours), found[0]
    higher, lower, unsettled = (
        [d for d in found if d.verdict == verdict]
        for verdict in ("higher", "lower", "inconclusive")
    )
    metric, frames = SHARES[first.metric], first.row.frames
    words = f"{metric.capitalize()} against {ours} ({setting.title}, T = {frames}): "
    words += _side(view, higher, len(found), what, "above")
    words += f"; {_side(view, lower, len(found), what, 'below')}"
    if unsettled:
        words += f"; inconclusive against {_each(view, unsettled)}"
    if left:
        words += f"; not compared, for want of the same clips or of seeds: {named(view, left)}"
    methods = units.listed(dict.fromkeys(d.method for d in found))
    words += f". By {methods}; {units.level(first.level)} intervals, each by itself, the verdicts "
    words += f"weigh {units.counted(first.family, 'comparison')} at once."
    if any(d.seeds == 1 for d in found):
        words += f" {versus_pks4.ONE_SEED}"
    elif any(d.seeds < intervals.LEAST_SEEDS and d.p is None for d in found):
        words += f" Fewer than {intervals.LEAST_SEEDS} seeds tell nothing apart."
    return Finding(words=words, sources=(first.ours, *(d.row for d in found)))


def _side(view: View, found: list[Difference], total: int, what: tuple[str, str], side: str) -> str:
    if not found:
        return f"no {what[0]} is shown to be {side}"
    return f"{side}, {len(found)} of {units.counted(total, *what)}: {_each(view, found)}"


def _each(view: View, found: list[Difference]) -> str:
    """Each with its difference and interval, the largest first."""
    words = []
    for d in sorted(found, key=lambda d: -d.value):
        ends = f" [{units.point_interval(d.interval)}]" if d.interval else ""
        words.append(f"{view.name(d.row.label)} ({units.points(d.value)}{ends} points)")
    return units.listed(words)


def _within_pair(view: View, setting: Setting, frames: int) -> Iterator[Finding]:
    """Who distinguishes time-reversed classes, and whether the 2D floor is at its bound."""
    rows = at(view.series(setting, "within_pair"), frames)
    judged = {label: ends for label, row in rows.items() if (ends := row.interval()) is not None}
    if not judged:
        return
    for label, ends in judged.items():
        if view.family(label) == FLOOR_FAMILY:
            words = f"{view.name(label)} {_floor(rows[label], ends)}"
            yield Finding(words=words, sources=(rows[label],))
    above = [label for label, (low, _) in judged.items() if low > COIN]
    if len(above) == len(judged):
        who = f"all {len(judged)} contestants"
    else:
        who = f"{len(above)} of {len(judged)} contestants"
        who += f" ({named(view, above)})" if 0 < len(above) <= 6 else ""
    words = f"Direction in time is used by {who}: within pairs above 50 %, interval included."
    yield Finding(words=words, sources=tuple(rows[label] for label in above))


def _ends(view: View, rows: Rows) -> Iterator[Finding]:
    """Who had not flattened when the training ended."""
    ends = {k: trainings.end_of(view, row.setting, k, row.frames) for k, row in rows.items()}
    known = {label: end for label, end in ends.items() if end is not None}
    if not known:
        return
    moving = [f"{view.name(label)} ({end.words})" for label, end in known.items() if not end.flat]
    place = next(iter(rows.values()))
    where = f"over the last fifth of the epochs ({place.setting.title}, T = {place.frames})"
    unknown = [label for label in rows if label not in known]
    words = f"Every {'known ' if unknown else ''}training was flat {where}."
    if moving:
        words = f"Not flat {where}: {units.listed(moving)}. Longer trainings may end elsewhere."
    if unknown:
        words += f" Not known of {named(view, unknown)}."
    yield Finding(words=words, sources=tuple(rows[label] for label in known))


def _floor(row: Row, ends: tuple[float, float]) -> str:
    low, high = ends
    if low <= COIN <= high:
        return f"is at {_share(row)} within pairs: 50 % is what a bag of frames can reach."
    side = "above" if low > COIN else "below"
    return f"is at {_share(row)} within pairs, {side} the 50 % of a bag of frames."


def _share(row: Row) -> str:
    interval = row.interval()
    level = units.level(intervals.LEVEL)
    ends = f" [{level}: {units.percent_interval(interval)}]" if interval else ""
    return f"{units.percent(row.value)}{ends}"


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
    epochs = pooled_seeds.span(len(curve.top1) for one in found.values() for curve in one)
    place = f"{setting.title}, T = {frames}, {epochs} epochs"
    targets = {curve.target for one in found.values() for curve in one}
    if None in targets or len(targets) > 1:
        return f"Validation top-1 was followed over the training ({place})."
    spent = {
        label: curves.over_seeds(one, lambda curve, epoch: curve.macs[epoch - 1])[0]
        for label, one in found.items()
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
    rising = [k for k, one in found.items() if all(c.best == len(c.top1) for c in one)]
    if not rising:
        return ""
    return f" Best in the last epoch, and so perhaps not at the end: {named(view, rising)}."
