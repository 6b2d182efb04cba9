"""`pks4-bench report`: the report of a run, and those of all accepted references at once."""

import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from pks4.bench.records import folders
from pks4.commands.parts.terminal import escaped, note, tell_notes
from pks4.errors import UserError


def report(
    run: Annotated[
        str | None, typer.Argument(help="A run's name, its .jsonl file, or 'latest', the default.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the report; default: reports/RUN.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    references: Annotated[
        bool,
        typer.Option(
            "--references", help="In place of a run: the accepted run of each suite, "
            "into reports/reference/SUITE."
        ),
    ] = False,
) -> None:  # fmt: skip
    """Write tables, figures and report.html of a run; print the path of the report."""
    from pks4.bench.records import run_file

    if references:
        if run or out or show:
            raise UserError("--references takes no run, --out or --open: it makes them all")
        for page in rebuilt():
            print(page, flush=True)
        return
    page = write_report(run_file.find_run(run or "latest", folders.run_folders()), out)
    print(page, flush=True)
    if show and not webbrowser.open(page.as_uri()):
        note.print(f"no browser could be opened here; open {escaped(page)} yourself",
                   soft_wrap=True)  # fmt: skip


def rebuilt() -> Iterator[Path]:
    """The report of each suite's reference; of several kinds of machine, the last accepted one's.

    Raises UserError where none is accepted, or a file is not as it was.
    """
    from pks4.bench.records import accepted

    known, torn = accepted.ledger(folders.results_folder())
    tell_notes(torn)
    if not known:
        raise UserError(
            f"{folders.results_folder() / accepted.LEDGER}: no run is accepted yet; see accept"
        )
    for suite, entry in sorted({one.suite: one for one in known}.items()):
        run = accepted.accepted_run(entry, folders.results_folder())
        yield write_report(run.path, folders.base() / "reports" / "reference" / suite)


def write_report(run: Path, out: Path | None) -> Path:
    """Write the report of a run, and tell what of it could not be read; the report's path."""
    from pks4.bench.records.run_file import name_of, read
    from pks4.bench.report.report import write

    tell_notes(read(run).torn)
    with note.status("writing the report"):
        where = out or folders.base() / "reports" / name_of(run)
        return write(run, where, folders.results_folder())
