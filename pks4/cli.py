"""The command line: data on stdout, messages and progress on stderr, errors in one line.

A command's file is imported when it is called; its line of help is read from the file's text.

Exit codes: 0 done; 1 something in the run failed (it is recorded); 2 wrong use or bad input;
130 interrupted.
"""

import ast
import errno
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from pks4.errors import UserError

# Name -> file below pks4/commands, and what is in it: a function, or a group of commands.
COMMANDS = {
    "list": "list:list_",
    "run": "run:run",
    "status": "status:status",
    "plan": "plan:plan",
    "budget": "budget:budget",
    "cost": "cost:cost",
    "report": "results.report:report",
    "explain": "results.explain:explain",
    "fit": "fit:fit",
    "compare": "results.compare:compare",
    "accept": "results.accept:accept",
    "withdraw": "results.accept:withdraw",
    "claims": "results.claims:claims",
    "merge": "results.merge:merge",
    "history": "results.history:history",
    "search": "search:search",
    "doctor": "doctor:doctor",
    "data": "data:data_app",
    "show": "show:show_app",
}


class _Loaded(Mapping[str, Any]):
    """Commands by name, each imported when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        file, _, attribute = COMMANDS[name].partition(":")
        found = getattr(import_module(f"pks4.commands.{file}"), attribute)
        if not isinstance(found, typer.Typer):
            function, found = found, typer.Typer(add_completion=False)
            found.command(name)(function)
        command = typer.main.get_command(found)
        command.name = name
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Listed(_Loaded):
    """Commands by name with their help alone, read without an import."""

    def __getitem__(self, name: str) -> TyperCommand:
        file, _, attribute = COMMANDS[name].partition(":")
        path = Path(__file__).parent / "commands" / f"{file.replace('.', '/')}.py"
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name == attribute:
                return TyperCommand(name, help=ast.get_docstring(node))
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == attribute:
                named = {k.arg: k.value for k in node.value.keywords}  # type: ignore[attr-defined]
                return TyperCommand(name, help=ast.literal_eval(named["help"]))
        raise AssertionError(f"{path} has no {attribute}")


class _Commands(TyperGroup):
    """The commands of `COMMANDS`."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands: Mapping[str, Any] = _Loaded()  # type: ignore[assignment]

    def format_help(self, *given: Any) -> None:
        """The help of all commands."""
        self.commands = _Listed()
        super().format_help(*given)
        self.commands = _Loaded()


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Measure PKS4 against temporal attention, adapters, video Mamba, recurrent models, motion "
    "modules, probes and 2D floors: accuracy, MACs, activation memory and wall-clock, every number "
    "with its evidence.\n\n"
    "Start with: pks4-bench run quick",
)
app.callback()(lambda: None)

ONE_INTERRUPT_SECONDS = 2.0
_interrupted = float("-inf")


def main() -> None:
    """Run the command line; a UserError becomes one line and exit code 2."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the caller closed it: a run goes on without
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for good
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except UserError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the last flush fails as well
        _fail(f"the output cannot be written: {error.strerror}; make room")


def _fail(words: str) -> NoReturn:
    """One line, and exit code 2."""
    from pks4.commands.parts.terminal import escaped, note, visible

    note.print(f"[bold red]error:[/] {escaped(visible(words, keep=''))}", soft_wrap=True)
    sys.exit(2)


def _interrupt(*_: object) -> None:
    """Raise KeyboardInterrupt once; further interrupts within two seconds count as the same one."""
    global _interrupted
    before, _interrupted = _interrupted, time.monotonic()
    if _interrupted - before > ONE_INTERRUPT_SECONDS:
        raise KeyboardInterrupt


if __name__ == "__main__":
    main()
