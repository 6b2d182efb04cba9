"""A comparison for people and for machines: rows of a table, JSON, Markdown, JUnit XML.

Names and reasons come from records, so they are escaped: in Markdown here, in XML by the library,
without the control characters that XML does not allow.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

from pks4.bench import units
from pks4.bench.compare.cases import Change
from pks4.bench.compare.compare import ALARMS, Comparison, Entry
from pks4.bench.table import escape_markdown as escape
from pks4.bench.table import markdown as markdown_table

COLUMNS = ("state", "cell", "metric", "BASE", "HEAD", "effect", "why")
ORDER = (
    "worse", "changed", "missing", "not comparable", "inconclusive", "accepted", "better", "new",
    "same",
)  # fmt: skip
PARTS_SHOWN = 6
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def rows(comparison: Comparison, every: bool = False) -> list[tuple[str, ...]]:
    """Rows under `COLUMNS`, alarms first; without `every` none that is the same, nor by rule.

    An accepted number with an equal value counts as the same. The `summary` gives the reasons of
    acceptances; where there are several, a row names the number of its reason.
    """
    shown = [e for e in comparison.entries if every or not (_is_same(e) or e.by_rule)]
    shown.sort(key=lambda e: ORDER.index(e.state))
    reasons = _reasons(comparison)
    return [
        (e.state, e.cell, e.metric, _value(e, e.base), _value(e, e.head), effect(e),
         "; ".join(filter(None, [_numbered(e, reasons), _facts(e)])))
        for e in shown
    ]  # fmt: skip


def _is_same(entry: Entry) -> bool:
    return entry.state == "same" or (entry.state == "accepted" and entry.base == entry.head)


def _reasons(comparison: Comparison) -> dict[str, int]:
    """Reason of an acceptance -> how many numbers it holds for."""
    return Counter(e.reason for e in comparison.of("accepted"))


def _numbered(entry: Entry, reasons: Mapping[str, int]) -> str:
    several = entry.state == "accepted" and len(reasons) > 1
    return f"reason {[*reasons].index(entry.reason) + 1}" if several else ""


def summary(comparison: Comparison) -> list[str]:
    """How many numbers are in which state, and what follows for the exit code."""
    counts = comparison.counts
    states = ", ".join(f"{counts[s]} {s}" for s in ORDER if s in counts) or "no number in either"
    ends = {
        0: "no regression",
        1: "regression: a number is worse, changed without being accepted, or missing",
        2: "nothing was compared"
        if not set(counts) - {"not comparable", "new"}
        else "numbers that should compare do not: their cases differ",
    }
    code = comparison.exit_code
    by_rule = [e for e in comparison.entries if e.by_rule]
    rules = "; ".join(dict.fromkeys(e.why for e in by_rule))
    reasons = _reasons(comparison)
    return [
        f"{comparison.suite}: {comparison.base} → {comparison.head}: {states}",
        f"exit code {code}: {ends[code]}",
        *([f"{len(by_rule)} not comparable by rule: {rules}"] if by_rule else []),
        *(
            f"{f'reason {number}: ' if len(reasons) > 1 else ''}{count} accepted: {reason}"
            for number, (reason, count) in enumerate(reasons.items(), 1)
        ),
        *comparison.notes,
    ]


def document(comparison: Comparison) -> dict[str, Any]:
    """All of it, as JSON has it."""
    return {
        "base": comparison.base,
        "head": comparison.head,
        "suite": comparison.suite,
        "exit_code": comparison.exit_code,
        "counts": comparison.counts,
        "notes": list(comparison.notes),
        "entries": [
            {**asdict(e), "parts": [part._asdict() for part in e.parts]} for e in comparison.entries
        ],
    }


def markdown(comparison: Comparison) -> str:
    """A comment for a pull request: what matters as a table, then the counts."""
    head, *more = summary(comparison)
    lines = [f"### pks4-bench compare: {escape(head)}", "", *map(escape, more), ""]
    found = [[escape(text) for text in row] for row in rows(comparison)]
    if found:
        lines.append(markdown_table(COLUMNS, found))
    return "\n".join(lines) + "\n"


def junit(comparison: Comparison) -> str:
    """JUnit XML: a test case a number; alarms fail, what says nothing is skipped."""
    failures = comparison.of(*ALARMS)
    skipped = comparison.of("not comparable", "inconclusive")
    suite = ElementTree.Element(
        "testsuite",
        name=_xml(f"pks4-bench compare {comparison.suite}"),
        tests=str(len(comparison.entries)),
        failures=str(len(failures)),
        errors="0",
        skipped=str(len(skipped)),
    )
    for e in comparison.entries:
        case = ElementTree.SubElement(
            suite, "testcase", classname=_xml(e.cell), name=_xml(f"{e.measure}.{e.metric}")
        )
        text = _xml(f"{_value(e, e.base)} → {_value(e, e.head)} {effect(e)} {why(e)}".strip())
        if e in failures:
            ElementTree.SubElement(case, "failure", message=e.state, type=e.state).text = text
        elif e in skipped:
            ElementTree.SubElement(case, "skipped", message=_xml(f"{e.state}: {text}"))
        else:
            ElementTree.SubElement(case, "system-out").text = _xml(f"{e.state} {text}")
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def effect(entry: Entry) -> str:
    """The effect with its interval: `+3.1 % (95 %: +1.2 to +5.0)`, `+12`."""
    if entry.effect is None or (entry.state == "same" and entry.interval is None):
        return ""
    p = "" if entry.p is None else f", p = {entry.p:.2g}"
    level = units.level(entry.level or 0)
    if entry.kind == "noisy":
        low, high = (f"{100 * (x - 1):+.1f}" for x in entry.interval or ())
        return f"{100 * (entry.effect - 1):+.1f} % ({level}: {low} to {high}){p}"
    if entry.kind == "sampled" and entry.unit == "1":
        ends = f" ({level}: {units.point_interval(entry.interval)})" if entry.interval else ""
        return f"{units.points(entry.effect)} points{ends}{p}"
    if isinstance(entry.effect, int):
        share = f" ({100 * entry.effect / entry.base:+.3g} %)" if entry.base else ""
        return f"{entry.effect:+,}{share}"
    return f"{entry.effect:+.3g}{p}"


def why(entry: Entry) -> str:
    """The reason of an acceptance, the reason, the parts that differ."""
    accepted = f"accepted: {entry.reason}" if entry.reason else ""
    return "; ".join(filter(None, [accepted, _facts(entry)]))


def _facts(entry: Entry) -> str:
    parts = [_part(part) for part in entry.parts[:PARTS_SHOWN]]
    if len(entry.parts) > PARTS_SHOWN:
        parts.append(f"{len(entry.parts) - PARTS_SHOWN} parts more in --json")
    return "; ".join(filter(None, [entry.why, *parts]))


def _part(part: Change) -> str:
    return f"{part.part} {part.base:,} → {part.head:,}"


def _value(entry: Entry, value: float | int | None) -> str:
    if value is None:
        return units.MISSING
    if entry.kind == "sampled" and entry.unit == "1":
        return units.percent(value)
    if entry.unit == "s":
        return units.quantity(value, "s")
    return units.short(value, entry.unit)


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
