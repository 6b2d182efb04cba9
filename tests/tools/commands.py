"""pks4-bench in this process and as a process, how tests wait for it, and who hears of a run."""

import signal
import subprocess
import sys
import time

from typer.testing import CliRunner

from pks4 import cli


def invoke(*args):
    """Run a command in this process."""
    return CliRunner().invoke(cli.app, [str(a) for a in args])


def command(*args):
    """A pks4-bench process."""
    code = "from pks4.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # as from a terminal
    )  # fmt: skip


def done(process, code=0):
    """What a process printed, once it ended as it should."""
    out, err = process.communicate(timeout=240)
    assert process.returncode == code, err
    return out.strip(), err


def wait_for_records(folder, count, process):
    """Wait until a run's file in the folder has so many records."""
    for _ in range(2400):
        files = list(folder.glob("*.jsonl"))
        if files and len(files[0].read_bytes().splitlines()) > count:
            return files[0]
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    raise AssertionError("no record came")


def silent(cell, event):
    """A listener that says nothing."""
