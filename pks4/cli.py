"""The command line: data on stdout, messages and progress on stderr, errors in one line.

Exit codes: 0 done; 1 something in the run failed (it is recorded); 2 wrong use or bad input;
130 interrupted.
"""

import signal
import sys
import time

import typer

from pks4.commands.budget import budget
from pks4.commands.cost import cost
from pks4.commands.data import data_app
from pks4.commands.doctor import doctor
from pks4.commands.fit import fit
from pks4.commands.list import list_
from pks4.commands.parts.terminal import escaped, note, visible
from pks4.commands.plan import plan
from pks4.commands.results.accept import accept, withdraw
from pks4.commands.results.claims import claims
from pks4.commands.results.compare import compare
from pks4.commands.results.explain import explain
from pks4.commands.results.history import history
from pks4.commands.results.merge import merge
from pks4.commands.results.report import report
from pks4.commands.run import run
from pks4.commands.search import search
from pks4.commands.show import show_app
from pks4.commands.status import status
from pks4.errors import UserError

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
app.command("list")(list_)
for command in (
    run, status, plan, budget, cost, report, explain, fit, compare, accept, withdraw, claims, merge,
    history, search, doctor,
):  # fmt: skip
    app.command()(command)

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
    """Raise KeyboardInterrupt once; further interrupts within two seconds count as the same one."""
    global _interrupted
    before, _interrupted = _interrupted, time.monotonic()
    if _interrupted - before > ONE_INTERRUPT_SECONDS:
        raise KeyboardInterrupt


if __name__ == "__main__":
    main()
