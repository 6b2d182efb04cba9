"""Two runs by name, as a comparison takes them, and what has been accepted meanwhile."""

from pathlib import Path
from typing import NamedTuple

from pks4.bench.compare.compare import Comparison, accepted, compare
from pks4.bench.records import accepted as accepting
from pks4.bench.records import run_file
from pks4.bench.records.accepted import Acceptance
from pks4.bench.records.run_file import RunFile
from pks4.errors import UserError


class Pair(NamedTuple):
    """BASE and HEAD, what was accepted when BASE was made, and what the user should know."""

    base: RunFile
    head: RunFile
    known: list[Acceptance]
    notes: list[str]


def read(base: str, head: str, results: Path, folders: list[Path]) -> Pair:
    """The runs of these names; BASE may be "reference", the accepted run of HEAD's suite here.

    Raises UserError for unknown names, and where both are one run.
    """
    second, notes = run_file.read(run_file.find_run(head, folders)), list[str]()
    if base == "reference":
        first, note = accepting.reference(second, results)
        notes += filter(None, [note])
    else:
        first = run_file.read(run_file.find_run(base, folders))
    if (first.header, first.records) == (second.header, second.records):
        itself = "the accepted reference itself" if base == "reference" else "BASE and HEAD in one"
        raise UserError(
            f"{second.header.run}: is {itself}, so nothing was compared; name another run as HEAD"
        )
    known, torn = accepting.ledger(results)
    return Pair(first, second, [a for a in known if a.when <= first.header.created], notes + torn)


def references(suite: str, known: list[Acceptance], results: Path) -> list[tuple[RunFile, str]]:
    """Runs of a suite that were accepted since, the last first, with their reasons."""
    since = [a for a in accepting.of_suite(suite, results) if a not in known]
    return [
        (accepting.accepted_run(a, results), f"{a.reason}, {a.who}, {a.when[:10]}")
        for a in reversed(since)
    ]


def compared(pair: Pair, results: Path) -> Comparison:
    """Their comparison, where what was accepted since BASE is no alarm."""
    found = compare(pair.base, pair.head)
    return accepted(found, pair.head, references(found.suite, pair.known, results))
