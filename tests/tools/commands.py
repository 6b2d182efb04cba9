"""pks4-bench in this process and as a process, how tests wait for it, and who hears of a run."""

import json
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


def imported_by(*args):
    """A command's exit code, and which slow packages it imported, in a process of its own."""
    code = (
        "import json, sys; from pks4.cli import app\n"
        "ended = 0\n"
        "try: app(sys.argv[1:])\nexcept SystemExit as end: ended = end.code\n"
        "heavy = {'torch', 'timm', 'pandas', 'matplotlib', 'sklearn'} & set(sys.modules)\n"
        "print(json.dumps([ended, sorted(heavy)]))"
    )
    words = [sys.executable, "-c", code, *map(str, args)]
    out = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return json.loads(out.splitlines()[-1])


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
