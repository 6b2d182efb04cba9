"""Judged claims for people and for machines: rows of a table, remarks below it, JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pks4.bench import units
from pks4.bench.claims.judge import Found, Judged
from pks4.bench.table import escape_markdown as escape
from pks4.bench.table import markdown as markdown_table

COLUMNS = ("claim", "verdict", "effect", "evidence")
IDS_SHOWN = 1


def rows(judged: Sequence[Judged]) -> list[tuple[str, ...]]:
    """Each claim, and below it each of its tests."""
    lines: list[tuple[str, ...]] = []
    for number, one in enumerate(judged, 1):
        lines.append((f"{_title(number, one)} [{one.claim.scale}]", one.verdict, "", ""))
        for test, found in one.tests:
            name = f"   {test.name}{'' if test.judged else ' (shown, not judged)'}"
            verdict = found.verdict if test.judged or found.missing else ""
            effect = f"missing: {found.missing}" if found.missing else found.effect
            lines.append((name, verdict, effect, _evidence(found)))
    return lines


def remarks(judged: Sequence[Judged], *, evidence: bool = False) -> list[str]:
    """What decides each claim, its caveats, and what would measure what is missing.

    `evidence`: the records too, where no table has a column for them.
    """
    lines = []
    for number, one in enumerate(judged, 1):
        lines.append(f"{_title(number, one)}: {one.verdict}")
        lines.append(f"   supported when {one.claim.supported_when}")
        lines.append(f"   contradicted when {one.claim.contradicted_when}")
        if evidence:
            lines += [f"   {test.name}: {_evidence(f)}" for test, f in one.tests if f.evidence]
        lines += [f"   note: {caveat}" for caveat in one.claim.caveats]
        lines += [f"   measure it: {command}" for command in one.commands]
    return lines


def markdown(judged: Sequence[Judged]) -> str:
    """Rows as a Markdown table, then remarks as a list for each claim."""
    titles = iter(escape(_title(number, one)) for number, one in enumerate(judged, 1))
    found = []
    for row in rows(judged):
        claim, verdict, *rest = map(escape, row)
        if row[0][0].isdigit():
            title = next(titles)
            claim, verdict = f"**{title}**{claim.removeprefix(title)}", f"**{verdict}**"
        found.append([claim, verdict, *rest])
    lines = [markdown_table(COLUMNS, found), ""]
    lines += [f"{'' if line[0].isdigit() else '   - '}{escape(line)}" for line in remarks(judged)]
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


def _title(number: int, one: Judged) -> str:
    return f"{number}. {one.claim.title}"


def _evidence(found: Found) -> str:
    """The first records by id, and how many more; --json has all."""
    more = len(found.evidence) - IDS_SHOWN
    shown = [*found.evidence[:IDS_SHOWN], *([f"and {units.whole(more)} more"] if more > 0 else [])]
    return ", ".join(shown) + (f" ({found.within})" if found.within else "")
