"""Sentences about what was timed: verdicts of ratios."""

from collections.abc import Iterator

from pks4.bench import units
from pks4.bench.sentences import Finding, Rows, at
from pks4.bench.view import Setting, View


def timing(view: View) -> Iterator[Finding]:
    """For each setting and T: who is slower, faster, the same, or not told apart.

    The reference beside itself is no finding; the table of times has it.
    """
    for setting in view.settings("step_ratio"):
        series = view.series(setting, "step_ratio")
        for frames in sorted({t for found in series.values() for t in found}):
            rows = at(series, frames)
            rivals = {k: row for k, row in rows.items() if row.detail.get("reference") != k}
            if rivals:
                yield _verdicts(view, setting, rivals, frames)


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
