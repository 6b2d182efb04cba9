""" """

from collections.abc import Sequence
from dataclasses import dataclass

from pks4.bench.report.figures.common import Omitted, Picture
from pks4.bench.report.findings.sentences import Finding
from pks4.bench.report.tables.accepted_run import Beside
from pks4.bench.report.tables.table import Table
from pks4.bench.view.view import View


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
    beside: Beside | None = None
