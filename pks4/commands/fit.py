"""`pks4-bench fit`: how many frames, and how many clips, fit in a memory."""

import json
from pathlib import Path
from typing import Annotated

import typer

from pks4.bench.records.environment import cores
from pks4.bench.records.folders import suite_named
from pks4.commands.cost import Input, Kernel, TargetName
from pks4.commands.parts.terminal import AsJson, note, print_table
from pks4.errors import UserError

OwnModels = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="In place of a suite: a file with build(*, frames, num_classes, image_size, …), or "
        "what `pks4-bench cost` takes, for the most clips of its input. Repeat for more files.",
    ),
]


def fit(
    memory: Annotated[str, typer.Option("--memory", help="Of the device, such as 24GB.")],
    target: TargetName = "cuda-bf16",
    batch: Annotated[int, typer.Option(min=1, help="Clips of a step, for the most frames.")] = 1,
    kernel: Kernel = "",
    suite: Annotated[str, typer.Option(help="Whose contestants.")] = "scaling",
    only: Annotated[list[str] | None, typer.Option("--only", help="A label; repeat.")] = None,
    model: OwnModels = None,
    inputs: Input = None,
    as_json: AsJson = False,
) -> None:
    """Say how many frames, and how many clips of 16, fit in a training step at paper scale."""
    from pks4.bench.budget import fit as fitting
    from pks4.commands.parts.progress import bar

    files = [Path(text) for text in model or [] if text.endswith(".py")]
    if model and len(files) < len(model):
        _fit_one(model, inputs, memory, target, kernel, as_json)
        return
    if inputs:
        raise UserError("--input goes with --model FILE:NAME, timm:NAME or hf:CLASS; leave it out")
    parsed = suite_named(suite, files)[0]
    labels = [c.label for c in parsed.contestants[-len(files) :]] if files else []
    questions = fitting.ask(parsed, [*(only or []), *labels], memory, target, kernel, batch)
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


def _fit_one(
    models: list[str], inputs: list[str] | None, memory: str, target: str, kernel: str,
    as_json: bool,
) -> None:  # fmt: skip
    """The most clips of one model that is no file with `build`."""
    if len(models) > 1:
        raise UserError("--model: several may be named only where each is a FILE with build()")
    with note.status("building and simulating"):
        from pks4.library import sources
        from pks4.library.fitting import what_fits

        module, given = sources.model_and_inputs(models[0], inputs)
        found = what_fits(module, given, memory=memory, target=target, kernel=kernel)
    if as_json:
        print(json.dumps(found.to_dict(), indent=1))
        return
    print_table(("fit", models[0]), found.lines())
