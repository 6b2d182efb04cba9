"""Progress where there is no terminal: a line for each measure that ends, and one a minute."""

import io
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from pks4.commands.parts import progress
from pks4.commands.parts.progress import Watch

CELL = SimpleNamespace(id="learn/pks4/t8", measures=["accuracy"])
SESSION = SimpleNamespace(todo={CELL.id: ["accuracy"]})
START = {"event": "start", "measure": "accuracy"}
EPOCH = {"event": "progress", "measure": "accuracy", "done": 3, "total": 12, "text": "loss 0.5"}
DONE = {"event": "done", "measure": "accuracy", "seconds": 99.0}


@pytest.fixture
def log(monkeypatch):
    """What a run prints into a file, where a minute is short."""
    monkeypatch.setattr(progress, "MINUTE", 0.02)
    return io.StringIO()


def until(log, words):
    """The log, once it holds these words; they come within five seconds."""
    end = time.monotonic() + 5
    while words not in log.getvalue():
        assert time.monotonic() < end, log.getvalue()
        time.sleep(0.01)
    return log.getvalue()


def test_a_long_measure_says_each_minute_how_far_it_is(log):
    with Watch(SESSION, Console(file=log, width=200)) as watch:
        watch(CELL, START)
        until(log, "learn/pks4/t8 accuracy runs for 0 s\n")
        watch(CELL, EPOCH)
        until(log, "learn/pks4/t8 accuracy runs for 0 s: loss 0.5, 3 of 12\n")
        watch(CELL, DONE)
        until(log, "[1/1] learn/pks4/t8 accuracy 99.0 s\n")
    told = log.getvalue()
    time.sleep(0.1)
    assert log.getvalue() == told


def test_a_terminal_has_its_bar_and_no_lines(log):
    with Watch(SESSION, Console(file=log, width=200, force_terminal=True)) as watch:
        watch(CELL, START)
        time.sleep(0.1)
    assert "runs for" not in log.getvalue()
