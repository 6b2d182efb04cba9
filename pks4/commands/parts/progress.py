"""Progress on a terminal: what runs now, how far it is, what went wrong."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from pks4.bench.plan.cell import Cell
from pks4.bench.run.run import Session, data_needed
from pks4.commands.parts.terminal import escaped
from pks4.errors import UserError


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[text]}"),
        console=console,
        disable=not console.is_terminal,
    )


@contextmanager
def bar(console: Console, title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar as a callback (done, total)."""
    with _progress(console) as progress:
        task = progress.add_task(escaped(title), total=None, text="")
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def telling(console: Console, title: str) -> Iterator[Callable[[float, float, str], None]]:
    """A progress bar as a callback (done, total, text); without a terminal a line for each call."""
    with _progress(console) as progress:
        task = progress.add_task(escaped(title), total=None, text="")

        def tell(done: float, total: float, text: str) -> None:
            progress.update(task, completed=done, total=total, text=escaped(text))
            if not console.is_terminal:
                console.print(f"[{done:g}/{total:g}] {text}", highlight=False, markup=False)

        yield tell


def prepare_data(cells: list[Cell], console: Console) -> None:
    """Render every data set that the cells will read, before any of them starts."""
    for need in data_needed(cells):
        from pks4.data.kinetic_digits.make_dataset import make

        try:
            with bar(console, f"data: {need['task']}") as update:
                make(**need, progress=update)
        except UserError as error:  # the cells that need it fail with it; the others go on
            console.print(f"[red]data:[/] {escaped(str(error))}", soft_wrap=True)


class _Running(NamedTuple):
    """A measure at work: since when, and how far it is."""

    what: str
    since: float
    state: str = ""


MINUTE = 60.0  # seconds between two lines on what runs, where there is no terminal


class Watch:
    """Shows a run: one bar for all measures, one line for each cell that runs.

    Without a terminal it prints a line for each measure that ends, and a line a minute on each that
    runs, for a log.
    """

    def __init__(self, session: Session, console: Console) -> None:
        self.console, self.progress = console, _progress(console)
        self.total = sum(len(left) for left in session.todo.values())
        self.done, self.lines = 0, {}
        self._running: dict[str, _Running] = {}
        self._ended = threading.Event()
        self._minutes = threading.Thread(target=self._tell_each_minute, daemon=True)

    def __enter__(self) -> "Watch":
        self.progress.start()
        self.all = self.progress.add_task("all measures", total=self.total, text="")
        if not self.console.is_terminal:
            self._minutes.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.progress.stop()

    def _tell_each_minute(self) -> None:
        while not self._ended.wait(MINUTE):
            for one in list(self._running.values()):
                seconds = time.monotonic() - one.since
                if seconds >= MINUTE:
                    text = f"{one.what} runs for {seconds:.0f} s{one.state}"
                    self.console.print(escaped(text), soft_wrap=True, highlight=False)

    def __call__(self, cell: Cell, event: dict[str, Any]) -> None:
        """Take an event of a cell; called from several threads."""
        kind, what = event["event"], f"{cell.id} {event['measure']}"
        self._note(cell.id, what, event)
        if kind == "start":
            self.progress.update(self._line(cell, what), text="")
        elif kind == "waiting":
            self._wait(cell, event["device"])
        elif kind == "progress":
            self.progress.update(
                self._line(cell, what), completed=event["done"], total=event["total"],
                text=escaped(event["text"]),
            )  # fmt: skip
        else:
            self._end(cell, what, event)

    def _note(self, cell: str, what: str, event: dict[str, Any]) -> None:
        """Keep what the line of each minute says of a cell."""
        kind, known = event["event"], self._running.get(cell)
        if kind == "start" or (known is None and kind == "progress"):
            self._running[cell] = _Running(what, time.monotonic())
        if kind == "progress":
            state = f": {event['text']}, {event['done']:g} of {event['total']:g}"
            self._running[cell] = self._running[cell]._replace(state=state)
        elif kind != "start":
            self._running.pop(cell, None)

    def _line(self, cell: Cell, what: str) -> Any:
        if cell.id not in self.lines:
            self.lines[cell.id] = self.progress.add_task(what, total=None, text="")
        self.progress.update(self.lines[cell.id], description=what)
        return self.lines[cell.id]

    def _wait(self, cell: Cell, device: str) -> None:
        text = f"waiting for another run's timing on this {device}"
        self.progress.update(self._line(cell, cell.id), text=text)
        if not self.console.is_terminal:
            self.console.print(escaped(f"{cell.id}: {text}"), soft_wrap=True, highlight=False)

    def _end(self, cell: Cell, what: str, event: dict[str, Any]) -> None:
        self.done += 1
        self.progress.update(self.all, completed=self.done)
        if event["measure"] == cell.measures[-1] and cell.id in self.lines:
            self.progress.remove_task(self.lines.pop(cell.id))
        if not self.console.is_terminal:
            state = "" if event["event"] == "done" else f" {event['status']}: {event['reason']}"
            text = f"[{self.done}/{self.total}] {what} {event['seconds']:.1f} s{state}"
            self.console.print(escaped(text), soft_wrap=True, highlight=False)
