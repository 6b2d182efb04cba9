"""The tables of accuracy: shares with intervals, and differences to PKS4."""

from collections.abc import Mapping, Sequence
from typing import Any

from pks4.bench import against, lines, seeds, units
from pks4.bench.against import SHARES, Against
from pks4.bench.sheet import Column, Entry, Line, Table, number, table, text
from pks4.bench.view import Row, Setting, View

_SEEDS = Column(key="seeds", heading="seeds", numeric=True)


def accuracy(view: View) -> Table:
    """Top-1, top-5 and within-pair accuracy with their intervals, beside the training's cost."""
    made = [
        {
            **lines.place(setting),
            **lines.who(view, label),
            **lines.at(frames),
            **_shares(view, setting, label, frames),
            **_training(view, setting, label, frames),
        }
        for setting, label, frames in lines.measured(view, [*SHARES])
    ]
    several = any(line["seeds"].value > 1 for line in made)
    note = (
        "Shares of test clips in %: means over seeds with their 95 % intervals (Student's t; none "
        f"where all seeds agree; with one seed, Wilson over clips). {seeds.WHAT_VARIES}"
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
            *lines.SETTING,
            Column(key="task", heading="task"),
            *lines.WHO,
            lines.FRAMES,
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
    found = [(setting, one) for setting in settings for one in against.compare(view, setting)]
    who = view.name(view.reference) if view.reference else "PKS4"
    counts = [one.family for _, one in found] or [0]
    once = any(one.seeds == 1 for _, one in found)
    note = (
        f"Shares in %. Difference: contestant minus {who}, in percentage points, with its 95 % "
        f"interval by itself. The word weighs all comparisons of a setting and T at once "
        f"({seeds.span(counts)}): Holm-adjusted p below {seeds.LEVEL}, else inconclusive; a t-test "
        f"needs {seeds.LEAST_SEEDS} seeds. {seeds.WHAT_VARIES}"
    )
    if once:
        note += f" {against.ONE_SEED}"
    return table(
        name="accuracy_differences",
        title=f"Accuracy against {who}",
        note=note,
        columns=(
            *lines.SETTING,
            lines.TASK,
            Column(key="metric", heading="accuracy"),
            *lines.WHO,
            lines.FRAMES,
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
        **lines.place(setting),
        "metric": text(SHARES[one.metric]),
        **lines.who(view, one.row.label),
        **lines.at(one.row.frames),
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
