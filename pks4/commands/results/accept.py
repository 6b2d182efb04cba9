"""`pks4-bench accept` and `withdraw`: which run later runs of a suite are compared with."""

from typing import Annotated

import typer

from pks4.bench.records.folders import results_folder, run_folders
from pks4.commands.parts.terminal import note, say, tell_notes


def accept(
    run: Annotated[str, typer.Argument(help="A run's name, its .jsonl file, or 'latest'.")],
    reason: Annotated[str, typer.Option(help="Why its numbers are the ones to hold to.")],
    who: Annotated[str, typer.Option(help="Who says so; default: as git knows you.")] = "",
    with_gaps: Annotated[
        bool, typer.Option("--with-gaps", help="Though some measures failed or times are void.")
    ] = False,
) -> None:
    """Make a run the reference of its suite on this kind of machine; its changes are accepted."""
    from pks4.bench import units
    from pks4.bench.records import accepted as accepting
    from pks4.bench.records import run_file

    read = run_file.read(run_file.find_run(run, run_folders()))
    entry = accepting.accept(read, reason, results_folder(), who, with_gaps=with_gaps)
    gaps = accepting.gaps(read)
    if gaps:
        tell_notes([f"no later run can be held to {units.some(gaps, 'gap')}"])
    replaced = f", in place of {entry.replaces}" if entry.replaces else ""
    say(f"{entry.run}: reference of {entry.suite!r} for {entry.environment_class}{replaced}")
    note.print(f"commit {results_folder() / accepting.LEDGER} and the run in results/reference")


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
