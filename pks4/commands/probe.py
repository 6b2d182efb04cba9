"""`pks4-bench data probe`: can a task be cheated? Part of the CLI room."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pks4.commands.terminal import AsJson, note, print_table

if TYPE_CHECKING:
    from pks4.data.probe import Findings, Score

COUNTS = {
    "temporal": {"train": 1800, "test": 1800},
    "spatial": {"train": 1200, "test": 600},
    "long": {"train": 480, "test": 360},
}


def data_probe(
    task: Annotated[str, typer.Argument(help="temporal, spatial or long.")],
    size: Annotated[int, typer.Option(help="Side of a frame in pixels.")] = 64,
    frames: Annotated[
        int | None, typer.Option(help="Frames of a clip; else 16, long: 512.")
    ] = None,
    train: Annotated[int | None, typer.Option(help="Clips to train probes on.")] = None,
    test: Annotated[int | None, typer.Option(help="Clips to judge them on.")] = None,
    view: Annotated[list[str] | None, typer.Option(help="Only this view. Repeat for more.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed gives other clips.")] = 0,
    cache: Annotated[Path | None, typer.Option(help="Where the clips are, or go.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask whether single, unordered or too few frames give a task away; exit code 1 if so."""
    from pks4.commands.progress import bar
    from pks4.data.digits import class_names
    from pks4.data.make import make
    from pks4.data.probe import probe, view_names

    class_names(task)  # raises for an unknown task
    view_names(task, view)  # raises for an unknown view, before anything is rendered
    chosen = {"train": train, "test": test}
    counts = COUNTS[task] | {k: v for k, v in chosen.items() if v is not None}
    with bar(note, f"rendering {task}") as update:
        dataset = make(
            task, size=size, frames=frames, counts=counts, seed=seed, cache=cache, workers=workers,
            progress=update,
        )  # fmt: skip
    with bar(note, f"probing {task}") as update:
        found = probe(dataset, only=view, workers=workers, progress=update)
    if as_json:
        print(found.model_dump_json(indent=1))
    else:
        print_table(
            ("view", "metric", "right", "clips", "%", "interval", "chance", "at most", ""),
            map(_row, found.scores),
        )
    _say(found)
    if found.leaks:
        raise typer.Exit(1)


def _row(score: "Score") -> tuple[str, ...]:
    low, high = (f"{100 * end:.1f}" for end in score.interval)
    bound = "" if score.bound is None else f"{100 * score.bound:.1f}"
    judged = "LEAK" if score.leaks else "" if score.bound is None else "sound"
    return (
        score.view, score.metric, str(score.right), str(score.clips), f"{100 * score.value:.1f}",
        f"{low} to {high}", f"{100 * score.chance:.1f}", bound, judged,
    )  # fmt: skip


def _say(found: "Findings") -> None:
    guards = sum(score.bound is not None for score in found.scores)
    what = f"{found.task}, {found.size} px, {found.frames} frames, {found.judge_clips} judged clips"
    if not found.leaks:
        said = (
            f"no leak found: {guards} of {guards} bounds hold" if guards else "no view has a bound"
        )
        note.print(f"{said} ({what})", soft_wrap=True)
        return
    names = ", ".join(f"{score.view} ({score.metric})" for score in found.leaks)
    note.print(f"LEAK: above what an honest data set allows: {names} ({what})", soft_wrap=True)
