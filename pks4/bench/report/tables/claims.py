"""The tables of claims: what a paper says, as far as the records of one run speak to it."""

from collections.abc import Sequence

from pks4.bench.claims.judge import CONTRADICTED, Judged
from pks4.bench.report.tables.table import Column, Entry, Line, Table, table, text


def claims(judged: Sequence[Judged]) -> Table:
    """Each claim that has evidence, then its tests; a claim without any is left out."""
    silent = [one.claim.title for one in judged if one not in _spoken(judged)]
    left = f" This run does not speak to: {'; '.join(silent)}." if silent else ""
    return table(
        name="claims",
        title="What the paper claims, and what this run says to it",
        note=(
            "In brackets: the scale of the test. Bounds and reasons stand in suites/claims.toml; "
            f"pks4-bench claims judges several runs together.{left}"
        ),
        columns=(
            Column(key="claim", heading="claim, test"),
            Column(key="verdict", heading="verdict"),
            Column(key="effect", heading="effect, or what is missing"),
        ),
        lines=[line for one in _spoken(judged) for line in _lines(one)],
    )


def caveats(judged: Sequence[Judged]) -> Table:
    """What to keep in mind of each claim that has evidence, a line a caveat."""
    return table(
        name="caveats",
        title="What to keep in mind of these claims",
        note="The same for every run: they are about how a claim is tested.",
        columns=(
            Column(key="claim", heading="claim"),
            Column(key="caveat", heading="keep in mind"),
        ),
        lines=[
            {"claim": text(one.claim.title), "caveat": text(caveat)}
            for one in _spoken(judged)
            for caveat in one.claim.caveats
        ],
    )


def _spoken(judged: Sequence[Judged]) -> list[Judged]:
    return [one for one in judged if any(found.evidence for _, found in one.tests)]


def _lines(one: Judged) -> list[Line]:
    title = Entry(value=one.claim.title, text=f"{one.claim.title} [{one.claim.scale}]")
    found: list[Line] = [
        {"claim": title, "verdict": _verdict(one.verdict), "effect": Entry(value=None, text="")}
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
