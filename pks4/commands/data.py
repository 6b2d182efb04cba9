"""`pks4-bench data`: the embedded data set, users' data sets, and the video readers.

make     render kinetic digits into the cache
probe    whether a task leaks: classifiers that see too little of a clip
index    manifests of a user's data set, from official annotations, folders or lists
readers  installed video readers and their speed
pretrain the image models that contestants start from
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pks4.commands.parts.terminal import AsJson, escaped, note, print_table

if TYPE_CHECKING:
    from pks4.data.kinetic_digits.leak_probe import Findings, Score


def data_make(
    task: Annotated[str, typer.Argument(help="temporal, motion, shapes, spatial or long.")],
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


def data_index(
    name: Annotated[
        str, typer.Argument(help="The data set, or 'folders' or 'list' for your own; see below.")
    ],
    videos: Annotated[Path, typer.Option(help="Folder of the videos, or of folders of frames.")],
    out: Annotated[Path, typer.Option(help="Where the index goes.")],
    annotations: Annotated[
        Path | None, typer.Option(help="Folder of the lists; for 'list' a file too. Else --videos.")
    ] = None,
    fold: Annotated[int, typer.Option(min=1, help="Fold, if the data set has several.")] = 1,
    split: Annotated[
        str | None,
        typer.Option(help="Your own data: percents of train/val/test, 80/10/10, by hash of path."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="'list': column whose clips stay together in --split."),
    ] = None,
    exact: Annotated[bool, typer.Option(help="Decode every frame to count; slow.")] = False,
    max_bad: Annotated[float, typer.Option(help="Share of bad clips to go on with.")] = 0.01,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads.")] = None,
    as_json: AsJson = False,
) -> None:
    """Open every video of a data set and write its manifests; exit code 1 if too many are bad.

    Clips are videos or folders of numbered pictures. Lists may name another suffix than the file
    has. Links are followed inside --videos. Test lists without labels are left out and told.
    """
    from pks4.commands.parts.progress import bar
    from pks4.data.errors import BadClipsError
    from pks4.data.index.parts.build import build

    try:
        with bar(note, f"opening {name}") as update:
            index = build(
                name, annotations, videos, out, fold=fold, split=split, group=group, exact=exact,
                max_bad=max_bad, workers=workers, progress=update,
            )  # fmt: skip
    except BadClipsError as error:
        note.print(f"error: {escaped(error)}", soft_wrap=True, highlight=False)
        raise typer.Exit(1) from None
    for left_out in index.left_out:
        note.print(f"left out: {left_out}", soft_wrap=True, highlight=False, markup=False)
    if as_json:
        print(index.text(), end="")
        return
    bad, full = sum(index.bad.values()), index.published_classes
    note.print(
        f"{len(index.classes)} classes"
        + (f" (the full data set has {full})" if full != len(index.classes) else "") + ", "
        + ", ".join(f"{count} {split}" for split, count in index.counts.items())
        + f", {bad} bad" + (f" (see {out / 'bad.csv'})" if bad else ""),
        soft_wrap=True, highlight=False, markup=False,
    )  # fmt: skip
    print(index.root)


def formats_help() -> str:
    """What each data set needs, for the end of `--help`; data of one's own first."""
    from pks4.data.index import formats

    own_first = sorted(formats(), key=lambda format_: any(format_.DATASETS.values()))
    lines = [f"{', '.join(format_.DATASETS)}: {format_.EXPECTS}." for format_ in own_first]
    example = "pks4-bench data index folders --videos clips --split 80/10/10 --out my-index"
    return "\n\n".join([f"For example: {example}", *lines])


PROBE_COUNTS = {  # clips of each split
    "temporal": {"train": 1800, "test": 1800},
    "motion": {"train": 1200, "test": 1200},
    "shapes": {"train": 1200, "test": 1200},
    "spatial": {"train": 1200, "test": 600},
    "long": {"train": 480, "test": 360},
}


