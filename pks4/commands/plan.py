"""`pks4-bench plan`: the cells of a suite."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pks4.bench.plan.user_inputs import UserInputs
from pks4.bench.records.folders import suite_named
from pks4.commands.budget import budget
from pks4.commands.parts.terminal import AsJson, Data, Fast, OfShard, Own, Weights, print_table
from pks4.errors import UserError

# `pks4-bench budget` as it was called before.
Cost = Annotated[bool, typer.Option("--cost", hidden=True)]
OfCost = Annotated[float | None, typer.Option(hidden=True)]
ClipMb = Annotated[float | None, typer.Option(min=0, hidden=True)]
Readers = Annotated[Path | None, typer.Option(hidden=True)]


def plan(
    suite: Annotated[str, typer.Argument(help="A suite's name or a TOML file.")],
    model: Own = None,
    fast: Fast = False,
    data: Data = None,
    weights: Weights = None,
    shard: OfShard = None,
    cost: Cost = False,
    tflops: OfCost = None,
    utilisation: OfCost = None,
    clip_mb: ClipMb = None,
    readers: Readers = None,
    as_json: AsJson = False,
) -> None:
    """Print the cells of a suite, or of a shard of it, without running any."""
    from pks4.bench.plan.plan import plan as plan_cells
    from pks4.bench.plan.shard import Shard

    of_cost: dict[str, Any] = {
        "tflops": tflops, "utilisation": utilisation, "clip_mb": clip_mb, "readers": readers,
    }  # fmt: skip
    if cost:
        budget(suite, model, fast, data, weights, shard, **of_cost, as_json=as_json)
        return
    for name, value in of_cost.items():
        if value is not None:
            raise UserError(f"--{name.replace('_', '-')} goes with --cost; add it, or leave it out")
    part = Shard.parse(shard) if shard else None
    parsed, _ = suite_named(suite, model or [], fast)
    cells = plan_cells(parsed, UserInputs.parse(parsed, data, weights or []))
    cells = part.of(cells) if part else cells
    if as_json:
        print(json.dumps([c.model_dump() for c in cells], indent=1))
        return
    rows = [
        (c.id, c.model, c.scale, c.frames, c.batch, c.task or "", ", ".join(c.measures),
         "alone" if c.alone else "")
        for c in cells
    ]  # fmt: skip
    print_table(("cell", "model", "scale", "frames", "batch", "task", "measures", ""), rows)
