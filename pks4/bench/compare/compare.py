"""Two runs of one suite, number by number: what is the same, what changed, what got worse.

Exact numbers must be equal within their case. Noisy ones are compared as a ratio of ratios
(`stats/paired_times.py`), sampled ones as a paired difference (`stats/clips.py`). Holm's method
adjusts the p-values of the noisy and of the sampled family before anything is called worse or
better. BASE and HEAD name the runs; the states:

* same, better, worse, changed (an exact number), inconclusive
* missing: BASE has the number and HEAD does not; new: the other way round
* not comparable: the case differs, or such a number is never compared (`by_rule`)
* accepted: an alarm, or another case, that was accepted since BASE; `reason` says why
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pks4.bench import units
from pks4.bench.compare.cases import Case, Change, Side, cases, changes
from pks4.bench.plan import user_files
from pks4.bench.records import same_case
from pks4.bench.records.record import Record
from pks4.bench.records.run_file import RunFile
from pks4.bench.stats import clips, intervals, paired_times
from pks4.bench.stats.intervals import Estimate
from pks4.bench.view.rows import ids
from pks4.errors import UserError

State = Literal[
    "same", "better", "worse", "changed", "inconclusive", "missing", "new", "not comparable",
    "accepted",
]  # fmt: skip
ALARMS = ("worse", "changed", "missing")
COMPARED = ("same", "better", "worse", "changed", "inconclusive", "missing", "accepted")
LOWER_IS_BETTER = ("loss", "epochs", "macs", "seconds")  # in the name of a metric
LEAST_DIFFERENCE = 0.01  # of a share: a point; less is not called worse, and is the same
FINE, REGRESSION, NOTHING = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One number in both runs, and its state."""

    cell: str
    measure: str
    metric: str
    kind: str
    state: State
    why: str = ""
    unit: str | None = None
    base: int | float | None = None
    head: int | float | None = None
    effect: float | None = None  # HEAD over BASE of a noisy number, HEAD minus BASE of others
    interval: tuple[float, float] | None = None  # of the effect
    level: float | None = None  # of the interval
    p: float | None = None  # of an effect that counts; adjusted within its family
    least: float | None = None  # the least effect that counts
    parts: tuple[Change, ...] = ()  # of an exact number, those that differ
    by_rule: bool = False  # not comparable, and no fault of these two runs
    reason: str = ""  # of the acceptance
    records: tuple[str, ...] = ()  # run:cell:metric

    @property
    def key(self) -> tuple[str, str, str]:
        """What names it in both runs."""
        return self.cell, self.measure, self.metric


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All entries of two runs, and notes."""

    base: str
    head: str
    suite: str
    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = field(default=())

    def of(self, *states: str) -> list[Entry]:
        """Entries in these states."""
        return [e for e in self.entries if e.state in states]

    @property
    def counts(self) -> dict[str, int]:
        """How many entries are in each state that occurs."""
        return dict(Counter(e.state for e in self.entries))

    @property
    def exit_code(self) -> int:
        """1: an alarm; 2: nothing compared, or a number that should compare does not; else 0."""
        if self.of(*ALARMS):
            return REGRESSION
        lost = any(not e.by_rule for e in self.of("not comparable"))
        return NOTHING if lost or not self.of(*COMPARED) else FINE


def compare(base: RunFile, head: RunFile, *, paired: bool = False) -> Comparison:
    """Compare HEAD with BASE; `paired`: their processes alternated in one session.

    Raises UserError for runs of different suites.
    """
    suites = base.header.suite, head.header.suite
    if len(set(suites)) > 1:
        raise UserError(
            f"{base.header.run} is of suite {suites[0]!r}, {head.header.run} of {suites[1]!r}; "
            "compare two runs of one suite"
        )
    judge = _Judge(base, head, paired)
    entries = _adjusted([judge.entry(case) for case in cases(base, head)])
    notes = [*base.torn, *head.torn, *judge.notes()]
    return Comparison(
        base=base.header.run, head=head.header.run, suite=suites[0],
        entries=tuple(entries), notes=tuple(notes),
    )  # fmt: skip


class _Judge:
    """Judges one case after the other; p-values are still to be adjusted."""

    def __init__(self, base: RunFile, head: RunFile, paired: bool) -> None:
        self.paired = paired
        self.cells = [{c.id: c for c in run.header.cells} for run in (base, head)]
        self.records = [{r.key: r for r in run.records} for run in (base, head)]
        self.headers = {"BASE": base.header, "HEAD": head.header}

    def notes(self) -> list[str]:
        """What to know of the code and of the user's files on both sides."""
        changed = [name for name, header in self.headers.items() if header.dirty]
        notes = [f"{name} was made on code with changes beyond its commit" for name in changed]
        commits = {header.commit for header in self.headers.values()}
        if len(commits) == 1 and None not in commits and not changed:
            notes.append("BASE and HEAD are of the same commit")
        return notes + self._notes_on_files()

    def _notes_on_files(self) -> list[str]:
        hashes = [h.inputs.hashes if h.inputs else {} for h in self.headers.values()]
        notes = [
            f"the file of {name} is not the same in BASE and HEAD"
            for name in user_files.differing(*hashes)
        ]
        for side, own, other in zip(self.headers, hashes, hashes[::-1], strict=True):
            if absent := [name for name in other if name not in own]:
                notes.append(f"{side} keeps no hash of the file of {', '.join(absent)}")
        return notes

    def entry(self, case: Case) -> Entry:
        return self._lost(case) or self._another_case(case) or self._values(case)

    def _lost(self, case: Case) -> Entry | None:
        """An entry where one side has no number, or not for all seeds."""
        if not case.records:
            why = f"failed in both: {_failure(case.head)}"
            return _entry(case, "not comparable", why, by_rule=True)
        if not case.base.records:
            why = f"BASE failed: {_failure(case.base)}" if case.base.failures else "not in BASE"
            return _entry(case, "new", why)
        lost = [str(seed) for seed in case.base.records if seed not in case.head.records]
        if not lost:
            return None
        at = f" with seed {', '.join(lost)}" if case.kind == "sampled" and lost != ["None"] else ""
        failed = f"HEAD failed{at}: {_failure(case.head)}"
        return _entry(case, "missing", failed if case.head.failures else f"not in HEAD{at}")

    def _another_case(self, case: Case) -> Entry | None:
        pair = case.shared[0]
        facts = [
            same_case.case(r, cells.get(r.cell)) for r, cells in zip(pair, self.cells, strict=True)
        ]
        differ = same_case.differences(*facts)
        if differ:
            return _entry(case, "not comparable", "; ".join(differ))
        once = same_case.differences(*map(same_case.done_once, pair))
        if case.kind == "noisy" and once:
            return _entry(case, "not comparable", "; ".join(once), by_rule=True)
        machines = [same_case.machine(r) for r in pair]
        if case.kind == "noisy" and machines[0] != machines[1]:
            why = f"another machine: {'; '.join(same_case.differences(*machines))}"
            return _entry(case, "not comparable", why, by_rule=True)
        return None

    def _values(self, case: Case) -> Entry:
        judges = {"exact": self._exact, "noisy": self._noisy, "sampled": self._sampled}
        return judges[case.kind](case)

    def _exact(self, case: Case) -> Entry:
        base, head = case.shared[0]
        if base.value == head.value:
            return _entry(case, "same")
        assert base.value is not None
        assert head.value is not None
        parts = changes(base.detail, head.detail)
        return _entry(case, "changed", parts=parts, effect=head.value - base.value)

    def _noisy(self, case: Case) -> Entry:
        if not case.key[2].endswith(paired_times.RATIO):
            why = "an absolute time or size of one session is never compared with another's"
            return _entry(case, "not comparable", why, by_rule=True)
        pair = zip(case.shared[0], self.records, strict=True)
        base, head = (_samples(r, records) for r, records in pair)
        if base is None or head is None:
            return _entry(case, "not comparable", "no raw samples in the record", by_rule=True)
        if min(len(base.logs), len(head.logs)) < paired_times.LEAST_PROCESSES:
            why = "one process a side: how processes differ is not known; take three"
            return _entry(case, "inconclusive", why)
        shift = paired_times.shift(base, head, paired=self.paired)
        if shift.void:
            why = f"the session of {shift.void} is void: its A/A arm differs"
            return _entry(case, "inconclusive", why)
        return _entry(case, "inconclusive", found=shift, least=shift.least)

    def _sampled(self, case: Case) -> Entry:
        if all(_answers(base) == _answers(head) for base, head in case.shared):
            return _entry(case, "same", "equal with every seed", effect=0.0)
        found = clips.difference(case.head.records, case.base.records)
        if found is not None and found.method == clips.SAME_ANSWERS:
            return _entry(case, "same", found.method, effect=0.0)
        seeds = len(case.shared)
        if found is None or (found.p is None and seeds < intervals.LEAST_SEEDS):
            why = f"{units.counted(seeds, 'seed')} without answers to clips; three give an interval"
            return _entry(case, "not comparable", why, by_rule=True)
        least = LEAST_DIFFERENCE if case.records[0].unit == "1" else 0.0
        return _entry(case, "inconclusive", found.method, found=found, least=least)