def data_probe(
    task: Annotated[str, typer.Argument(help="temporal, motion, shapes, spatial or long.")],
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
    """Test whether single, unordered or too few frames solve a task; exit code 1 if so."""
    from pks4.commands.parts.progress import bar
    from pks4.data.kinetic_digits.leak_probe import probe, view_names
    from pks4.data.kinetic_digits.make_dataset import make
    from pks4.data.kinetic_digits.tasks import class_names

    class_names(task)  # raises for an unknown task
    view_names(task, view)  # raises for an unknown view, before anything is rendered
    chosen = {"train": train, "test": test}
    counts = PROBE_COUNTS[task] | {k: v for k, v in chosen.items() if v is not None}
    with bar(note, f"rendering {task}") as update:
        dataset = make(
            task, size=size, frames=frames, counts=counts, seed=seed, cache=cache, workers=workers,
            progress=update,
        )  # fmt: skip
    with bar(note, f"probing {task}") as update:
        findings = probe(dataset, only=view, workers=workers, progress=update)
    if as_json:
        print(findings.model_dump_json(indent=1))
    else:
        print_table(
            ("view", "metric", "right", "clips", "%", "interval", "chance", "at most", ""),
            map(_row, findings.scores),
        )
    _print_verdict(findings)
    if findings.leaks:
        raise typer.Exit(1)


def _row(score: "Score") -> tuple[str, ...]:
    low, high = (f"{100 * end:.1f}" for end in score.interval)
    bound = "" if score.bound is None else f"{100 * score.bound:.1f}"
    judged = "LEAK" if score.leaks else "" if score.bound is None else "sound"
    return (
        score.view, score.metric, str(score.right), str(score.clips), f"{100 * score.value:.1f}",
        f"{low} to {high}", f"{100 * score.chance:.1f}", bound, judged,
    )  # fmt: skip


def _print_verdict(findings: "Findings") -> None:
    guards = sum(score.bound is not None for score in findings.scores)
    data = (
        f"{findings.task}, {findings.size} px, {findings.frames} frames, "
        f"{findings.judge_clips} judged clips"
    )
    if findings.leaks:
        names = ", ".join(f"{score.view} ({score.metric})" for score in findings.leaks)
        line = f"LEAK: above what an honest data set allows: {names}"
    elif guards:
        line = f"no leak found: {guards} of {guards} bounds hold"
    else:
        line = "no view has a bound"
    note.print(f"{line} ({data})", soft_wrap=True)


def data_readers(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the result is the median.")] = 9,
    as_json: AsJson = False,
) -> None:
    """Time every reader that is installed: milliseconds for 8, 16 and 32 frames out of 300."""
    from pks4.commands.parts.progress import bar
    from pks4.data.readers.reader_speed import WANTED, measure

    with bar(note, "timing readers") as update:
        timing = measure(rounds, update)
    if as_json:
        print(json.dumps(timing, indent=1))
        return
    seconds = {(row["reader"], row["frames"]): row["median_seconds"] for row in timing["rows"]}
    print_table(
        ("reader", "version", *(f"{count} frames, ms" for count in WANTED)),
        [
            (name, info["version"], *(f"{seconds[name, count] * 1000:.1f}" for count in WANTED))
            for name, info in timing["readers"].items()
        ],
    )
    for reason in timing["absent"].values():
        note.print(f"not timed: {reason}", soft_wrap=True, highlight=False, markup=False)


def data_pretrain(
    suite: Annotated[str, typer.Argument(help="The suite, or a file.")] = "accuracy",
    twin: Annotated[list[str] | None, typer.Option(help="Only this twin. Repeat for more.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the files; else the cache.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train the image models that a suite starts from, again even if they are shipped.

    A training that was interrupted goes on after its last epoch. On one machine, with as many
    threads, the same command gives the same weights to the bit.
    """
    from pks4.bench.measure.parts.pretraining import make, pretrainings
    from pks4.bench.plan.plan import plan
    from pks4.bench.records.folders import suite_named
    from pks4.commands.parts.progress import telling
    from pks4.data.dataset import cache_root

    wanted = pretrainings(plan(suite_named(suite, [], False)[0]), twin or ())
    with telling(note, "image models") as update:
        made = list(make(wanted, out or cache_root() / "image-models", update))
    if as_json:
        print(json.dumps([{"file": str(m.path), **m.facts} for m in made], indent=1))
        return
    said = {
        None: "not shipped",
        True: "same as shipped",
        False: "differs from the shipped file",
    }
    print_table(
        ("twin", "digits right, %", "places right, %", "weights", "file"),
        [
            (
                one.asked.model,
                f"{100 * m.facts['val_top1']:.1f}",
                f"{100 * m.facts['place_top1']:.1f}",
                said[m.as_shipped],
                str(m.path),
            )
            for one, m in zip(wanted, made, strict=True)
        ],
    )


data_app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="The embedded data set, and yours."
)
data_app.command("make")(data_make)
data_app.command("probe")(data_probe)
data_app.command("index", epilog=formats_help())(data_index)
data_app.command("readers")(data_readers)
data_app.command("pretrain")(data_pretrain)
