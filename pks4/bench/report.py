"""The report of a run: tables, figures and one page that a person reads, from its records alone.

`write` builds the whole folder beside its place and then puts it there at once, so a report is
never half old and half new. The page is one file: no script, nothing loaded from elsewhere, every
string from a record escaped, every number in a table linked to the record that it came from. Equal
records give equal files.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pks4.bench import (
    catalogue,
    figures,
    figures_accuracy,
    figures_curves,
    findings,
    headline,
    palette,
    store,
    summary,
    tables,
    units,
)
from pks4.bench.claims import read_claims
from pks4.bench.claims_judge import Judged, judge
from pks4.bench.figures import Omitted, Picture, Plot
from pks4.bench.latex import latex
from pks4.bench.sentences import Finding
from pks4.bench.sheet import Table
from pks4.bench.tables_claims import claims
from pks4.bench.view import FAMILIES, View
from pks4.errors import UserError

MARKER = ".pks4-report"
PAGE = "report.html"
_GLYPHS = dict(zip(FAMILIES, "◆●■▲✖", strict=True))


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that a report says, before it becomes files."""

    view: View
    torn: Sequence[str]
    claims: Table
    tables: Sequence[Table]
    pictures: Sequence[Picture]
    omitted: Sequence[Omitted]
    findings: Sequence[Finding]


def write(run_path: Path, out_dir: Path) -> Path:
    """Write the report of the run at `run_path` into the folder `out_dir`; gives its page's path.

    An older report in `out_dir` is replaced as a whole. Raises UserError if `run_path` is not a
    run's file, or if `out_dir` holds something that is not a report of ours.
    """
    out = Path(out_dir).absolute()
    _refuse_foreign(out)
    run = store.read(Path(run_path))
    judged = [judge(claim, [run]) for claim in read_claims(catalogue.claims()).claims]
    view = View(store.frame(run.records), run.header.model_dump(), run.missing())
    report = build(view, run.torn, judged)
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


def build(view: View, torn: Sequence[str] = (), judged: Sequence[Judged] = ()) -> Report:
    """Everything that the report will say.

    `torn` are lines of the run that could not be read, `judged` the claims held against it.
    """
    accuracy = [*figures_accuracy.build(view), *figures_curves.build(view)]
    made = [headline.build(view), *figures.build(view), *accuracy]
    plots = [one for one in made if isinstance(one, Plot)]
    return Report(
        view=view,
        torn=torn,
        claims=claims(judged),
        tables=tables.build(view),
        pictures=[figures.render(plot) for plot in plots],
        omitted=[one for one in made if isinstance(one, Omitted)],
        findings=findings.build(view),
    )


def page(report: Report) -> str:
    """The report as one HTML file."""
    environment = Environment(
        loader=PackageLoader("pks4.bench", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        report=report,
        view=report.view,
        header=report.view.header,
        facts=facts(report.view.header),
        statement=summary.statement(report.view),
        note=summary.RECONSTRUCTION,
        families=figures.families(report.view, list(report.view.contestants)),
        colour=palette.colour,
        glyph=lambda family: _GLYPHS.get(family, "✚"),
        compact=_compact,
        missing=units.MISSING,
    )


def facts(header: Mapping[str, Any]) -> dict[str, str]:
    """Where and with what the run was made, as names and values to print."""
    state = {True: " with uncommitted changes", False: "", None: ", state of the tree unknown"}
    commit = header.get("commit") or "not known"
    machine = dict(header.get("environment") or {})
    memory = machine.pop("memory_bytes", None)
    told = {
        "suite": str(header.get("suite")),
        "run": str(header.get("run")),
        "created": str(header.get("created")),
        "commit": f"{commit}{state[header.get('dirty')]}",
        "versions": _compact(header.get("versions") or {}),
    }
    told |= {key: _compact(value) for key, value in machine.items()}
    return told | ({"memory": units.quantity(memory, "B")} if memory else {})


def _compact(value: Any) -> str:
    """A piece of a record on one line: `key value, key value`; empty fields are left out."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_compact(v)}" for k, v in value.items() if v is not None)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _write_files(folder: Path, report: Report) -> None:
    (folder / MARKER).write_text(f"report of {report.view.header.get('run')}\n", "utf-8")
    for name in ("tables", "figures"):
        (folder / name).mkdir()
    for table in (report.claims, *report.tables):
        stem = folder / "tables" / table.name
        table.raw().to_csv(stem.with_suffix(".csv"), index=False, lineterminator="\n")
        stem.with_suffix(".md").write_text(table.markdown(), "utf-8")
        stem.with_suffix(".tex").write_text(latex(table), "utf-8")
    for picture in report.pictures:
        stem = folder / "figures" / picture.plot.name
        for kind, content in picture.files.items():
            stem.with_suffix(f".{kind}").write_bytes(content)
        if picture.plot.data is not None:
            picture.plot.data.to_csv(stem.with_suffix(".csv"), index=False, lineterminator="\n")
    made = [report.claims, *report.tables]
    words = summary.markdown(report.view, report.findings, made, report.pictures)
    (folder / "report.md").write_text(words, "utf-8")
    (folder / PAGE).write_text(page(report), "utf-8")


def _refuse_foreign(out: Path) -> None:
    """Raise UserError if something stands at `out` that is neither empty nor a report of ours."""
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
