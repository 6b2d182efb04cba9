"""`pks4-bench cost`: parameters, MACs and memory of any model, and what fits where."""

import gc
import json
from typing import Annotated

import typer

from pks4.commands.parts.terminal import AsJson, note, print_table

Source = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="FILE.py:NAME (an nn.Module, a class or function without required arguments), "
        "timm:NAME, hf:CLASS of transformers, or a contestant's name.",
    ),
]
Input = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="SHAPE",
        help="As 1x3x224x224, or NAME=1x128:int64 by argument. Repeat for more. "
        "Default: as the model's configuration or its first layer says.",
    ),
]
TargetName = Annotated[str, typer.Option(help="cpu-fp32, cpu-bf16, cuda-fp32 or cuda-bf16.")]
Kernel = Annotated[
    str, typer.Option(help='"math" materialises attention scores; else the target\'s default.')
]


def cost(
    model: Source,
    inputs: Input = None,
    target: TargetName = "cuda-bf16",
    batch: Annotated[
        int | None, typer.Option(min=1, help="Clips of the step, in place of the input's.")
    ] = None,
    kernel: Kernel = "",
    as_json: AsJson = False,
) -> None:
    """Count parameters and MACs of any model, simulate a step of it, say what fits where."""
    with note.status("building and simulating"):
        from pks4.library import sources
        from pks4.library.cost import cost as costing

        module, given = sources.model_and_inputs(model, inputs)
        gc.freeze()  # a simulated step makes many objects; the collector need not look at the rest
        found = costing(module, given, name=model, target=target, batch=batch, kernel=kernel)
    if as_json:
        print(json.dumps(found.to_dict(), indent=1))
        return
    print_table(("cost", model), found.lines())
