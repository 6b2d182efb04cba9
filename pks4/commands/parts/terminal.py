"""What every command prints with: tables and text on stdout, notes on stderr.

Here is the one escaper for terminals; those of other formats are in `bench/table.py`.
"""

import sys
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pks4.bench.records.folders import run_folders

note = Console(stderr=True)
_CONTROL = ("Cc", "Cf", "Cs", "Zl", "Zp")  # of Unicode: control, format, half a pair, line ends
JSON_OR_MARKDOWN = "--json and --markdown both write to standard output; choose one"
Data = Annotated[
    Path | None,
    typer.Option("--data", help="For a suite that asks: the folder `pks4-bench data index` wrote."),
]
Weights = Annotated[
    list[str] | None,
    typer.Option(
        "--weights", help="For a suite that asks: TWIN=FILE, the image weights of a twin."
    ),
]
Own = Annotated[
    list[Path] | None,
    typer.Option(
        "--model",
        help="A Python file of your own with build(*, frames, num_classes, image_size, …); "
        "it joins every grid that takes all contestants. Repeat for more.",
    ),
]
OwnModule = Annotated[
    list[str] | None,
    typer.Option(
        "--module",
        metavar="FILE[:CLASS]",
        help="A Python file of your own with a module, features (b, t, h, w, d) to the same shape; "
        "it stands where PKS4 stands, in every grid with PKS4. Repeat for more.",
    ),
]
Fast = Annotated[bool, typer.Option("--fast", help="The suite's short form, as its file says.")]
OfShard = Annotated[
    str | None,
    typer.Option("--shard", help="i/n: only the i-th of n shards, dealt by cell id."),
]
Runs = Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs, their files, or latest.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def print_table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print rows under their columns; a rich text keeps its style, all else is escaped.

    A column that is empty in all rows is left out.
    """
    lines = [tuple(row) for row in rows]
    table = Table(box=None, header_style="bold", pad_edge=False)
    kept = [(i, c) for i, c in enumerate(columns) if not lines or any(str(x[i]) for x in lines)]
    for _, column in kept:
        table.add_column(column, overflow="fold")
    for line in lines:
        fields = [line[i] for i, _ in kept]
        table.add_row(*(x if isinstance(x, Text) else escaped(x) for x in fields))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def escaped(text: object) -> str:
    """Text that neither rich reads as markup nor a terminal as a command."""
    return escape(visible(text))


def visible(text: object, keep: str = "\n\t") -> str:
    """Text with each character that controls a terminal written as its number: ESC as \\x1b.

    Those are control characters except `keep`, and marks that turn the direction of writing.
    """
    return "".join(
        spelled(c) if unicodedata.category(c) in _CONTROL and c not in keep else c
        for c in str(text)
    )


def spelled(character: str) -> str:
    """A character by its number, as Python writes it."""
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def say(*lines: object) -> None:
    """Print lines of text on stdout."""
    print(*map(visible, lines), sep="\n")


def tell_notes(lines: Iterable[object]) -> None:
    """Each line as a note on stderr."""
    for line in lines:
        note.print(f"[yellow]note:[/] {escaped(line)}", soft_wrap=True)


def read_runs(names: Sequence[str]) -> list[Any]:
    """The runs of these names; lines that could not be read are noted."""
    from pks4.bench.records import run_file

    read = [run_file.read(run_file.find_run(name, run_folders())) for name in names]
    tell_notes(line for run in read for line in run.torn)
    return read
