"""`pks4-bench withdraw`: an accepted run whose numbers are wrong is a reference no more."""

from typing import Annotated

import typer

from pks4.bench.records.folders import results_folder
from pks4.commands.parts.terminal import note, say


def withdraw(
    run: Annotated[str, typer.Argument(help="The name of an accepted run.")],
    reason: Annotated[str, typer.Option(help="Why its numbers are wrong.")],
    who: Annotated[str, typer.Option(help="Who says so; default: as git knows you.")] = "",
) -> None:
    """Take back the acceptance of a run; what was accepted before it counts again."""
    from pks4.bench.records import accepted as accepting

    entry = accepting.withdraw(run, reason, results_folder(), who)
    say(f"{entry.run}: no longer a reference of {entry.suite!r}")
    note.print(f"commit {results_folder() / accepting.LEDGER}; the run's file stays")
