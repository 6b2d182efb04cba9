"""`pks4-bench budget`: what the trainings of a suite would take, estimated on paper."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pks4.bench.plan.user_inputs import UserInputs
from pks4.bench.records.folders import suite_named
from pks4.commands.parts.terminal import (
    AsJson,
    Data,
    Fast,
    OfShard,
    Own,
    OwnModule,
    Weights,
    note,
    print_table,
)
from pks4.errors import UserError

if TYPE_CHECKING:
    from pks4.bench.budget.printing import Assumptions

Tflops = Annotated[
    float | None, typer.Option(help="A GPU's peak in TFLOP/s; default: as published.")
]
Utilisation = Annotated[
    float | None, typer.Option(help="The share of that peak that is used; default: as published.")
]
ClipMb = Annotated[
    float | None, typer.Option(min=0, help="Mean size of a clip, in MB of 10^6 bytes.")
]
Readers = Annotated[
    Path | None, typer.Option(help="A file with the output of `pks4-bench data readers --json`.")
]


def budget(
    suite: Annotated[str, typer.Argument(help="A suite's name or a TOML file.")],
    model: Own = None,
    module: OwnModule = None,
    fast: Fast = False,
    data: Data = None,
    weights: Weights = None,
    shard: OfShard = None,
    tflops: Tflops = None,
    utilisation: Utilisation = None,
    clip_mb: ClipMb = None,
    readers: Readers = None,
    as_json: AsJson = False,
) -> None:
    """Estimate MACs, GPU hours, storage and decoding of a suite's trainings; run none."""
    from pks4.bench.budget import budget as counting
    from pks4.bench.budget import data_size, printing
    from pks4.bench.plan.plan import plan
    from pks4.bench.plan.shard import Shard
    from pks4.commands.parts.progress import bar

    part = Shard.parse(shard) if shard else None
    parsed, _ = suite_named(suite, model or [], fast, module or [])
    inputs = UserInputs.parse(parsed, data, weights or [])
    cells = plan(parsed, inputs.model_copy(update={"on_paper": True}))
    cells = part.of(cells) if part else cells
    figures = data_size.read()
    assumed = _assumed(figures, tflops, utilisation, readers)
    sizes = {
        c.id: data_size.size_of(c, figures, clip_mb) for c in cells if "accuracy" in c.measures
    }
    with bar(note, "counting on meta") as update:
        costs = counting.costs(cells, sizes, update)
    distinct = list({repr(size): size for size in sizes.values()}.values())
    if as_json:
        print(json.dumps(printing.document(costs, distinct, assumed), indent=1))
        return
    print_table(*printing.table(costs, assumed))
    print("", *printing.remarks(costs, distinct, assumed), sep="\n")


def _assumed(
    figures: dict, tflops: float | None, utilisation: float | None, readers: Path | None
) -> "Assumptions":
    """The speed as given, else as published, and the readers' times."""
    from pks4.bench.budget.budget import Speed, read_readers
    from pks4.bench.budget.data_size import GPU
    from pks4.bench.budget.printing import Assumptions

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
        return Assumptions(speed=speed, sources=sources, readers={})
    try:
        document = json.loads(readers.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"--readers {readers}: cannot be read as JSON: {error}") from error
    times = read_readers(document, f"--readers {readers}")
    return Assumptions(speed=speed, sources=sources, readers=times, readers_file=readers.name)
