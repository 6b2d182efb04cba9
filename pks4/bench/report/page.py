"""The report as one HTML file: everything is in it, nothing is loaded, and one script may run.

That script sorts tables on a click. The page names its hash to the browser, which then runs no
other, whatever a record holds; without scripts the page says the same. Every string from a record
is escaped.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pks4.bench import units
from pks4.bench.report import summary
from pks4.bench.report.figures import common, palette
from pks4.bench.report.figures.common import Omitted, Picture
from pks4.bench.report.findings.sentences import Finding
from pks4.bench.report.tables.accepted_run import AcceptedComparison
from pks4.bench.table import Table, TableCell
from pks4.bench.view.view import FAMILIES, View

_GLYPHS = dict(zip(FAMILIES, "◆●■▲▼★⬢✖", strict=True))


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that a report says, before it becomes files."""

    view: View
    torn: Sequence[str]
    claims: Table
    caveats: Table  # of the claims
    tables: Sequence[Table]
    pictures: Sequence[Picture]
    omitted: Sequence[Omitted]
    findings: Sequence[Finding]
    accepted: AcceptedComparison | None = None


def page(report: Report) -> str:
    """The report as one HTML file."""
    environment = Environment(
        loader=PackageLoader("pks4.bench.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = files("pks4.bench.report").joinpath("templates/sort.js").read_text("utf-8")
    return environment.get_template("report.html.j2").render(
        report=report,
        view=report.view,
        header=report.view.header,
        facts=facts(report.view.header),
        statement=summary.statement(report.view),
        note=summary.RECONSTRUCTION,
        families=common.families(report.view, list(report.view.contestants)),
        colour=palette.colour,
        glyph=lambda family: _GLYPHS.get(family, "✚"),
        compact=_compact,
        missing=units.MISSING,
        sort_value=sort_value,
        script=Markup(script),  # ours, from the package
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def facts(header: Mapping[str, Any]) -> dict[str, str]:
    """Where and with what the run was made, as names and values to print."""
    state = {True: " with uncommitted changes", False: "", None: ", state of the tree unknown"}
    commit = header.get("commit") or "not known"
    machine = dict(header.get("environment") or {})
    memory = machine.pop("memory_bytes", None)
    return {
        "suite": str(header.get("suite")),
        "run": str(header.get("run")),
        "created": str(header.get("created")),
        "commit": f"{commit}{state[header.get('dirty')]}",
        "versions": _compact(header.get("versions") or {}),
        **{key: _compact(value) for key, value in machine.items()},
        **({"memory": units.quantity(memory, "B")} if memory else {}),
    }


def sort_value(cell: TableCell) -> str | None:
    """The number that a cell of a numeric column is sorted by; None where its text is that number.

    Also None for a cell without a number, which sorts last.
    """
    value = cell.value
    if isinstance(value, str):  # an exact fraction, or words
        try:
            value = float(Fraction(value))
        except ValueError:
            return None
    return None if value is None or str(value) == cell.text else str(value)


def _compact(value: Any) -> str:
    """A piece of a record on one line: `key value, key value`; empty fields are left out."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_compact(v)}" for k, v in value.items() if v is not None)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
