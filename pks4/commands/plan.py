"""`pks4-bench plan`: a suite's cells, or what its trainings would take. Part of the CLI room."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pks4.bench.plan.user_inputs import Given
from pks4.bench.records.folders import suite_named
from pks4.commands.parts.terminal import (
    AsJson,
    Data,
    Fast,
    OfShard,
    Own,
    Weights,
    note,
    print_table,
)
from pks4.errors import UserError

if TYPE_CHECKING:
    from pks4.bench.budget.printing import Assumed
    from pks4.bench.plan.cell import Cell

Cost = Annotated[
    bool,
    typer.Option("--cost", help="MACs, GPU hours, storage and decoding of its trainings instead."),
]
Tflops = Annotated[
    float | None, typer.Option(help="With --cost: a GPU's peak in TFLOP/s; default: published.")
]
Utilisation = Annotated[
    float | None, typer.Option(help="With --cost: share of it that is used; default: published.")
]
ClipMb = Annotated[
    float | None, typer.Option(min=0, help="With --cost: mean size of a clip, in MB of 10^6 bytes.")
]
Readers = Annotated[
    Path | None,
    typer.Option(help="With --cost: a file with what `pks4-bench data readers --json` printed."),
]


def plan(
    suite: Annotated[str, typer.Argument(help="A suite's name or a TOML file.")],
    model: Own = None,
    fast: Fast = False,
    data: Data = None,
    weights: Weights = None,
    shard: OfShard = None,
    cost: Cost = False,
    tflops: Tflops = None,
    utilisation: Utilisation = None,
    clip_mb: ClipMb = None,
    readers: Readers = None,
    as_json: AsJson = False,
) -> None:
    """Print the cells of a suite, or of a shard of it, or what they cost, without running any."""
    from pks4.bench.plan.plan import plan as make_plan
    from pks4.bench.plan.shard import Shard

    if not cost:
        _refuse(tflops=tflops, utilisation=utilisation, clip_mb=clip_mb, readers=readers)
    part = Shard.parse(shard) if shard else None
    parsed, _ = suite_named(suite, model or [], fast)
    given = replace(Given.parse(parsed, data, weights or []), on_paper=cost)
    cells = make_plan(parsed, given=given)
    cells = part.of(cells) if part else cells
    if cost:
        _print_cost(cells, tflops, utilisation, clip_mb, readers, as_json)
        return
    if as_json:
        print(json.dumps([c.model_dump() for c in cells], indent=1))
        return
    rows = [
        (c.id, c.model, c.scale, c.frames, c.batch, c.task or "", ", ".join(c.measures),
         "alone" if c.alone else "")
        for c in cells
    ]  # fmt: skip
    print_table(("cell", "model", "scale", "frames", "batch", "task", "measures", ""), rows)


def _refuse(**given: object) -> None:
    """Raise UserError for an option that says nothing without --cost."""
    for name, value in given.items():
        if value is not None:
            raise UserError(f"--{name.replace('_', '-')} goes with --cost; add it, or leave it out")


def _print_cost(
    cells: "list[Cell]",
    tflops: float | None,
    utilisation: float | None,
    clip_mb: float | None,
    readers: Path | None,
    as_json: bool,
) -> None:
    """Count every training of the cells and print what it takes."""
    from pks4.bench.budget import budget, data_size, printing
    from pks4.bench.budget.data_size import size_of
    from pks4.commands.parts.progress import bar

    figures = data_size.read()
    assumed = _assumed(figures, tflops, utilisation, readers)
    sizes = {c.id: size_of(c, figures, clip_mb) for c in cells if "accuracy" in c.settings}
    with bar(note, "counting on meta") as update:
        found = budget.costs(cells, sizes, update)
    distinct = list({repr(size): size for size in sizes.values()}.values())
    if as_json:
        print(json.dumps(printing.document(found, distinct, assumed), indent=1))
        return
    print_table(*printing.table(found, assumed))
    print("", *printing.remarks(found, distinct, assumed), sep="\n")


def _assumed(
    figures: dict, tflops: float | None, utilisation: float | None, readers: Path | None
) -> "Assumed":
    """Speed and readers as given, the speed else as published."""
    from pks4.bench.budget.budget import Speed, read_readers
    from pks4.bench.budget.data_size import GPU
    from pks4.bench.budget.printing import Assumed

    peak, share = figures[GPU, "flops_per_second"], figures[GPU, "utilisation"]
    speed = Speed(
        tflops=peak.value / 1e12 if tflops is None else tflops,
        utilisation=share.value if utilisation is None else utilisation,
    )
    sources = (
        f"peak: {peak.source}" if tflops is None else "peak: as given",
        f"utilisation: {share.source}" if utilisation is None else "utilisation: as given",
    )
    if readers is None:
        return Assumed(speed=speed, sources=sources, readers={})
    try:
        told = json.loads(readers.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"--readers {readers}: cannot be read as JSON: {error}") from error
    times = read_readers(told, f"--readers {readers}")
    return Assumed(speed=speed, sources=sources, readers=times, readers_file=readers.name)
