"""What a run shows, in sentences that follow from its records alone: exact costs, and times.

Each finding names its records. No winner is written down here: who is leanest or best is looked up,
ties are named as ties, and where intervals overlap the sentence says that the order is open. A
question that the records cannot answer gives no sentence. `accuracy.py` has the sentences about
trainings.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction

from pks4.bench import units
from pks4.bench.report.findings.accuracy import accuracy, convergence
from pks4.bench.report.findings.factorial import scan_or_priors
from pks4.bench.report.findings.sentences import (
    Finding,
    Rows,
    at,
    extremes,
    lowest,
    multiples,
    named,
    ours_besides,
    rank,
)
from pks4.bench.stats import growth
from pks4.bench.view.rows import Row, Series, Setting
from pks4.bench.view.view import PKS4_FAMILY, View, frame_counts

_KINDS = {
    "quadratic": "quadratic",
    "unverified": "not affine, with too few T to say more",
    "other": "neither affine nor quadratic",
}
TUNED_SHARE = 0.5  # from this share of trained parameters on, a backbone counts as tuned


def build(view: View) -> list[Finding]:
    """Every finding that the records allow: coverage, costs, time, accuracy, convergence.

    The answer of a factorial comes first.
    """
    topics: list[tuple[str, Iterable[Finding]]] = [("Scan or priors", scan_or_priors(view))]
    topics.append(("Coverage", [_coverage(view)]))
    for setting in view.cost_settings:
        topics += [
            (topic, part(view, setting)) for topic, parts in _COSTS.items() for part in parts
        ]
    topics += [("Time", timing(view)), ("Accuracy", accuracy(view))]
    topics.append(("Convergence", convergence(view)))
    return [replace(finding, topic=topic) for topic, part in topics for finding in part]


def _coverage(view: View) -> Finding:
    cells = {cell["id"] for cell in view.header.get("cells", [])} or {r.cell for r in view.rows}
    families = {contestant.family for contestant in view.contestants.values()}
    counts = (
        units.counted(len(view.contestants), "contestant"),
        units.counted(len(families), "family", "families"),
        units.counted(len(cells), "cell"),
    )
    words = f"{counts[0]} of {counts[1]}, {counts[2]}."
    parts = [
        f"{len(rows)} {what}"
        for rows, what in (
            (view.failures, "failed"),
            (view.missing, "left no record"),
            (view.unequal, "gave exact numbers that differ between seeds"),
            (view.void, "gave a time of a void session"),
        )
        if rows
    ]
    if not parts:
        return Finding(words=f"{words} Every planned measure gave its numbers.")
    return Finding(words=f"{words} Of the planned measures {units.listed(parts)}.")


def _memory(view: View, setting: Setting) -> Iterator[Finding]:
    frames = view.cost_frames(setting)
    rows = at(view.series(setting, "saved_bytes"), frames)
    if len(rows) < 2:
        return
    least = lowest(rows)
    words = (
        f"Leanest in activation memory at T = {frames} ({setting.title}): {named(view, least)}, "
        f"with {units.quantity(rows[least[0]].value, 'B')} kept for the backward pass."
    )
    for ours in (besides := ours_besides(view, rows, least)):
        words += (
            f" {view.name(view.ours)} keeps {units.quantity(ours.value, 'B')}: "
            f"place {rank(rows, view.ours)} of {len(rows)}."
        )
    yield Finding(words=words, sources=(*map(rows.__getitem__, least), *besides))
    yield from multiples(view, rows, f"Activation memory at T = {frames}")
    yield from _kinds(view, view.series(setting, "saved_bytes"), "Bytes kept")


def _own_variants(view: View, setting: Setting) -> Iterator[Finding]:
    """The PKS4 variants that keep no less than the leanest adapter, and so have no advantage."""
    frames = view.cost_frames(setting)
    rows = at(view.series(setting, "saved_bytes"), frames)
    adapters = {label: row for label, row in rows.items() if view.family(label) == "adapters"}
    if not adapters:
        return
    least = lowest(adapters)[0]
    for label, row in rows.items():
        if view.family(label) != PKS4_FAMILY or row.value < adapters[least].value:
            continue
        reached = sum(row.value >= adapter.value for adapter in adapters.values())
        words = (
            f"{view.name(label)} keeps {units.quantity(row.value, 'B')} at T = {frames}, no less "
            f"than {reached} of {len(adapters)} adapters (leanest: {view.name(least)}, "
            f"{units.quantity(adapters[least].value, 'B')}). {_advantage(view, setting, row)}"
        )
        yield Finding(words=words, sources=(row, adapters[least]))


def _advantage(view: View, setting: Setting, row: Row) -> str:
    """What such a variant says about PKS4's memory, and whether its backbone is tuned."""
    trained = view.find(setting, "params_trainable", row.label, row.frames)
    every = view.find(setting, "params_total", row.label, row.frames)
    if trained and every and trained.value >= TUNED_SHARE * every.value:
        return (
            f"It trains {units.percent(trained.value / every.value)} of its parameters: with a "
            "tuned backbone the memory advantage of one module is gone."
        )
    return "The memory advantage does not hold for this variant."


def _growth(view: View, setting: Setting) -> Iterator[Finding]:
    """How forward MACs grow from the smallest to the largest T, against growth in proportion."""
    every = view.series(setting, "macs_forward")
    span = frame_counts(every)
    if len(span) < 2:
        return
    first, last = span[0], span[-1]
    factors = {
        label: Fraction(found[last].value, found[first].value)
        for label, found in every.items()
        if first in found and last in found and found[first].value
    }
    if len(factors) > 1:
        words = (
            f"From T = {first} to {last} ({units.times(last / first)}) forward MACs grow "
            f"{_factors(view, factors)} ({setting.title})."
        )
        labels = [*extremes(factors), *([view.ours] if view.ours in factors else [])]
        rows = [every[label][t] for label in dict.fromkeys(labels) for t in (first, last)]
        yield Finding(words=words, sources=tuple(rows))
    yield from _kinds(view, every, "Forward MACs")


