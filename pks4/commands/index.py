"""`pks4-bench data index`: a data set of the user's own, from its official annotations."""

from pathlib import Path
from typing import Annotated

import typer

from pks4.commands.terminal import AsJson, escaped, note


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
    from pks4.commands.progress import bar
    from pks4.data.errors import BadClipsError
    from pks4.data.index.build import build

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
