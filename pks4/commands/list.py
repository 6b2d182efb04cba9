"""`pks4-bench list`: suites, models, measures and runs, as columns and rows."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from pks4.bench.contestants import catalogue
from pks4.bench.records.folders import run_folders
from pks4.commands.parts.terminal import AsJson, note, print_table
from pks4.errors import UserError, unknown_name

SHOWN = {
    "models": "pks4-bench show model NAME",
    "measures": "pks4-bench show measure NAME",
}
Listing = tuple[tuple[str, ...], list[tuple[Any, ...]]]


def suites() -> Listing:
    """Every suite with its question."""
    from pks4.bench.plan.suite import read_suite

    read = {name: read_suite(path)[0] for name, path in catalogue.suites().items()}
    return ("suite", "title", "summary"), [(n, s.title, s.summary) for n, s in read.items()]


def models(params: bool) -> Listing:
    """Every contestant; with `params` also its parameters at paper scale, which imports torch."""
    columns = ("model", "family", "trained", "paper", "summary")
    rows: list[tuple[Any, ...]] = [
        (m.name, *(m.facts.get(fact, "") for fact in ("FAMILY", "TRAINED", "PAPER")), m.summary)
        for m in catalogue.models().values()
    ]
    if not params:
        return columns, rows
    from pks4.bench.contestants.card import Configuration, counted

    counts = [counted(m, Configuration(options={})) for m in catalogue.models().values()]
    joined = [
        (*row[:3], count.params_total, count.params_trainable, *row[3:])
        for row, count in zip(rows, counts, strict=True)
    ]
    return (*columns[:3], "params_total", "params_trainable", *columns[3:]), joined


def measures() -> Listing:
    """Every measure with its metrics."""
    return ("measure", "metrics", "summary"), [
        (m.name, ", ".join(m.facts.get("METRICS", ())), m.summary)
        for m in catalogue.measures().values()
    ]


def runs(folders: Iterable[Path]) -> Listing:
    """Every run in these folders, each name once, the latest first in each folder."""
    from pks4.bench.records import run_file

    rows: list[tuple[Any, ...]] = []
    paths: dict[str, Path] = {}
    for path in (path for folder in folders for path in run_file.runs(folder)):
        paths.setdefault(run_file.name_of(path), path)
    for name, path in paths.items():
        try:
            run = run_file.read(path)
        except UserError as error:
            rows.append((name, "", "", "", "", f"unreadable: {error}"))
            continue
        left = len(run.missing())
        state = "complete" if not left else f"{left} cells left"
        if run.header.part:
            state = f"{run.header.part}, {state}"
        rows.append((run.header.run, run.header.suite, run.header.created,
                     (run.header.commit or "")[:7], len(run.records), state))  # fmt: skip
    return ("run", "suite", "created", "commit", "records", "state"), rows


def in_millions(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Listing:
    """The table for people: numbers of parameters in millions, with headings that say so."""
    names = {"params_total": "parameters, M", "params_trainable": "trained, M"}
    shown = [
        tuple(
            f"{value / 1e6:,.2f}" if column in names else value
            for column, value in zip(columns, row, strict=True)
        )
        for row in rows
    ]
    return tuple(names.get(column, column) for column in columns), shown


def list_(
    what: Annotated[str, typer.Argument(help="suites, models, measures or runs.")],
    params: Annotated[
        bool, typer.Option("--params", help="Count the models' parameters at paper scale too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List what there is."""
    kinds = {
        "suites": suites,
        "models": lambda: models(params),
        "measures": measures,
        "runs": lambda: runs(run_folders()),
    }
    if what not in kinds:
        raise UserError(unknown_name("list", what, kinds))
    if params and what != "models":
        raise UserError(f"--params counts parameters of models; list {what} has none")
    with note.status("counting parameters on meta" if params else "looking"):
        columns, rows = kinds[what]()
    if as_json:
        print(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=1))
    else:
        print_table(*in_millions(columns, rows))
        if what in SHOWN:
            note.print(f"{SHOWN[what]} prints one in full", markup=False, highlight=False)
