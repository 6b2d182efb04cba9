"""`pks4-bench claims`, `history`, `merge` and `show schema`: answers from runs. Part of the CLI."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pks4.commands.places import run_folders
from pks4.commands.show import show_app
from pks4.commands.terminal import JSON_OR_MARKDOWN, AsJson, print_table, say, tell_notes
from pks4.errors import UserError

Runs = Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs, their files, or latest.")]


def claims(
    runs: Runs,
    file: Annotated[
        Path | None, typer.Option("--claims", help="Claims of your own; default: the paper's.")
    ] = None,
    as_json: AsJson = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Judge claims by records: supported, contradicted, inconclusive, not testable here.

    No verdict without evidence: what is missing is named, with the command that measures it. The
    exit code is 0 whatever the verdicts.
    """
    from pks4.bench import catalogue, claims_print
    from pks4.bench.claims import read_claims
    from pks4.bench.claims_judge import judge

    if as_json and as_markdown:
        raise UserError(JSON_OR_MARKDOWN)
    stated = read_claims(file or catalogue.claims())
    read = _read(runs)
    judged = [judge(claim, read) for claim in stated.claims]
    if as_json:
        print(json.dumps(claims_print.document(judged), indent=1))
        return
    if as_markdown:
        say(claims_print.markdown(judged).removesuffix("\n"))
        return
    say(f"{stated.title} ({stated.source})\n")
    print_table(claims_print.COLUMNS[:-1], [row[:-1] for row in claims_print.rows(judged)])
    say("", *claims_print.remarks(judged, evidence=True))


def merge(
    runs: Runs,
    out: Annotated[Path, typer.Option("--out", help="A new .jsonl file.")],
) -> None:
    """Join runs of one suite, such as its shards from several machines, into one new file."""
    from pks4.bench import merge as merging
    from pks4.bench import units

    if out.suffix != ".jsonl":
        raise UserError(f"{out}: name a .jsonl file, such as {out.with_suffix('.jsonl')}")
    merged, told = merging.merge(_read(runs), out)
    tell_notes(told)
    left, part = list(merged.missing()), merged.header.part
    state = f"left: {units.some(left, 'cell')}" if left else "complete"
    state = f"{part}, {state}" if part else state
    say(f"{out}: {len(merged.records)} records, {state}")


def history(
    metric: Annotated[str, typer.Argument(help="Such as saved_bytes; `list measures` names all.")],
    suite: Annotated[str, typer.Option(help="Only runs of this suite.")] = "",
    label: Annotated[str, typer.Option(help="Only this contestant.")] = "",
    cell: Annotated[str, typer.Option(help="Only this cell, such as cost/pks4/t8.")] = "",
    long: Annotated[bool, typer.Option("--long", help="Every run of each cell.")] = False,
    runs: Annotated[
        list[Path] | None, typer.Option("--runs", help="A folder of runs; repeat for more.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a number over runs and commits in order of time, with change points as advice.

    A row a cell, from the first run to the last; a cell that is asked for, or that is the only one,
    run by run.
    """
    from pks4.bench import history as past
    from pks4.bench import history_print

    folders = runs or run_folders()
    series, notes = past.collect(folders, metric, suite=suite, label=label, cell=cell)
    tell_notes(notes)
    if as_json:
        print(json.dumps([past.document(one) for one in series], indent=1))
        return
    run_by_run = long or cell or len(series) == 1
    shown = (
        [history_print.run_by_run(one) for one in series]
        if run_by_run
        else [history_print.table(series)]
    )
    for title, columns, rows in shown:
        say(title)
        print_table(columns, rows)
        print()
    say(history_print.REMARK)


@show_app.command("schema")
def schema() -> None:
    """Print the JSON Schema of the lines of a run's file."""
    from pks4.bench.record import json_schema

    print(json.dumps(json_schema(), indent=1))


def _read(names: list[str]) -> list[Any]:
    from pks4.bench import store

    read = [store.read(store.find_run(name, run_folders())) for name in names]
    tell_notes(line for run in read for line in run.torn)
    return read


def register(app: typer.Typer) -> None:
    """Give these commands to the command line."""
    for command in (claims, merge, history):
        app.command()(command)
