"""A child process as its parent sees it: one job on standard input, events on standard output.

Whatever libraries print goes to standard error. When standard input ends, the parent is gone and
the child stops at once, so that no measurement runs on unseen.

A fresh process for one session of a measurement: a job in, lines of JSON out, or an error.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from typing import IO, Any


def receive() -> tuple[str, IO[str]]:
    """The job, a line of JSON, and where events go, one JSON line each."""
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print to stdout must not mix with events
    job = sys.stdin.readline()
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    return job, events


def _stop_with_parent() -> None:
    # Not through sys.stdin: its lock would be held for good in a process forked from here, and a
    # DataLoader's worker, which closes its standard input first, would wait for it for ever.
    while os.read(0, 4096):
        pass
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # ranks and loaders, which may wait for one another for ever
    os._exit(3)


def session(
    module: str, job: dict[str, Any], environment: Mapping[str, str] | None = None
) -> Iterator[dict[str, Any]]:
    """What `python -m module` says about a job, as it comes.

    Raises RuntimeError with the last line of its standard error if it fails.
    """
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            env={**os.environ, **(environment or {})},
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        for line in process.stdout:
            yield json.loads(line)
        code = process.wait()
        if code:
            errors.seek(0)
            told = [line.strip() for line in errors if line.strip()]
            reason = told[-1] if told else f"exit code {code}"
            raise RuntimeError(f"a process of the session failed: {reason}")
