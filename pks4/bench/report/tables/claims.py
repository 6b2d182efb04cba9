"""The tables of claims: what a paper says, as far as the records of one run speak to it."""

from collections.abc import Sequence

from pks4.bench.claims.claims import Claims
from pks4.bench.claims.judge import CONTRADICTED, Judged, judge
from pks4.bench.records.run_file import RunFile
from pks4.bench.table import Column, Table, TableCell, TableRow, table, words

_COLUMNS = (
    Column("claim", "claim, test"),
    Column("verdict", "verdict"),
    Column("effect", "effect, or what is missing"),
)


def claims(judged: Sequence[Judged]) -> Table:
    """Each claim that has evidence, then its tests; a claim without any is left out."""
    silent = [one.claim.title for one in judged if not _has_evidence(one)]
    left = f" This run does not speak to: {'; '.join(silent)}." if silent else ""
    return table(
        name="claims",
        title="What the paper claims, and what this run says to it",
        note=(
            "In brackets: the scale of the test. Bounds and reasons are in suites/claims.toml; "
            f"pks4-bench claims judges several runs together.{left}"
        ),
        columns=_COLUMNS,
        rows=[row for one in judged if _has_evidence(one) for row in _rows(one)],
    )


def goals(stated: Claims, run: RunFile) -> Table:
    """Each goal of a suite, then its tests: supported is reached, contradicted is missed."""
    return table(
        name="goals",
        title=stated.title,
        note=f"Goals are {stated.source}; bounds and reasons are in suites/goals/.",
        columns=_COLUMNS,
        rows=[row for goal in stated.claims for row in _rows(judge(goal, [run]))],
    )


def caveats(judged: Sequence[Judged]) -> Table:
    """What to keep in mind of each claim that has evidence, a row a caveat."""
    return table(
        name="caveats",
        title="What to keep in mind of these claims",
        note="The same for every run: they are about how a claim is tested.",
        columns=(
            Column("claim", "claim"),
            Column("caveat", "keep in mind"),
        ),
        rows=[
            {"claim": words(one.claim.title), "caveat": words(caveat)}
            for one in judged
            if _has_evidence(one)
            for caveat in one.claim.caveats
        ],
    )


def _has_evidence(one: Judged) -> bool:
    return any(found.evidence for _, found in one.tests)


def _rows(one: Judged) -> list[TableRow]:
    title = TableCell(one.claim.title, f"{one.claim.title} [{one.claim.scale}]")
    rows: list[TableRow] = [
        {"claim": title, "verdict": _verdict(one.verdict), "effect": TableCell(text="")}
    ]
    for test, found in one.tests:
        shown = "" if test.judged else " (shown, not judged)"
        rows.append(
            {
                "claim": words(f"· {test.name}{shown}"),
                "verdict": _verdict(found.verdict if test.judged or found.missing else ""),
                "effect": words(f"missing: {found.missing}" if found.missing else found.effect),
            }
        )
    return rows


def _verdict(verdict: str) -> TableCell:
    return words(verdict, tone="bad" if verdict == CONTRADICTED else None)
