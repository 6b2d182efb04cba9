"""Sentences about what was timed and trained: verdicts of ratios, accuracy with intervals."""

from collections.abc import Iterator

from pks4.bench import units
from pks4.bench.sentences import Finding, Rows, at, highest, multiples, named
from pks4.bench.view import FLOOR_FAMILY, Row, Setting, View, common_frames

COIN = 0.5  # within a pair of time-reversed classes, a bag of frames can only guess


def timing(view: View) -> Iterator[Finding]:
    """For each setting and T: who is slower, faster, the same, or not told apart."""
    for setting in view.settings("step_ratio"):
        series = view.series(setting, "step_ratio")
        for frames in sorted({t for found in series.values() for t in found}):
            yield _verdicts(view, setting, at(series, frames), frames)


def _verdicts(view: View, setting: Setting, rows: Rows, frames: int) -> Finding:
    groups: dict[str, list[str]] = {}
    for label, row in rows.items():
        spoken = f"{view.name(label)} ({units.times(row.value)})"
        groups.setdefault(str(row.detail.get("verdict", "no verdict")), []).append(spoken)
    references = sorted({row.detail.get("reference", "the reference") for row in rows.values()})
    known = [view.name(one) if one in view.contestants else one for one in references]
    order = ("faster", "same", "slower", "inconclusive")
    told = [
        f"{verdict}: {units.listed(groups[verdict])}"
        for verdict in dict.fromkeys([*order, *groups])
        if verdict in groups
    ]
    words = f"Time of a training step against {units.listed(known)} at T = {frames} "
    return Finding(
        words=f"{words}({setting.title}): {'; '.join(told)}.", sources=tuple(rows.values())
    )


def accuracy(view: View) -> Iterator[Finding]:
    """For each task: the best top-1, how settled it is, within-pair, and what training cost."""
    for setting in view.settings("top1"):
        series = view.series(setting, "top1")
        frames = common_frames(series)
        rows = at(series, frames)
        if len(rows) > 1:
            yield _best(view, setting, rows, frames)
        yield from _within_pair(view, setting, frames)
        macs = at(view.series(setting, "training_macs"), frames)
        if len(macs) > 1:
            what = f"MACs of the whole training ({setting.task or setting.grid}, T = {frames})"
            yield from multiples(view, macs, what)


def _best(view: View, setting: Setting, rows: Rows, frames: int) -> Finding:
    first = highest(rows)
    best = rows[first[0]]
    words = (
        f"Best top-1 on {setting.task or setting.grid} (T = {frames}, {setting.scale} scale): "
        f"{named(view, first)}, {_share(best)}. {_settled(view, rows, first)}"
    )
    sources = [rows[label] for label in first]
    if view.reference in rows and view.reference not in first:
        ours = rows[view.reference]
        words += f" {view.name(view.reference)}: {_share(ours)}."
        sources.append(ours)
    return Finding(words=words.strip(), sources=tuple(sources))


def _settled(view: View, rows: Rows, first: list[str]) -> str:
    """Whether the intervals tell the best apart from the rest."""
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


def _within_pair(view: View, setting: Setting, frames: int) -> Iterator[Finding]:
    """Who tells time-reversed classes apart, and whether the 2D floor is at its bound."""
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
    words = f"Order in time is used by {who}: within-pair accuracy above 50 %, interval included."
    yield Finding(words=words, sources=tuple(rows[label] for label in above))


def _floor(row: Row, ends: tuple[float, float]) -> str:
    low, high = ends
    if low <= COIN <= high:
        return f"is at {_share(row)} within pairs: 50 % is what a bag of frames can reach."
    side = "above" if low > COIN else "below"
    return f"is at {_share(row)} within pairs, {side} the 50 % of a bag of frames."


def _share(row: Row) -> str:
    interval = row.interval()
    told = f" [{units.percent_interval(interval)}]" if interval else ""
    return f"{units.percent(row.value)}{told}"
