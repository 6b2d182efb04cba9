"""Two runs of one suite, number by number: what is the same, what changed, what got worse.

Exact numbers must be equal within their case; noisy ones are compared as a ratio of ratios, sampled
ones as a paired difference (`compare_exact`, `compare_noisy`, `compare_sampled`). The p-values of
the noisy and of the sampled family are each adjusted by Holm's method before anything is called
worse or better. BASE and HEAD name the runs; the states:

* same, better, worse, changed (an exact number), inconclusive
* missing: BASE has the number and HEAD does not; new: the other way round
* not comparable: the case differs, or such a number is never compared (`by_rule`)
* accepted: an alarm, or another case, that was accepted since BASE; its reason is told
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pks4.bench.compare.cases import Case, Change, Side, cases, changes
from pks4.bench.plan.cell import Cell
from pks4.bench.records import same_case
from pks4.bench.records.run_file import RunFile
from pks4.bench.stats import intervals, noisy, sampled
from pks4.errors import UserError

State = Literal[
    "same", "better", "worse", "changed", "inconclusive", "missing", "new", "not comparable",
    "accepted",
]  # fmt: skip
ALARMS = ("worse", "changed", "missing")
COMPARED = ("same", "better", "worse", "changed", "inconclusive", "missing", "accepted")
LEVEL = 0.05
LEAST_DIFFERENCE = 0.01  # of a share: a point; less is not called worse, and is the same
FINE, REGRESSION, NOTHING = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One number in both runs, and what became of it."""

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
    interval: tuple[float, float] | None = None  # 95 %, of the effect
    p: float | None = None  # of an effect that counts; adjusted within its family
    least: float | None = None  # the least effect that counts
    parts: tuple[Change, ...] = ()  # of an exact number, those that differ
    by_rule: bool = False  # not comparable, and no fault of these two runs
    reason: str = ""  # of the acceptance
    records: tuple[str, ...] = ()  # run:cell:metric

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is, in both runs."""
        return self.cell, self.measure, self.metric


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All entries of two runs, and what there is to say beside them."""

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
        found: dict[str, int] = {}
        for e in self.entries:
            found[e.state] = found.get(e.state, 0) + 1
        return found

    @property
    def exit_code(self) -> int:
        """1: an alarm; 2: nothing compared, or a number could not be though it should; else 0."""
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
        self.cells: tuple[dict[str, Cell], ...] = tuple(
            {c.id: c for c in run.header.cells} for run in (base, head)
        )
        self.seconds = tuple({r.key: r for r in run.records} for run in (base, head))
        self.headers = {"BASE": base.header, "HEAD": head.header}

    def notes(self) -> list[str]:
        """What to know of the code on both sides."""
        changed = [name for name, header in self.headers.items() if header.dirty]
        found = [f"{name} was made on code with changes beside its commit" for name in changed]
        commits = {header.commit for header in self.headers.values()}
        if len(commits) == 1 and None not in commits and not changed:
            found.append("BASE and HEAD are of the same commit")
        return found

    def entry(self, case: Case) -> Entry:
        found = self._lost(case) or self._another_case(case) or self._values(case)
        return replace(found, records=case.ids)

    def _lost(self, case: Case) -> Entry | None:
        """An entry where one side has no number, or not for all seeds."""
        lost = [seed for seed in case.base.records if seed not in case.head.records]
        if not case.base.records and not case.head.records:
            return _entry(
                case, "not comparable", f"failed in both: {_why(case.head)}", by_rule=True
            )
        if not case.base.records:
            why = f"BASE failed: {_why(case.base)}" if case.base.failures else "not in BASE"
            return _entry(case, "new", why)
        if not lost:
            return None
        at = "" if lost == [None] else f" with seed {', '.join(map(str, lost))}"
        failed = f"HEAD failed{at}: {_why(case.head)}"
        return _entry(case, "missing", failed if case.head.failures else f"not in HEAD{at}")

    def _another_case(self, case: Case) -> Entry | None:
        facts = [
            same_case.case(r, cells.get(r.cell))
            for r, cells in zip(case.one, self.cells, strict=True)
        ]
        differ = same_case.differences(*facts)
        if differ:
            return _entry(case, "not comparable", "; ".join(differ))
        where = [same_case.machine(r) for r in case.one]
        if case.kind == "noisy" and where[0] != where[1]:
            why = f"another machine: {'; '.join(same_case.differences(*where))}"
            return _entry(case, "not comparable", why, by_rule=True)
        return None

    def _values(self, case: Case) -> Entry:
        return {"exact": self._exact, "noisy": self._noisy, "sampled": self._sampled}[case.kind](
            case
        )

    def _exact(self, case: Case) -> Entry:
        base, head = case.one
        if base.value == head.value:
            return _entry(case, "same")
        assert base.value is not None
        assert head.value is not None
        parts = changes(base.detail, head.detail)
        return _entry(case, "changed", parts=parts, effect=head.value - base.value)

    def _noisy(self, case: Case) -> Entry:
        base, head = case.one
        if not case.key[2].endswith(noisy.RATIO):
            why = "an absolute time or size of one session is never compared with another's"
            return _entry(case, "not comparable", why, by_rule=True)
        found = []
        for r, there in zip((base, head), self.seconds, strict=True):
            name = r.metric.removesuffix(noisy.RATIO) + noisy.SECONDS
            seconds = there.get((r.cell, r.measure, name))
            found.append(noisy.samples(r.detail, seconds.detail if seconds else None))
        if found[0] is None or found[1] is None:
            return _entry(case, "not comparable", "no raw samples in the record", by_rule=True)
        if min(len(s.logs) for s in found if s) < noisy.LEAST_PROCESSES:
            why = "one process a side: how processes differ is not known; take three"
            return _entry(case, "inconclusive", why)
        shift = noisy.shift(found[0], found[1], paired=self.paired)
        if shift.void:
            why = f"the session of {shift.void} is void: its A/A arm differs"
            return _entry(case, "inconclusive", why)
        return _entry(
            case, "inconclusive", effect=shift.ratio, interval=shift.interval, p=shift.p,
            least=shift.least,
        )  # fmt: skip

    def _sampled(self, case: Case) -> Entry:
        sides = case.base.records, case.head.records
        shared = [seed for seed in sides[0] if seed in sides[1]]
        if all(
            (sides[0][s].value, sides[0][s].detail.get("predicted"))
            == (sides[1][s].value, sides[1][s].detail.get("predicted"))
            for s in shared
        ):
            return _entry(case, "same", "equal with every seed", effect=0.0)
        found = sampled.difference(*sides)
        if found is None:
            why = f"values of {len(shared)} seeds without clips; three seeds give an interval"
            return _entry(case, "not comparable", why, by_rule=True)
        return _entry(
            case, "inconclusive", found.method, effect=found.value, interval=found.interval,
            p=found.p, least=LEAST_DIFFERENCE if case.one[0].unit == "1" else 0.0,
        )  # fmt: skip


