"""`pks4-bench fit` and `pks4-bench explain`: questions that end in an answer, not in a run."""

import json
from typing import Annotated

import typer

from pks4.bench.environment import cores
from pks4.commands.places import run_folders, suite_named
from pks4.commands.terminal import AsJson, note, print_table, tell_notes


def explain(
    run_name: Annotated[str, typer.Argument(metavar="RUN", help="A run, its file, or latest.")],
    cell: Annotated[str, typer.Argument(help="Such as cost/pks4/t8; a run's report names them.")],
    metric: Annotated[str, typer.Argument(help="Such as saved_bytes; `list measures` names all.")],
    as_json: AsJson = False,
) -> None:
    """Show how a number came about: what was measured and how, kernel, rule, code, machine."""
    from pks4.bench import explain as explaining
    from pks4.bench import store

    path = store.find_run(run_name, run_folders())
    run = store.read(path)
    tell_notes(run.torn)
    record = explaining.find(run, cell, metric)
    if as_json:
        print(record.model_dump_json(indent=1))
        return
    for section, lines in explaining.explain(record).items():
        if lines:
            print_table((section, ""), lines)
            print()


def fit(
    memory: Annotated[str, typer.Option("--memory", help="Of the device, such as 24GB.")],
    target: Annotated[
        str, typer.Option(help="cpu-fp32, cpu-bf16, cuda-fp32 or cuda-bf16.")
    ] = "cuda-bf16",
    batch: Annotated[int, typer.Option(min=1, help="Clips of a step, for the most frames.")] = 1,
    kernel: Annotated[
        str, typer.Option(help='"math" materialises attention scores; else the target\'s own.')
    ] = "",
    suite: Annotated[str, typer.Option(help="Whose contestants.")] = "scaling",
    only: Annotated[list[str] | None, typer.Option("--only", help="A label; repeat.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say how many frames, and how many clips of 16, fit in a training step at paper scale."""
    from pks4.bench import fit as fitting
    from pks4.commands.progress import bar

    questions = fitting.ask(suite_named(suite)[0], only or [], memory, target, kernel, batch)
    with bar(note, "simulating steps") as update:
        found = []
        for answer in fitting.answers(questions, cores()):
            found.append(answer)
            update(len(found), len(questions))
    found.sort(key=lambda f: -f.frames)
    if as_json:
        print(json.dumps([vars(f) for f in found], indent=1))
        return
    print_table(*fitting.table(found))
    print("", *fitting.remarks(questions[0], found), sep="\n")