def _samples(r: Record, records: Mapping[tuple[str, ...], Record]) -> paired_times.Samples | None:
    """The raw samples of a ratio: its detail has some, that of its seconds the others."""
    name = r.metric.removesuffix(paired_times.RATIO) + paired_times.SECONDS
    seconds = records.get((r.cell, r.measure, name))
    return paired_times.samples(r.detail, seconds.detail if seconds else None)


def _answers(r: Record) -> tuple[Any, Any]:
    return r.value, r.detail.get("predicted")


def _entry(
    case: Case, state: State, why: str = "", found: Estimate | None = None, **more: Any
) -> Entry:
    """An entry with the values of both sides, and an estimate of the effect."""
    cell, measure, metric = case.key
    if found is not None:
        more |= {"effect": found.value, "interval": found.interval, "level": found.level}
        more |= {"p": found.p}
    return Entry(
        cell=cell, measure=measure, metric=metric, kind=case.kind, state=state, why=why,
        base=_value(case.base), head=_value(case.head), records=ids(*case.records),
        unit=case.records[0].unit if case.records else None, **more,
    )  # fmt: skip


def _value(side: Side) -> int | float | None:
    """The value, or the mean over seeds."""
    values = [r.value for r in side.records.values() if r.value is not None]
    if len(values) > 1:
        return float(sum(values) / len(values))
    return values[0] if values else None


