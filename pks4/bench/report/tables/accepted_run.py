"""The table of a run beside the accepted reference of its suite and kind of machine.

What is the same and what changed is judged as `pks4-bench compare` does; here it is counted, number
by number of the records' metrics, with the largest change of each. A run that is the reference
itself, and one whose kind of machine has none, is told in a sentence.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pks4.bench import units
from pks4.bench.compare.compare import ALARMS, Comparison, compare
from pks4.bench.compare.compare import Entry as Compared
from pks4.bench.compare.printing import ORDER, effect, why
from pks4.bench.records import accepted
from pks4.bench.records.run_file import RunFile
from pks4.bench.report.tables.table import Column, Entry, Line, Table, table, text
from pks4.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A run beside its reference: one sentence, and the table where there is something to set."""

    words: str
    table: Table | None = None


def beside(run: RunFile, results: Path) -> Beside:
    """Hold a run against the reference that the ledger in `results` names for its kind.

    A reference whose file is not as it was accepted is told as such; nothing is set against it.
    """
    suite, where = run.header.suite, accepted.environment_class(run.header)
    known, torn = accepted.ledger(results)
    entry = accepted.current(known, suite, where)
    if entry is None:
        return Beside(words=f"No reference of suite {suite} is accepted for {where}.{_told(torn)}")
    if entry.run == run.header.run:
        return Beside(
            words=f"This run is the accepted reference of suite {suite} for {where}: {entry.reason}"
        )
    try:
        reference = accepted.accepted_run(entry, results)
    except UserError as error:
        return Beside(words=f"Nothing is set against the accepted reference: {error}")
    found = compare(reference, run)
    return Beside(words=_sentence(found, where), table=comparison(found))


def comparison(found: Comparison) -> Table:
    """One line a metric: how many numbers are in which state, and the largest change."""
    judged = [e for e in found.entries if not e.by_rule]
    metrics = dict.fromkeys((e.metric, e.kind) for e in judged)
    states = [state for state in ORDER if any(e.state == state for e in judged)]
    return table(
        name="reference",
        title="This run beside the accepted reference",
        note=(
            f"BASE: {found.base}; HEAD: this run. Exact numbers must be equal; ratios of times and "
            "shares of clips are the same where their intervals say so. Absolute times are not "
            f"compared. pks4-bench compare {found.base} {found.head} tells every number, "
            f"pks4-bench history METRIC --suite {found.suite} one over commits."
        ),
        columns=(
            Column(key="metric", heading="metric"),
            Column(key="kind", heading="kind"),
            *(Column(key=state.replace(" ", "_"), heading=state, numeric=True) for state in states),
            Column(key="largest", heading="what differs most"),
        ),
        lines=[
            _line([e for e in judged if (e.metric, e.kind) == key], states, *key) for key in metrics
        ],
    )


def _line(own: Sequence[Compared], states: Sequence[str], metric: str, kind: str) -> Line:
    counts = {state: sum(e.state == state for e in own) for state in states}
    return {
        "metric": text(metric),
        "kind": text(kind),
        **{state.replace(" ", "_"): _count(state, number) for state, number in counts.items()},
        "largest": text(_largest([e for e in own if e.state != "same"])),
    }


def _count(state: str, number: int) -> Entry:
    tone = "bad" if number and state in ALARMS else None
    return Entry(value=number, text=str(number) if number else units.MISSING, tone=tone)


def _largest(entries: Sequence[Compared]) -> str | None:
    """The first of the gravest state with the largest effect against its base."""
    if not entries:
        return None
    most = min(entries, key=lambda e: (ORDER.index(e.state), -_size(e)))
    told = [f"{most.state} {effect(most)}".strip(), why(most)]
    return f"{most.cell}: {'; '.join(filter(None, told))}"


def _size(entry: Compared) -> float:
    return abs((entry.effect or 0) / (entry.base or 1))


def _sentence(found: Comparison, where: str) -> str:
    counts: Counter[str] = Counter(e.state for e in found.entries if not e.by_rule)
    told = units.listed(f"{counts[state]} {state}" for state in ORDER if counts[state])
    return f"Beside {found.base}, the accepted reference for {where}: {told or 'no number'}."


def _told(torn: Sequence[str]) -> str:
    return "".join(f" {line}." for line in torn)
