"""The report in short: one statement of what was run, and `report.md` for a repository."""

from collections.abc import Sequence

from pks4.bench import units
from pks4.bench.report.figures.common import Picture
from pks4.bench.report.findings.sentences import Finding
from pks4.bench.table import Table
from pks4.bench.table import escape_markdown as escape
from pks4.bench.view.view import View

RECONSTRUCTION = (
    "PKS4 here is a reconstruction from the abstract of arXiv 2604.26461; "
    "no number here is the paper's."
)
_IN_FULL = (
    "headline", "fit", "published", "time", "scan", "accuracy", "convergence", "failures",
    "goals", "reference",
)  # fmt: skip
_IF_SHORT = ("accuracy_differences", "accuracy_frames")  # in full up to so many rows, else linked
_LONGEST = 48


def statement(view: View) -> str:
    """One paragraph: what was compared, with which measures, on what, when."""
    header = view.header
    if not view.rows:
        return f"Suite {header.get('suite')}: the run holds no record yet."
    measures = list(dict.fromkeys(row.measure for row in view.rows))
    frames = sorted({row.frames for row in view.rows})
    span = " to ".join(dict.fromkeys([str(frames[0]), str(frames[-1])]))
    cpu = (header.get("environment") or {}).get("cpu")
    return (
        f"Suite {header.get('suite')} put {units.counted(len(view.contestants), 'contestant')} "
        f"through {units.listed(measures)} at {span} frames{f' on {cpu}' if cpu else ''}, on "
        f"{header.get('created')}. Behind this page: {units.counted(len(view.rows), 'record')}."
    )


def markdown(
    view: View,
    findings: Sequence[Finding],
    tables: Sequence[Table],
    pictures: Sequence[Picture],
) -> str:
    """The summary as Markdown, with links to tables and figures."""
    lines = [f"# {escape(str(view.header.get('run')))}", "", escape(statement(view)), ""]
    lines += [f"> {RECONSTRUCTION}", ""]
    lines += [t.markdown() for t in tables if t.name in ("claims", "caveats") and t.rows]
    lines += ["## What this run shows", ""]
    lines += [f"- **{one.topic}.** {escape(one.words)}" for one in findings]
    lines.append("")
    for picture in pictures:
        plot = picture.plot
        lines += [f"![{escape(plot.alt)}](figures/{plot.name}.svg)", "", escape(plot.caption), ""]
    for table in tables:
        short = table.name in _IF_SHORT and len(table.rows) <= _LONGEST
        if table.rows and (short or table.name in _IN_FULL):
            lines += [table.markdown()]
    links = ", ".join(f"[{t.name}](tables/{t.name}.csv)" for t in tables)
    return "\n".join([*lines, f"Tables with raw SI values: {links}.", ""])
