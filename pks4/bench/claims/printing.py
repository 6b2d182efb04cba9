"""Judged claims for people and for machines: rows of a table, lines below it, JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pks4.bench import units
from pks4.bench.claims.judge import Found, Judged
from pks4.bench.units import plain

COLUMNS = ("claim", "verdict", "effect", "evidence")
IDS_SHOWN = 1


def rows(judged: Sequence[Judged]) -> list[tuple[str, ...]]:
    """Each claim, and below it each of its tests."""
    found: list[tuple[str, ...]] = []
    for number, one in enumerate(judged, 1):
        found.append((f"{_titled(number, one)} [{one.claim.scale}]", one.verdict, "", ""))
        for test, result in one.tests:
            name = f"   {test.name}{'' if test.judged else ' (shown, not judged)'}"
            verdict = result.verdict if test.judged or result.missing else ""
            found.append((name, verdict, _effect(result), _evidence(result)))
    return found


def remarks(judged: Sequence[Judged], *, evidence: bool = False) -> list[str]:
    """What decides each claim, its caveats, and what would measure what is missing.

    `evidence`: the records too, where no table has a column for them.
    """
    lines = []
    for number, one in enumerate(judged, 1):
        lines.append(f"{_titled(number, one)}: {one.verdict}")
        lines.append(f"   supported when {one.claim.supported_when}")
        lines.append(f"   contradicted when {one.claim.contradicted_when}")
        if evidence:
            told = [(test.name, _evidence(found)) for test, found in one.tests if found.evidence]
            lines += [f"   {name}: {ids}" for name, ids in told]
        lines += [f"   note: {caveat}" for caveat in one.claim.caveats]
        lines += [f"   measure it: {command}" for command in one.commands]
    return lines


def markdown(judged: Sequence[Judged]) -> str:
    """Rows as a Markdown table, then remarks as a list for each claim."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    titles = iter(_titled(number, one) for number, one in enumerate(judged, 1))
    for row in rows(judged):
        cells = [plain(cell) for cell in row]
        if row[0][0].isdigit():
            title = plain(next(titles))
            cells[:2] = [f"**{title}**{cells[0].removeprefix(title)}", f"**{cells[1]}**"]
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    lines += [f"{'' if line[0].isdigit() else '   - '}{plain(line)}" for line in remarks(judged)]
    return "\n".join(lines) + "\n"


def document(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """All of it, as JSON has it."""
    return [
        {
            **one.claim.model_dump(exclude={"tests"}),
            "verdict": one.verdict,
            "tests": [{**test.model_dump(), **asdict(found)} for test, found in one.tests],
        }
        for one in judged
    ]


def _titled(number: int, one: Judged) -> str:
    return f"{number}. {one.claim.title}"


def _effect(found: Found) -> str:
    return f"missing: {found.missing}" if found.missing else found.effect


def _evidence(found: Found) -> str:
    """The first records by id, and how many more; --json has all."""
    more = len(found.evidence) - IDS_SHOWN
    told = [*found.evidence[:IDS_SHOWN], *([f"and {units.whole(more)} more"] if more > 0 else [])]
    return ", ".join(told) + (f" ({found.within})" if found.within else "")
