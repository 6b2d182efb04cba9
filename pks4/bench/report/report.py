"""The report of a run: tables, figures and one page that a person reads, from its records alone.

`write` builds the whole folder under another name and then moves it into place at once, so a report
is never half old and half new. Every number in a table is linked to the record that it came from;
`page.py` makes the page. Equal records, compared with equal accepted runs, give equal files.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from pks4.bench.claims.claims import read_claims
from pks4.bench.claims.judge import Judged, judge
from pks4.bench.contestants import catalogue
from pks4.bench.records import run_file
from pks4.bench.report import summary
from pks4.bench.report.figures import (
    accuracy,
    common,
    costs,
    curves,
    effects,
    factorial,
    headline,
    stages,
    trade,
)
from pks4.bench.report.figures.common import Omitted, Plot
from pks4.bench.report.findings import costs as cost_findings
from pks4.bench.report.page import Report, page
from pks4.bench.report.tables import costs as cost_tables
from pks4.bench.report.tables.accepted_run import AcceptedComparison, against_accepted
from pks4.bench.report.tables.claims import caveats, claims, goals
from pks4.bench.table import Table
from pks4.bench.view.view import View
from pks4.errors import UserError

MARKER = ".pks4-report"
PAGE = "report.html"
_FIGURES = (factorial, trade, costs, stages, effects, accuracy, curves)


def write(run_path: Path, out_dir: Path, results: Path | None = None) -> Path:
    """Write the report of the run at `run_path` into the folder `out_dir`; gives its page's path.

    The run is compared with the accepted run that the ledger in `results` names; None: with none.
    An older report in `out_dir` is replaced as a whole. Raises UserError if `run_path` is not a
    run's file, or if `out_dir` holds something that is not a report of ours.
    """
    out = Path(out_dir).absolute()
    _refuse_foreign(out)
    run = run_file.read(Path(run_path))
    judged = [judge(claim, [run]) for claim in read_claims(catalogue.claims()).claims]
    file = catalogue.goals(run.header.suite)
    tested = [goals(read_claims(file), run)] if file else []
    view = View(run.records, run.header.model_dump(), run.missing())
    accepted = against_accepted(run, results) if results else None
    report = build(view, run.torn, judged, accepted, tested)
    building = out.with_name(f".{out.name}.{os.getpid()}.new")
    try:
        building.mkdir(parents=True)
        _write_files(building, report)
        _put_in_place(building, out)
    except OSError as error:
        raise UserError(f"{out}: the report cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return out / PAGE


def build(
    view: View,
    torn: Sequence[str] = (),
    judged: Sequence[Judged] = (),
    accepted: AcceptedComparison | None = None,
    tested: Sequence[Table] = (),
) -> Report:
    """Everything that the report will say.

    `torn` are lines of the run that could not be read, `judged` the claims judged by its records,
    `accepted` its comparison with the accepted run, and `tested` the table of its suite's goals.
    """
    figures = [headline.build(view), *(one for module in _FIGURES for one in module.build(view))]
    return Report(
        view=view,
        torn=torn,
        claims=claims(judged),
        caveats=caveats(judged),
        tables=[*tested, *cost_tables.build(view)],
        pictures=[common.render(plot) for plot in figures if isinstance(plot, Plot)],
        omitted=[one for one in figures if isinstance(one, Omitted)],
        findings=cost_findings.build(view),
        accepted=accepted,
    )


def _write_files(folder: Path, report: Report) -> None:
    (folder / MARKER).write_text(f"report of {report.view.header.get('run')}\n", "utf-8")
    for name in ("tables", "figures"):
        (folder / name).mkdir()
    tables = [report.claims, report.caveats, *report.tables]
    if report.accepted and report.accepted.table:
        tables.append(report.accepted.table)
    for table in tables:
        stem = folder / "tables" / table.name
        table.raw().to_csv(stem.with_suffix(".csv"), index=False, lineterminator="\n")
        stem.with_suffix(".md").write_text(table.markdown(), "utf-8")
        stem.with_suffix(".tex").write_text(table.latex(), "utf-8")
    for picture in report.pictures:
        stem = folder / "figures" / picture.plot.name
        for kind, content in picture.files.items():
            stem.with_suffix(f".{kind}").write_bytes(content)
        if picture.plot.data is not None:
            picture.plot.data.to_csv(stem.with_suffix(".csv"), index=False, lineterminator="\n")
    words = summary.markdown(report.view, report.findings, tables, report.pictures)
    (folder / "report.md").write_text(words, "utf-8")
    (folder / PAGE).write_text(page(report), "utf-8")


def _refuse_foreign(out: Path) -> None:
    """Raise UserError if `out` exists and is neither an empty folder nor a report of ours."""
    if not out.exists() and not out.is_symlink():
        return
    folder = out.is_dir() and not out.is_symlink()
    if folder and ((out / MARKER).is_file() or not any(out.iterdir())):
        return
    raise UserError(f"{out} is not a report of pks4-bench; choose another folder with --out")


def _put_in_place(built: Path, out: Path) -> None:
    """Exchange the folder at `out` for `built`; on failure the old one is back."""
    if not out.exists():
        built.rename(out)
        return
    old = built.with_suffix(".old")
    out.rename(old)
    try:
        built.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old)
