"""What `pks4-bench list` prints: columns and rows of suites, models, measures and runs."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pks4.bench import catalogue
from pks4.errors import UserError

Listing = tuple[tuple[str, ...], list[tuple[Any, ...]]]


def suites() -> Listing:
    """Every suite with its question."""
    from pks4.bench.suite import read_suite

    read = {name: read_suite(path)[0] for name, path in catalogue.suites().items()}
    return ("suite", "title", "summary"), [(n, s.title, s.summary) for n, s in read.items()]


def models(params: bool) -> Listing:
    """Every contestant; with `params` its parameters at paper scale, which takes torch."""
    columns = ("model", "family", "trained", "paper", "summary")
    rows: list[tuple[Any, ...]] = [
        (m.name, *(m.facts.get(fact, "") for fact in ("FAMILY", "TRAINED", "PAPER")), m.summary)
        for m in catalogue.models().values()
    ]
    if not params:
        return columns, rows
    from pks4.bench.card import Configuration, counted

    found = [counted(m, Configuration(options={})) for m in catalogue.models().values()]
    both = [(one.params_total, one.params_trainable) for one in found]
    joined = [(*row[:3], *two, *row[3:]) for row, two in zip(rows, both, strict=True)]
    return (*columns[:3], "params_total", "params_trainable", *columns[3:]), joined


def measures() -> Listing:
    """Every measure, with the metrics that it gives."""
    return ("measure", "metrics", "summary"), [
        (m.name, ", ".join(m.facts.get("METRICS", ())), m.summary)
        for m in catalogue.measures().values()
    ]


def runs(folders: Iterable[Path]) -> Listing:
    """Every run in these folders, once, the latest first in each."""
    from pks4.bench import store

    rows: list[tuple[Any, ...]] = []
    paths: dict[str, Path] = {}
    for path in (path for folder in folders for path in store.runs(folder)):
        paths.setdefault(path.name, path)
    for path in paths.values():
        try:
            run = store.read(path)
        except UserError as error:
            rows.append((path.stem, "", "", "", "", f"unreadable: {error}"))
            continue
        left = len(run.missing())
        state = "complete" if not left else f"{left} cells left"
        if run.header.part:
            state = f"{run.header.part}, {state}"
        rows.append((run.header.run, run.header.suite, run.header.created,
                     (run.header.commit or "")[:7], len(run.records), state))  # fmt: skip
    return ("run", "suite", "created", "commit", "records", "state"), rows


def in_millions(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Listing:
    """The same for people: counts of parameters in millions, under headings that say so."""
    names = {"params_total": "parameters, M", "params_trainable": "trained, M"}
    shown = [
        tuple(
            f"{value / 1e6:,.2f}" if column in names else value
            for column, value in zip(columns, row, strict=True)
        )
        for row in rows
    ]
    return tuple(names.get(column, column) for column in columns), shown