def _failure(side: Side) -> str:
    return next((f"{r.status}, {r.reason}" for r in side.failures), "no record")


def _adjusted(entries: list[Entry]) -> list[Entry]:
    """The entries with p-values adjusted within each family, and the states that follow."""
    adjusted = list(entries)
    for kind in ("noisy", "sampled"):
        family = {i: e.p for i, e in enumerate(entries) if e.kind == kind and e.p is not None}
        for place, p in intervals.holm(family, len(family)).items():
            adjusted[place] = _judged(replace(entries[place], p=p))
    return adjusted


def _judged(entry: Entry) -> Entry:
    """The state of a noisy or sampled entry by its adjusted p-value and its interval."""
    assert entry.p is not None
    assert entry.effect is not None
    assert entry.least is not None
    noisy = entry.kind == "noisy"
    ends: tuple[State, State] = ("better", "worse")  # when the effect is up, when it is down
    up, down = ends if not noisy and higher_is_better(entry.metric) else ends[::-1]
    middle = 1.0 if noisy else 0.0
    low, high = (1 / entry.least, entry.least) if noisy else (-entry.least, entry.least)
    if entry.p < intervals.ALPHA and not low < entry.effect < high:
        return replace(entry, state=up if entry.effect > middle else down)
    interval = entry.interval
    if interval is not None and low < interval[0] and interval[1] < high:
        return replace(entry, state="same")
    return entry


def higher_is_better(metric: str) -> bool:
    """Whether more of this metric is better: a share of clips is, a loss is not."""
    return not any(word in metric for word in LOWER_IS_BETTER)


def accepted(
    comparison: Comparison, head: RunFile, runs: Sequence[tuple[RunFile, str]]
) -> Comparison:
    """Clear what runs that were accepted since BASE show too; `runs` come with their reasons.

    An alarm, or another case, is cleared where HEAD against that run raises none for the same
    number. A number that is missing is cleared where the accepted run lacks it as well.
    """
    entries = list(comparison.entries)
    for run, reason in runs:
        against = {e.key: e for e in compare(run, head).entries}
        held = {c.key for c in cases(run, run) if c.base.records}
        for i, e in enumerate(entries):
            other = against.get(e.key)
            calm = other is not None and other.state in ("same", "better", "inconclusive")
            open_ = e.state in ALARMS or (e.state == "not comparable" and not e.by_rule)
            if open_ and (e.key not in held if e.state == "missing" else calm):
                entries[i] = replace(e, state="accepted", reason=f"{reason} ({run.header.run})")
    return replace(comparison, entries=tuple(entries))