def _entry(case: Case, state: State, why: str = "", **more: Any) -> Entry:
    cell, measure, metric = case.key
    values = [_value(side) for side in (case.base, case.head)]
    known = [*case.base.records.values(), *case.head.records.values()]
    return Entry(
        cell=cell, measure=measure, metric=metric, kind=case.kind, state=state, why=why,
        base=values[0], head=values[1], unit=known[0].unit if known else None, **more,
    )  # fmt: skip


def _value(side: Side) -> int | float | None:
    """The value, or the mean over seeds."""
    values = [r.value for r in side.records.values() if r.value is not None]
    if len(values) > 1:
        return float(sum(values) / len(values))
    return values[0] if values else None


def _why(side: Side) -> str:
    return next((f"{r.status}, {r.reason}" for r in side.failures.values()), "no record")


def _adjusted(entries: Iterable[Entry]) -> list[Entry]:
    """The entries with p-values adjusted within each family, and the states that follow."""
    found = list(entries)
    for kind in ("noisy", "sampled"):
        family = {str(i): e.p for i, e in enumerate(found) if e.kind == kind and e.p is not None}
        for place, p in intervals.holm(family, len(family)).items():
            found[int(place)] = _judged(replace(found[int(place)], p=p))
    return found


def _judged(entry: Entry) -> Entry:
    """The state of a noisy or sampled entry by its adjusted p-value and its interval."""
    assert entry.p is not None
    assert entry.effect is not None
    assert entry.least is not None
    up: State = "better"
    if entry.kind == "noisy" or not sampled.higher_is_better(entry.metric):
        up = "worse"
    down: State = "better" if up == "worse" else "worse"
    bounds, middle = (-entry.least, entry.least), 0.0
    if entry.kind == "noisy":
        bounds, middle = (1 / entry.least, entry.least), 1.0
    if entry.p < LEVEL and not bounds[0] < entry.effect < bounds[1]:
        return replace(entry, state=up if entry.effect > middle else down)
    ends = entry.interval
    if ends is not None and bounds[0] < ends[0] and ends[1] < bounds[1]:
        return replace(entry, state="same")
    return entry


def accepted(
    comparison: Comparison, head: RunFile, references: Sequence[tuple[RunFile, str]]
) -> Comparison:
    """Clear what reference runs accepted since BASE show too; `references` with their reasons.

    An alarm, or another case, is cleared where HEAD against that run raises none for the same
    number. A number that is missing is cleared where the accepted run lacks it as well.
    """
    entries = list(comparison.entries)
    for run, reason in references:
        against = {e.key: e for e in compare(run, head).entries}
        held = {c.key for c in cases(run, run) if c.base.records}
        for i, e in enumerate(entries):
            other = against.get(e.key)
            calm = other is not None and other.state in ("same", "better", "inconclusive")
            told = e.state in ALARMS or (e.state == "not comparable" and not e.by_rule)
            if told and (e.key not in held if e.state == "missing" else calm):
                entries[i] = replace(e, state="accepted", reason=f"{reason} ({run.header.run})")
    return replace(comparison, entries=tuple(entries))
