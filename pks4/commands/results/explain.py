"""`pks4-bench explain`: how one number came about."""

from typing import Annotated

import typer

from pks4.bench.records.folders import run_folders
from pks4.commands.parts.terminal import AsJson, print_table, tell_notes


def explain(
    run_name: Annotated[str, typer.Argument(metavar="RUN", help="A run, its file, or latest.")],
    cell: Annotated[str, typer.Argument(help="Such as cost/pks4/t8; a run's report names them.")],
    metric: Annotated[str, typer.Argument(help="Such as saved_bytes; `list measures` names all.")],
    as_json: AsJson = False,
) -> None:
    """Show how a number came about: what was measured and how, kernel, rule, code, machine."""
    from pks4.bench.records import explain as explaining
    from pks4.bench.records import run_file

    path = run_file.find_run(run_name, run_folders())
    run = run_file.read(path)
    tell_notes(run.torn)
    record = explaining.find(run, cell, metric)
    if as_json:
        print(record.model_dump_json(indent=1))
        return
    for section, lines in explaining.explain(record).items():
        if lines:
            print_table((section, ""), lines)
            print()
