"""What every command prints with: tables on stdout, notes on stderr. Part of the CLI room."""

import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

note = Console(stderr=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def print_table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print rows under their columns; markup in a field is acted on."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(value) for value in row))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def escaped(text: object) -> str:
    """Text in which nothing is acted on as markup."""
    return escape(str(text))
