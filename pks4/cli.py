"""The command line: data on stdout, chatter and progress on stderr, errors in one line.

Exit codes: 0 done; 1 something in the run failed (it is recorded); 2 wrong use or bad input;
130 interrupted.
"""

import json
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from pks4.commands import answers, ask, judge, listing
from pks4.commands.data import data_app
from pks4.commands.places import run_folders
from pks4.commands.plan import plan
from pks4.commands.report import report
from pks4.commands.run import run
from pks4.commands.search import search
from pks4.commands.show import show_app
from pks4.commands.status import status
from pks4.commands.terminal import (
    AsJson,
    escaped,
    note,
    print_table,
    visible,
)
from pks4.errors import UserError, unknown_name

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Measure PKS4 against temporal attention, adapters, video Mamba and 2D floors: accuracy, "
    "MACs, activation memory and wall-clock, every number with its evidence.\n\n"
    "Start with: pks4-bench run quick",
)
app.add_typer(data_app, name="data")
app.add_typer(show_app, name="show")


ONE_INTERRUPT_SECONDS = 2.0
_interrupted = float("-inf")


def main() -> None:
    """Run the command line; a UserError becomes one line and exit code 2."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        app()
    except UserError as error:
        note.print(f"[bold red]error:[/] {escaped(visible(error, keep=''))}", soft_wrap=True)
        sys.exit(2)


def _interrupt(*_: object) -> None:
    """An interrupt, of which those close behind are the same one: it ends things in good order."""
    global _interrupted
    before, _interrupted = _interrupted, time.monotonic()
    if _interrupted - before > ONE_INTERRUPT_SECONDS:
        raise KeyboardInterrupt


app.command()(run)
app.command()(status)
app.command()(plan)


app.command()(report)
app.command()(ask.explain)
app.command()(ask.fit)
judge.register(app)
answers.register(app)
app.command()(search)


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="suites, models, measures or runs.")],
    params: Annotated[
        bool, typer.Option("--params", help="Count the models' parameters at paper scale too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List what there is."""
    kinds = {
        "suites": listing.suites,
        "models": lambda: listing.models(params),
        "measures": listing.measures,
        "runs": lambda: listing.runs(run_folders()),
    }
    if what not in kinds:
        raise UserError(unknown_name("list", what, kinds))
    if params and what != "models":
        raise UserError(f"--params counts parameters of models; list {what} has none")
    with note.status("counting parameters on meta" if params else "looking"):
        columns, rows = kinds[what]()
    if as_json:
        print(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=1))
    else:
        print_table(*listing.in_millions(columns, rows))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what is here and works: versions, backends, kernels, readers, the counters' agreement."""
    from pks4.bench.doctor import examine

    with note.status("examining"):
        findings = examine()
    if as_json:
        print(json.dumps([vars(f) for f in findings], indent=1))
    else:
        colours = {"ok": "green", "absent": "yellow", "wrong": "red"}
        rows = [(f.what, Text(f.state, colours[f.state]), f.text) for f in findings]
        print_table(("what", "state", "finding"), rows)
    sys.exit(1 if any(f.state == "wrong" for f in findings) else 0)


@app.command()
def scan(
    quick: Annotated[bool, typer.Option("--quick", help="Three shapes, few rounds.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="Also time these many against one.")] = 1,
    out: Annotated[Path | None, typer.Option("--out", help="A new file for the JSON.")] = None,
    as_json: AsJson = False,
) -> None:
    """Time the selective scan against the algorithm of others and against this machine's floor."""
    from pks4.bench import scan_session
    from pks4.commands.progress import bar

    if out and out.exists():
        raise UserError(f"{out}: is there already; evidence is not overwritten, name a new file")
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
    with bar(note, "scan") as update:
        document = scan_session.run(
            scan_session.plan_for(quick, threads),
            update,
            lambda line: note.print(line, markup=False, highlight=False, soft_wrap=True),
        )
    text = document.model_dump_json(indent=1)
    if out:
        with out.open("x", encoding="utf-8") as file:
            file.write(text + "\n")
    if as_json:
        print(text)
        return
    print_table(*scan_session.speed_table(document))
    print()
    print_table(*scan_session.accuracy_table(document))
    print("", *scan_session.remarks(document), sep="\n")
