"""`pks4-bench plan`: the cells of a suite."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pks4.bench.plan.user_inputs import UserInputs
from pks4.bench.records.folders import suite_file, suite_named
from pks4.commands.budget import budget
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
    tell_notes,
)
from pks4.errors import UserError

if TYPE_CHECKING:
    from pks4.bench.view.power import Power

# `pks4-bench budget` as it was called before.
Cost = Annotated[bool, typer.Option("--cost", hidden=True)]
OfCost = Annotated[float | None, typer.Option(hidden=True)]
ClipMb = Annotated[float | None, typer.Option(min=0, hidden=True)]
Readers = Annotated[Path | None, typer.Option(hidden=True)]


def plan(
    suite: Annotated[str, typer.Argument(help="A suite's name or a TOML file.")],
    model: Own = None,
    module: OwnModule = None,
    fast: Fast = False,
    data: Data = None,
    weights: Weights = None,
    shard: OfShard = None,
    cost: Cost = False,
    tflops: OfCost = None,
    utilisation: OfCost = None,
    clip_mb: ClipMb = None,
    readers: Readers = None,
    power: Annotated[
        bool, typer.Option("--power", help="Print how many seeds find a difference from PKS4.")
    ] = False,
    points: Annotated[
        list[float] | None, typer.Option(min=0.1, help="For --power: a difference, %. Repeat.")
    ] = None,
    run: Annotated[
        str | None, typer.Option(help="For --power: the run whose spread counts; else accepted.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the cells of a suite, or of a shard of it, without running any.

    Each contestant is built once without weights, so that an option it refuses is an error here.

    With --power print, for each rival, how many seeds find a difference of so many points of top-1
    from PKS4 in four of five repetitions, by the spread over seeds and clips of an accepted run.
    """
    from pks4.bench.plan.builds import check_builds
    from pks4.bench.plan.plan import plan as plan_cells
    from pks4.bench.plan.shard import Shard

    of_cost: dict[str, Any] = {
        "tflops": tflops, "utilisation": utilisation, "clip_mb": clip_mb, "readers": readers,
    }  # fmt: skip
    if cost:
        budget(suite, model, module, fast, data, weights, shard, **of_cost, as_json=as_json)
        return
    for name, value in of_cost.items():
        if value is not None:
            raise UserError(f"--{name.replace('_', '-')} goes with --cost; add it, or leave it out")
    if power:
        print_power(suite, run, points or [2.0, 5.0, 10.0], as_json)
        return
    if points or run:
        raise UserError("--points and --run go with --power; add it, or leave them out")
    part = Shard.parse(shard) if shard else None
    parsed, _ = suite_named(suite, model or [], fast, module or [])
    cells = plan_cells(parsed, UserInputs.parse(parsed, data, weights or []))
    cells = part.of(cells) if part else cells
    with note.status("building each contestant on meta"):
        notes = check_builds(cells, str(suite_file(suite)))
    tell_notes(notes)
    if as_json:
        print(json.dumps([c.model_dump() for c in cells], indent=1))
        return
    rows = [
        (c.id, c.model, c.scale, c.frames, c.batch, c.task or "", ", ".join(c.measures),
         "alone" if c.alone else "")
        for c in cells
    ]  # fmt: skip
    print_table(("cell", "model", "scale", "frames", "batch", "task", "measures", ""), rows)


def print_power(suite: str, run: str | None, points: list[float], as_json: bool) -> None:
    """Print the seeds that each comparison of a suite takes."""
    from pks4.bench.records import run_file
    from pks4.bench.records.accepted import accepted_run, of_suite
    from pks4.bench.records.folders import results_folder, run_folders
    from pks4.bench.stats.power import MOST_SEEDS, POWER
    from pks4.bench.view.power import comparisons
    from pks4.bench.view.view import View

    if run is None:
        found = of_suite(suite, results_folder())
        if not found:
            raise UserError(
                f"no run of {suite!r} was accepted, so its spread is not known; "
                "name a run with seeds: --run RUN"
            )
        read = accepted_run(found[-1], results_folder())
    else:
        read = run_file.read(run_file.find_run(run, run_folders()))
    shares = [p / 100 for p in points]
    rows = comparisons(View(read.records, read.header.model_dump()), shares)
    if not rows:
        raise UserError(
            f"run {read.header.run} has no two contestants with two seeds each, so the spread over "
            "seeds is not known; name another with --run"
        )
    if as_json:
        print(json.dumps([_power_document(row) for row in rows], indent=1))
        return
    print_table(
        (
            "setting", "T", "against PKS4", "seeds", "one seed varies by, %", "clips by, %",
            *(f"seeds for {p:g} %" for p in points), "these seeds find, %",
        ),
        [
            (
                row.setting.title, row.row.frames, row.row.label, row.seeds,
                f"{100 * row.spread.between_seeds**0.5:.1f}",
                f"{100 * row.spread.between_clips**0.5:.1f}",
                *(n or f"> {MOST_SEEDS}" for n in row.seeds_for.values()),
                f"{100 * row.least_difference:.1f}",
            )
            for row in rows
        ],
    )  # fmt: skip
    note.print(
        f"by run {read.header.run}; found in {POWER:.0%} of repetitions at 95 %, one comparison; "
        "% are points of top-1, standard deviations",
        soft_wrap=True, highlight=False, markup=False,
    )  # fmt: skip


def _power_document(row: "Power") -> dict[str, Any]:
    return {
        "setting": row.setting._asdict(),
        "frames": row.row.frames,
        "label": row.row.label,
        "seeds": row.seeds,
        "spread": vars(row.spread),
        "seeds_for": {f"{d:g}": n for d, n in row.seeds_for.items()},
        "least_difference": row.least_difference,
    }
