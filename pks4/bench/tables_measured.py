"""The tables of what was timed and trained: ratios with verdicts, accuracy with intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

from pks4.bench import lines, power, seeds, units
from pks4.bench.sentences import at
from pks4.bench.sheet import Column, Entry, Line, Table, number, table, text
from pks4.bench.view import OK, Row, Setting, View


def timing(view: View) -> Table:
    """Median seconds of forward and step, and paired ratios to the reference with verdicts."""
    keys = ("forward_seconds", "step_seconds", "forward_ratio", "step_ratio")
    made = [
        {
            **lines.place(setting),
            **lines.who(view, label),
            **lines.at(frames),
            **{k: number(view.find(setting, k, label, frames)) for k in keys[:2]},
            **_ratio("forward", view.find(setting, keys[2], label, frames)),
            **_ratio("step", view.find(setting, keys[3], label, frames)),
        }
        for setting, label, frames in lines.measured(view, keys)
    ]
    references = {
        str(row.detail["reference"])
        for row in view.rows
        if row.metric in keys[2:] and row.status == OK and "reference" in row.detail
    }
    told = f"; the reference is {units.listed(sorted(references))}" if references else ""
    return table(
        name="time",
        title="Wall-clock time",
        note=f"Medians over rounds. Ratio: candidate ÷ reference, 95 % interval{told}.",
        columns=(
            *lines.SETTING,
            lines.TASK,
            *lines.WHO,
            lines.FRAMES,
            Column(key="forward_seconds", heading="forward", unit="s"),
            Column(key="step_seconds", heading="step", unit="s"),
            *_ratio_columns("forward"),
            *_ratio_columns("step"),
        ),
        lines=made,
    )


def growth(view: View) -> Table:
    """How seconds grow with frames: a + b T^p, where there are enough numbers of frames."""
    made = []
    for metric in ("forward_seconds", "step_seconds"):
        for setting in view.settings(metric):
            for label, found in view.series(setting, metric).items():
                fitted = power.fit(
                    {t: row.detail.get("samples_seconds", [row.value]) for t, row in found.items()}
                )
                if fitted is None:
                    continue
                low, high = fitted.interval
                last = found[max(found)]
                made.append(
                    {
                        **lines.place(setting),
                        **lines.who(view, label),
                        "metric": text(metric.removesuffix("_seconds")),
                        "constant": Entry(value=fitted.a, source=last),
                        "power": Entry(
                            value=fitted.p,
                            text=f"{fitted.p:.2f} [{low:.2f} to {high:.2f}]",
                            source=last,
                        ),
                        "power_low": text(low),
                        "power_high": text(high),
                        "factor": text(fitted.b),
                        "range": text(f"{fitted.frames[0]} to {fitted.frames[-1]}"),
                    }
                )
    return table(
        name="growth",
        title="Growth of times with T",
        note="seconds = a + b·T^p through medians; p with its 95 % bootstrap interval over rounds.",
        columns=(
            *lines.SETTING,
            lines.TASK,
            *lines.WHO,
            Column(key="metric", heading="operation"),
            Column(key="constant", heading="a", unit="s"),
            Column(key="power", heading="p", numeric=True),
            Column(key="power_low", heading="low", raw_only=True),
            Column(key="power_high", heading="high", raw_only=True),
            Column(key="factor", heading="b", raw_only=True),
            Column(key="range", heading="T"),
        ),
        lines=made,
    )


def _ratio_columns(stem: str) -> Sequence[Column]:
    return (
        Column(key=f"{stem}_ratio", heading=f"{stem} ratio", numeric=True),
        Column(key=f"{stem}_low", heading="low", raw_only=True),
        Column(key=f"{stem}_high", heading="high", raw_only=True),
        Column(key=f"{stem}_verdict", heading=f"{stem} verdict"),
    )


def _ratio(stem: str, row: Row | None) -> Line:
    ends = row.interval() if row else None
    low, high = ends or (None, None)
    told = f" [{units.ratio_interval(ends)}]" if ends else ""
    shown = f"{row.value:.2f}{told}" if row else None
    verdict = row.detail.get("verdict") if row else None
    return {
        f"{stem}_ratio": number(row, shown),
        f"{stem}_low": text(low),
        f"{stem}_high": text(high),
        f"{stem}_verdict": Entry(value=verdict, text=verdict or units.MISSING, tone=verdict),
    }


_SEEDS = Column(key="seeds", heading="seeds", numeric=True)
_SHARES = (
    ("top1", "top-1"),
    ("within_pair", "within pair"),
    ("within_pair_motion", "motion pairs"),
    ("within_pair_order", "order pairs"),
)


def accuracy(view: View) -> Table:
    """Top-1 and within-pair accuracy with their intervals, beside what the training cost."""
    made = [
        {
            **lines.place(setting),
            **lines.who(view, label),
            **lines.at(frames),
            **_shares(view, setting, label, frames),
            **_training(view, setting, label, frames),
        }
        for setting, label, frames in lines.measured(view, [key for key, _ in _SHARES])
    ]
    several = any(line["seeds"].value > 1 for line in made)
    note = (
        "Shares of test clips in %: means over seeds with their 95 % intervals (Student's t; none "
        f"where all seeds agree; with one seed, Wilson over clips). {seeds.WHAT_VARIES}"
    )
    return table(
        name="accuracy",
        title="Accuracy",
        note=note if several else "Shares of test clips in %, with their 95 % intervals (Wilson).",
        columns=(
            *lines.SETTING,
            Column(key="task", heading="task"),
            *lines.WHO,
            lines.FRAMES,
            *((_SEEDS,) if several else ()),
            *(column for key, heading in _SHARES for column in _share_columns(key, heading)),
            Column(key="chance", heading="chance", numeric=True),
            Column(key="clips", heading="clips", numeric=True),
            Column(key="training_macs", heading="training", unit="MAC"),
            Column(key="training_seconds", heading="training", unit="s"),
            Column(key="learning_rate", heading="learning rate", numeric=True),
        ),
        lines=made,
    )


def _share_columns(key: str, heading: str) -> Sequence[Column]:
    return (
        Column(key=key, heading=heading, numeric=True),
        Column(key=f"{key}_low", heading="low", raw_only=True),
        Column(key=f"{key}_high", heading="high", raw_only=True),
    )


def _shares(view: View, setting: Setting, label: str, frames: int) -> Line:
    fields: dict[str, Entry] = {}
    for key, _ in _SHARES:
        row = view.find(setting, key, label, frames)
        ends = row.interval() if row else None
        low, high = ends or (None, None)
        told = f" [{units.percent_interval(ends)}]" if ends else ""
        shown = f"{100 * row.value:.1f}{told}" if row else None
        fields |= {key: number(row, shown), f"{key}_low": text(low), f"{key}_high": text(high)}
    return fields


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


_PAIRED = _SHARES[:2]


def differences(view: View) -> Table:
    """Each contestant's accuracy against the reference's, seed by seed, with a word for each."""
    made: list[Line] = []
    counts: set[int] = set()
    measured = lines.measured(view, [key for key, _ in _PAIRED])
    for setting, frames in dict.fromkeys((setting, t) for setting, _, t in measured):
        found = {
            key: seeds.compare(at(view.series(setting, key), frames), view.reference)
            for key, _ in _PAIRED
        }
        counts |= {len(one) for one in found.values() if one}
        made += [
            _difference_line(view, setting, label, frames, found)
            for label in view.contestants
            if any(label in one for one in found.values())
        ]
    who = view.name(view.reference) if view.reference else "PKS4"
    return table(
        name="accuracy_differences",
        title="Paired by seed",
        note=(
            f"Means in %. Difference: minus {who} with the same seed, in percentage points, with a "
            "95 % t-interval over seeds, by itself. The word weighs all comparisons of a metric at "
            f"once ({seeds.span(counts or [0])}): Holm-adjusted p below {seeds.LEVEL} from "
            f"{seeds.LEAST_SEEDS} seeds on, else inconclusive. {seeds.WHAT_VARIES}"
        ),
        columns=(
            *lines.SETTING,
            lines.TASK,
            *lines.WHO,
            lines.FRAMES,
            _SEEDS,
            *(column for key, heading in _PAIRED for column in _difference_columns(key, heading)),
        ),
        lines=made,
    )


def _difference_columns(key: str, heading: str) -> Sequence[Column]:
    return (
        Column(key=key, heading=heading, numeric=True),
        Column(key=f"{key}_difference", heading=f"{heading} difference", numeric=True),
        Column(key=f"{key}_low", heading="low", raw_only=True),
        Column(key=f"{key}_high", heading="high", raw_only=True),
        Column(key=f"{key}_p", heading="p, Holm", numeric=True),
        Column(key=f"{key}_word", heading=f"{heading} is"),
    )


def _difference_line(
    view: View,
    setting: Setting,
    label: str,
    frames: int,
    found: Mapping[str, Mapping[str, seeds.Difference]],
) -> Line:
    fields: dict[str, Entry] = {}
    for key, _ in _PAIRED:
        fields |= _difference(key, found[key].get(label))
    shared = max(len(one[label].seeds) for one in found.values() if label in one)
    return {
        **lines.place(setting),
        **lines.who(view, label),
        **lines.at(frames),
        "seeds": text(shared),
        **fields,
    }


def _difference(key: str, one: seeds.Difference | None) -> Line:
    """The fields of `_difference_columns`; raw differences are shares, like the accuracies."""
    if one is None:
        return {column.key: Entry() for column in _difference_columns(key, "")}
    mean, ends = one.estimate.mean, one.estimate.interval
    low, high = ends or (None, None)
    return {
        key: number(one.row, f"{100 * one.row.value:.1f}"),
        f"{key}_difference": Entry(
            value=mean,
            text=units.points(mean) + (f" [{units.point_interval(ends)}]" if ends else ""),
            source=one.row,
        ),
        f"{key}_low": text(low),
        f"{key}_high": text(high),
        f"{key}_p": Entry(
            value=one.p, text=units.MISSING if one.p is None else units.significant(one.p, 2)
        ),
        f"{key}_word": Entry(value=one.word, text=one.word, tone=one.word),
    }
