"""The table of claims: what a paper says, as far as the records of one run speak to it."""

from collections.abc import Sequence

from pks4.bench.claims_judge import CONTRADICTED, Judged
from pks4.bench.sheet import Column, Entry, Line, Table, table, text


def claims(judged: Sequence[Judged]) -> Table:
    """Each claim that has evidence, then its tests; a claim without any is left out."""
    spoken = [one for one in judged if any(found.evidence for _, found in one.tests)]
    silent = [one.claim.title for one in judged if one not in spoken]
    left = f" This run does not speak to: {'; '.join(silent)}." if silent else ""
    return table(
        name="claims",
        title="What the paper claims, and what this run says to it",
        note=(
            "Bounds and reasons stand in suites/claims.toml, caveats below each claim; "
            f"pks4-bench claims judges several runs together.{left}"
        ),
        columns=(
            Column(key="claim", heading="claim, test"),
            Column(key="verdict", heading="verdict"),
            Column(key="effect", heading="effect, or what is missing"),
        ),
        lines=[line for one in spoken for line in _lines(one)],
    )


def _lines(one: Judged) -> list[Line]:
    caveats = " ".join(one.claim.caveats)
    found: list[Line] = [
        {"claim": text(one.claim.title), "verdict": _verdict(one.verdict), "effect": text(caveats)}
    ]
    for test, came in one.tests:
        shown = "" if test.judged else " (shown, not judged)"
        found.append(
            {
                "claim": text(f"· {test.name}{shown}"),
                "verdict": _verdict(came.verdict if test.judged or came.missing else ""),
                "effect": text(f"missing: {came.missing}" if came.missing else came.effect),
            }
        )
    return found


def _verdict(verdict: str) -> Entry:
    return Entry(value=verdict, text=verdict, tone="bad" if verdict == CONTRADICTED else None)
