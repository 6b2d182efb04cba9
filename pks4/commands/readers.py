"""`pks4-bench data readers`: which readers are here and how fast. Part of the CLI room."""

import json
from typing import Annotated

import typer

from pks4.commands.terminal import AsJson, note, print_table


def data_readers(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the median is told.")] = 9,
    as_json: AsJson = False,
) -> None:
    """Time every reader that is installed: milliseconds for 8, 16 and 32 frames out of 300."""
    from pks4.commands.progress import bar
    from pks4.data.throughput import WANTED, measure

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
