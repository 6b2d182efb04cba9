"""A child process as its parent sees it: one job on standard input, events on standard output.

Whatever libraries print goes to standard error. When standard input ends, the parent is gone and
the child stops at once, so that no measurement runs on unseen.
"""

import os
import signal
import sys
import threading
from typing import IO


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
