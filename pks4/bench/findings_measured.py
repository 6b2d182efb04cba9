"""Sentences about what was timed and trained: verdicts of ratios, accuracy with intervals."""

from collections.abc import Iterator, Mapping

from pks4.bench import seeds, units
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
    """For each task: the best top-1, how settled it is, who differs, within-pair, and costs."""
    for setting in view.settings("top1"):
        series = view.series(setting, "top1")
        frames = common_frames(series)
        rows = at(series, frames)
        if len(rows) > 1:
            yield _best(view, setting, rows, frames)
        yield from _paired(view, setting, rows, frames)
        yield from _within_pair(view, setting, frames)
        macs = at(view.series(setting, "training_macs"), frames)
        if len(macs) > 1:
            what = f"MACs of the whole training ({setting.task or setting.grid}, T = {frames})"
            yield from multiples(view, macs, what)


def _best(view: View, setting: Setting, rows: Rows, frames: int) -> Finding:
    first = highest(rows)
    best = rows[first[0]]
    place = f"T = {frames}, {setting.scale} scale"
    if any(row.records for row in rows.values()):
        place += f", means of {seeds.span(max(1, len(row.records)) for row in rows.values())} seeds"
    words = (
        f"Best top-1 on {setting.task or setting.grid} ({place}): "
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


def _paired(view: View, setting: Setting, rows: Rows, frames: int) -> Iterator[Finding]:
    """Who is lower than the reference, who higher, and who cannot be told apart from it."""
    found = seeds.compare(rows, view.reference)
    if not found:
        return
    groups: dict[str, list[str]] = {}
    for label, one in found.items():
        groups.setdefault(one.word, []).append(label)
    told = [
        f"{word}: {units.listed(_spoken(view, found, label) for label in groups[word])}"
        for word in ("lower", "higher")
        if word in groups
    ]
    unsettled = groups.get("inconclusive", [])
    if unsettled:
        many = f"{'the other' if told else 'all'} {len(unsettled)}"
        told.append(f"not told apart: {named(view, unsettled) if len(unsettled) <= 8 else many}")
    counts = [len(one.seeds) for one in found.values()]
    words = (
        f"Top-1 against {view.name(view.reference)}, paired over {seeds.span(counts)} seeds and "
        f"weighed as {units.counted(len(found), 'comparison')} ({setting.title}, T = {frames}): "
        f"{'; '.join(told)}."
    )
    if min(counts) < seeds.LEAST_SEEDS:
        words += f" Fewer than {seeds.LEAST_SEEDS} seeds tell nothing apart."
    judged = [rows[label] for label in found if label not in unsettled]
    yield Finding(words=words, sources=(rows[view.reference], *judged))


def _spoken(view: View, found: Mapping[str, seeds.Difference], label: str) -> str:
    return f"{view.name(label)} ({units.points(found[label].estimate.mean)} points)"


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
