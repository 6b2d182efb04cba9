"""The table of a run against the accepted run of its suite and kind of machine.

What is the same and what changed is judged as `pks4-bench compare` does; here the numbers of each
metric are counted by state, with the largest change. If the run is the accepted run, or if none is
accepted for its kind of machine, one sentence says so.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pks4.bench import units
from pks4.bench.compare.compare import ALARMS, Comparison, Entry, compare
from pks4.bench.compare.printing import ORDER, effect, why
from pks4.bench.records import accepted
from pks4.bench.records.run_file import RunFile
from pks4.bench.table import Column, Table, TableCell, TableRow, table, words
from pks4.errors import UserError


@dataclass(frozen=True, kw_only=True)
class AcceptedComparison:
    """A run against the accepted run: one sentence, and the table where two runs are compared."""

    words: str
    table: Table | None = None


def against_accepted(run: RunFile, results: Path) -> AcceptedComparison:
    """Compare a run with the accepted run that the ledger in `results` names for its kind.

    If that run's file is not as it was accepted, a sentence says so and nothing is compared.
    """
    suite, where = run.header.suite, accepted.environment_class(run.header)
    known, torn = accepted.ledger(results)
    entry = accepted.current(known, suite, where)
    if entry is None:
        unread = "".join(f" {line}." for line in torn)
        return AcceptedComparison(words=f"No run of suite {suite} is accepted for {where}.{unread}")
    if entry.run == run.header.run:
        return AcceptedComparison(
            words=f"This run is the accepted run of suite {suite} for {where}: {entry.reason}"
        )
    try:
        base = accepted.accepted_run(entry, results)
    except UserError as error:
        return AcceptedComparison(words=f"Nothing is compared with the accepted run: {error}")
    comparison = compare(base, run)
    return AcceptedComparison(words=_sentence(comparison, where), table=_table(comparison))


def _table(comparison: Comparison) -> Table:
    """One row a metric: how many numbers are in which state, and the largest change."""
    judged = [e for e in comparison.entries if not e.by_rule]
    metrics = dict.fromkeys((e.metric, e.kind) for e in judged)
    states = [state for state in ORDER if any(e.state == state for e in judged)]
    base, head = comparison.base, comparison.head
    return table(
        name="reference",
        title="This run against the accepted run",
        note=(
            f"BASE: {base}; HEAD: this run. Exact numbers must be equal; ratios of times and "
            "shares of clips are the same where their intervals say so. Absolute times are not "
            f"compared. pks4-bench compare {base} {head} shows every number, "
            f"pks4-bench history METRIC --suite {comparison.suite} one over commits."
        ),
        columns=(
            Column("metric", "metric"),
            Column("kind", "kind"),
            *(Column(_key(state), state, numeric=True) for state in states),
            Column("largest", "what differs most"),
        ),
        rows=[
            _row([e for e in judged if (e.metric, e.kind) == key], states, *key) for key in metrics
        ],
    )


def _key(state: str) -> str:
    return state.replace(" ", "_")


def _row(entries: Sequence[Entry], states: Sequence[str], metric: str, kind: str) -> TableRow:
    counts: Counter[str] = Counter(e.state for e in entries)
    return {
        "metric": words(metric),
        "kind": words(kind),
        **{_key(state): _count(state, counts[state]) for state in states},
        "largest": words(_largest([e for e in entries if e.state != "same"])),
    }


def _count(state: str, number: int) -> TableCell:
    tone = "bad" if number and state in ALARMS else None
    return TableCell(number, str(number) if number else units.MISSING, tone=tone)


def _largest(entries: Sequence[Entry]) -> str | None:
    """The first of the gravest state with the largest effect against its base."""
    if not entries:
        return None
    most = min(entries, key=lambda e: (ORDER.index(e.state), -_size(e)))
    facts = [f"{most.state} {effect(most)}".strip(), why(most)]
    return f"{most.cell}: {'; '.join(filter(None, facts))}"


def _size(entry: Entry) -> float:
    return abs((entry.effect or 0) / (entry.base or 1))


def _sentence(comparison: Comparison, where: str) -> str:
    counts: Counter[str] = Counter(e.state for e in comparison.entries if not e.by_rule)
    states = units.listed(f"{counts[state]} {state}" for state in ORDER if counts[state])
    return f"Against {comparison.base}, the accepted run for {where}: {states or 'no number'}."
