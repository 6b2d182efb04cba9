"""`pks4-bench data`: the embedded data set, and users' own. Part of the CLI room."""

from pathlib import Path
from typing import Annotated

import typer

from pks4.commands.index import data_index, formats_help
from pks4.commands.probe import data_probe
from pks4.commands.readers import data_readers
from pks4.commands.terminal import AsJson, note

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
    from pks4.commands.progress import bar
    from pks4.data.digits import class_names
    from pks4.data.make import DEFAULT_COUNTS, make

    class_names(task)  # raises for an unknown task
    chosen = {"train": train, "val": val, "test": test}
    counts = DEFAULT_COUNTS[task] | {k: v for k, v in chosen.items() if v is not None}
    with bar(note, f"rendering {task}") as update:
        dataset = make(
            task, size=size, frames=frames, counts={k: v for k, v in counts.items() if v},
            seed=seed, cache=cache, workers=workers, progress=update,
        )  # fmt: skip
    print(dataset.model_dump_json(indent=1) if as_json else dataset.root)
