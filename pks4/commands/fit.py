"""`pks4-bench fit`: how many frames, and how many clips, fit in a memory."""

import json
from typing import Annotated

import typer

from pks4.bench.records.environment import cores
from pks4.bench.records.folders import suite_named
from pks4.commands.parts.terminal import AsJson, note, print_table


def fit(
    memory: Annotated[str, typer.Option("--memory", help="Of the device, such as 24GB.")],
    target: Annotated[
        str, typer.Option(help="cpu-fp32, cpu-bf16, cuda-fp32 or cuda-bf16.")
    ] = "cuda-bf16",
    batch: Annotated[int, typer.Option(min=1, help="Clips of a step, for the most frames.")] = 1,
    kernel: Annotated[
        str, typer.Option(help='"math" materialises attention scores; else the target\'s default.')
    ] = "",
    suite: Annotated[str, typer.Option(help="Whose contestants.")] = "scaling",
    only: Annotated[list[str] | None, typer.Option("--only", help="A label; repeat.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say how many frames, and how many clips of 16, fit in a training step at paper scale."""
    from pks4.bench.budget import fit as fitting
    from pks4.commands.parts.progress import bar

    questions = fitting.ask(suite_named(suite)[0], only or [], memory, target, kernel, batch)
    with bar(note, "simulating steps") as update:
        fits = []
        for answer in fitting.answers(questions, cores()):
            fits.append(answer)
            update(len(fits), len(questions))
    fits.sort(key=lambda f: -f.frames)
    if as_json:
        print(json.dumps([vars(f) for f in fits], indent=1))
        return
    print_table(*fitting.table(fits))
    print("", *fitting.remarks(questions[0], fits), sep="\n")
