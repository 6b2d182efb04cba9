"""`pks4-bench data index`: a data set of the user's own, from its official annotations.

`pks4-bench data probe`: can a task be cheated? Part of the CLI room.

`pks4-bench data readers`: which readers are here and how fast. Part of the CLI room.

`pks4-bench data`: the embedded data set, and users' own. Part of the CLI room.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pks4.commands.parts.terminal import AsJson, escaped, note, print_table

if TYPE_CHECKING:
    from pks4.data.kinetic_digits.leak_probe import Findings, Score


def data_index(
    name: Annotated[str, typer.Argument(help="The data set; see below.")],
    annotations: Annotated[Path, typer.Option(help="Folder of the official annotations.")],
    videos: Annotated[Path, typer.Option(help="Folder of the videos.")],
    out: Annotated[Path, typer.Option(help="Where the index goes.")],
    fold: Annotated[int, typer.Option(min=1, help="Fold, where there are several.")] = 1,
    exact: Annotated[bool, typer.Option(help="Decode every frame to count; slow.")] = False,
    max_bad: Annotated[float, typer.Option(help="Share of bad clips to go on with.")] = 0.01,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads.")] = None,
    as_json: AsJson = False,
) -> None:
    """Open every video of a data set and write its manifests; exit code 1 if too many are bad."""
    from pks4.commands.parts.progress import bar
    from pks4.data.errors import BadClipsError
    from pks4.data.index.parts.build import build

    try:
        with bar(note, f"opening {name}") as update:
            done = build(
                name, annotations, videos, out, fold=fold, exact=exact, max_bad=max_bad,
                workers=workers, progress=update,
            )  # fmt: skip
    except BadClipsError as error:
        note.print(f"error: {escaped(error)}", soft_wrap=True, highlight=False)
        raise typer.Exit(1) from None
    if as_json:
        print(done.text(), end="")
        return
    bad = sum(done.bad.values())
    note.print(
        f"{len(done.classes)} classes (the full data set has {done.published_classes}), "
        + ", ".join(f"{count} {split}" for split, count in done.counts.items())
        + f", {bad} bad" + (f" (see {out / 'bad.csv'})" if bad else ""),
        soft_wrap=True, highlight=False, markup=False,
    )  # fmt: skip
    print(done.root)


def formats_help() -> str:
    """What each data set's annotations must look like, for the end of `--help`."""
    from pks4.data.index import formats

    lines = [f"{', '.join(format_.DATASETS)}: {format_.EXPECTS}." for format_ in formats()]
    return "\n\n".join(lines)


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
    from pks4.commands.parts.progress import bar
    from pks4.data.kinetic_digits.leak_probe import probe, view_names
    from pks4.data.kinetic_digits.make_dataset import make
    from pks4.data.kinetic_digits.tasks import class_names

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


def data_readers(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the median is told.")] = 9,
    as_json: AsJson = False,
) -> None:
    """Time every reader that is installed: milliseconds for 8, 16 and 32 frames out of 300."""
    from pks4.commands.parts.progress import bar
    from pks4.data.readers.reader_speed import WANTED, measure

    with bar(note, "timing readers") as update:
        found = measure(rounds, update)
    if as_json:
        print(json.dumps(found, indent=1))
        return
    taken = {(row["reader"], row["frames"]): row["median_seconds"] for row in found["rows"]}
    print_table(
        ("reader", "version", *(f"{count} frames, ms" for count in WANTED)),
        [
            (name, info["version"], *(f"{taken[name, count] * 1000:.1f}" for count in WANTED))
            for name, info in found["readers"].items()
        ],
    )
    for reason in found["absent"].values():
        note.print(f"not timed: {reason}", soft_wrap=True, highlight=False, markup=False)


data_app = typer.Typer(no_args_is_help=True, help="The embedded data set, and your own.")
data_app.command("probe")(data_probe)
data_app.command("index", epilog=formats_help())(data_index)
data_app.command("readers")(data_readers)


@data_app.command("make")
def data_make(
    task: Annotated[str, typer.Argument(help="temporal, spatial or long.")],
    size: Annotated[int, typer.Option(help="Side of a frame in pixels.")] = 64,
    frames: Annotated[
        int | None, typer.Option(help="Frames of a clip; else 16, long: 512.")
    ] = None,
    train: Annotated[int | None, typer.Option(help="Clips to train on; 3600, long: 600.")] = None,
    val: Annotated[int | None, typer.Option(help="Clips to choose by; 360, long: 120.")] = None,
    test: Annotated[int | None, typer.Option(help="Clips to score on; 1080, long: 360.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed gives other clips.")] = 0,
    cache: Annotated[Path | None, typer.Option(help="Where to put it.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.")] = None,
    as_json: AsJson = False,
) -> None:
    """Render kinetic digits to H.264 clips in a cache; print the folder."""
    from pks4.commands.parts.progress import bar
    from pks4.data.kinetic_digits.make_dataset import DEFAULT_COUNTS, make
    from pks4.data.kinetic_digits.tasks import class_names

    class_names(task)  # raises for an unknown task
    chosen = {"train": train, "val": val, "test": test}
    counts = DEFAULT_COUNTS[task] | {k: v for k, v in chosen.items() if v is not None}
    with bar(note, f"rendering {task}") as update:
        dataset = make(
            task, size=size, frames=frames, counts={k: v for k, v in counts.items() if v},
            seed=seed, cache=cache, workers=workers, progress=update,
        )  # fmt: skip
    print(dataset.model_dump_json(indent=1) if as_json else dataset.root)