def _factors(view: View, factors: Mapping[str, Fraction]) -> str:
    """Who grows most and who least; ours too, if it is neither."""
    most, least = max(factors.values()), min(factors.values())
    if most == least:
        return f"{units.times(float(most))} for all {len(factors)} contestants"
    ends = [_sharing(view, factors, factor) for factor in (most, least)]
    words = f"most for {ends[0]} and least for {ends[1]}"
    ours = factors.get(view.ours)
    if ours not in (None, most, least):
        words += f"; {view.name(view.ours)} grows {units.times(float(ours))}"
    return words


def _sharing(view: View, factors: Mapping[str, Fraction], factor: Fraction) -> str:
    labels = [label for label, one in factors.items() if one == factor]
    who = named(view, labels) if len(labels) <= 3 else f"{len(labels)} contestants"
    return f"{who} ({units.times(float(factor))})"


def _kinds(view: View, every: Mapping[str, Series], what: str) -> Iterator[Finding]:
    """Who is exactly affine in T and who is not, where there are enough T."""
    kinds: dict[str, list[str]] = {}
    for label, found in every.items():
        fitted = growth.exact_polynomial({frames: row.value for frames, row in found.items()})
        if fitted is not None:
            kinds.setdefault(fitted.kind, []).append(label)
    total = sum(map(len, kinds.values()))
    if total < 2:
        return
    affine = len(kinds.pop("affine", []))
    who = f"all {total}" if affine == total else f"{affine} of {total}"
    rest = [f"{_KINDS[kind]}: {named(view, labels)}" for kind, labels in kinds.items()]
    tail = f"; {'; '.join(rest)}" if rest else ""
    sources = [every[labels[0]][max(every[labels[0]])] for labels in kinds.values()]
    words = f"{what} are exactly affine in T for {who} contestants{tail}."
    yield Finding(words=words, sources=tuple(sources))


def _training_step(view: View, setting: Setting) -> Iterator[Finding]:
    frames = view.cost_frames(setting)
    rows = at(view.series(setting, "macs_train"), frames)
    if len(rows) > 1:
        yield from multiples(view, rows, f"MACs of a training step at T = {frames}")


def _plain_counter(view: View, setting: Setting) -> Iterator[Finding]:
    """What fvcore reports without this suite's handles, where it was measured."""
    last = [one[max(one)] for one in view.series(setting, "macs_fvcore_plain").values()]
    seen = [(row.value / row.detail["macs"], row) for row in last if row.detail.get("macs")]
    if not seen:
        return
    share, row = min(seen, key=lambda pair: pair[0])
    whole = sum(part == 1 for part, _ in seen)
    words = (
        f"Plain fvcore, without handles for fused attention and the scan, sees all MACs of {whole} "
        f"of {units.counted(len(seen), 'contestant')}"
    )
    if share != 1:
        frames = row.detail.get("frames", row.frames)
        words += f", and least of {view.name(row.label)}: {units.percent(share)} at T = {frames}"
    yield Finding(words=f"{words}.", sources=(row,))


def _trainable(view: View, setting: Setting) -> Iterator[Finding]:
    frames = view.cost_frames(setting)
    rows = at(view.series(setting, "params_trainable"), frames)
    if len(rows) < 2:
        return
    least = lowest(rows)
    words = (
        f"Fewest trained parameters ({setting.title}): {named(view, least)}, "
        f"{units.whole(rows[least[0]].value)}."
    )
    for ours in (besides := ours_besides(view, rows, least)):
        words += f" {view.name(view.ours)} trains {units.whole(ours.value)}."
    yield Finding(words=words, sources=(*map(rows.__getitem__, least), *besides))


_COSTS = {
    "Memory": (_memory, _own_variants),
    "Compute": (_growth, _training_step, _plain_counter),
    "Parameters": (_trainable,),
}


def timing(view: View) -> Iterator[Finding]:
    """For each setting and T: who is slower, faster, the same, or inconclusive.

    The baseline against itself is no finding; the table of times has it.
    """
    for setting in view.settings("step_ratio"):
        series = view.series(setting, "step_ratio")
        for frames in frame_counts(series):
            rows = at(series, frames)
            rivals = {k: row for k, row in rows.items() if row.detail.get("reference") != k}
            if rivals:
                yield _verdicts(view, setting, rivals, frames)


def _verdicts(view: View, setting: Setting, rows: Rows, frames: int) -> Finding:
    groups: dict[str, list[str]] = {}
    for label, row in rows.items():
        words = f"{view.name(label)} ({units.times(row.value)})"
        groups.setdefault(str(row.detail.get("verdict", "no verdict")), []).append(words)
    baselines = sorted({row.detail.get("reference", "the baseline") for row in rows.values()})
    known = [view.name(one) if one in view.contestants else one for one in baselines]
    order = ("faster", "same", "slower", "inconclusive")
    parts = [
        f"{verdict}: {units.listed(groups[verdict])}"
        for verdict in dict.fromkeys([*order, *groups])
        if verdict in groups
    ]
    words = f"Time of a training step against {units.listed(known)} at T = {frames} "
    return Finding(
        words=f"{words}({setting.title}): {'; '.join(parts)}.", sources=tuple(rows.values())
    )
