"""A child process: one job, a line of JSON on its standard input; events, lines of JSON, out of it.

Whatever libraries print in a child goes to its standard error, whose last line is the reason when
it fails. A child stops as soon as its standard input ends: then the parent is gone, and nothing
may be measured unseen. A child leads a session, so that Ctrl-C reaches the parent only, and so that
a child is killed together with everything that it started.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pks4.bench.process import warm_start
from pks4.bench.process.warm_start import ForkServer, WarmChild

LAST_LINES = 20  # of a child's standard error that are kept
LINGER_SECONDS = 5.0  # for the rest of standard error, which something else may hold open


class Child:
    """A child process that runs `python -m module` on a job, as a context.

    It is forked warm by `server` if there is one and it lives, else it starts cold, in `folder` and
    with `environment` added to that of the parent. It is killed after `limit` seconds. Without
    `leads_session` it stays in the session of the parent, and ends with it.
    """

    def __init__(
        self,
        module: str,
        job: dict[str, Any],
        *,
        server: ForkServer | None = None,
        limit: float | None = None,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        leads_session: bool = True,
    ) -> None:
        self.job, self.limit, self.timed_out = job, limit, False
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        warm = server.next_child(module) if server else None
        self.warm = warm is not None
        self.process: subprocess.Popen | WarmChild = warm or subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, **(environment or {})},
            cwd=folder,
            start_new_session=leads_session,
        )

    def __enter__(self) -> "Child":
        self._timer = threading.Timer(self.limit or 0, self._expire)
        if self.limit is not None:
            self._timer.start()
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died at once; its exit code says how
            self.process.stdin.write(json.dumps(self.job) + "\n")
            self.process.stdin.flush()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self.kill()
        self.wait()
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(BrokenPipeError):  # of what a dead child did not read
                if stream is not None:
                    stream.close()

    def events(self) -> Iterator[dict[str, Any]]:
        """The events of the child until it ends; a line that its death cut is not an event."""
        for line in self.process.stdout or ():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                return

    def wait(self) -> int:
        """Wait for its end; the exit code, or minus the signal that killed it."""
        code = self.process.wait()
        self.kill()  # what it has left behind
        self._reader.join(LINGER_SECONDS)
        return code

    def kill(self) -> None:
        """Kill the child and whatever it started."""
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()

    @property
    def last_line(self) -> str:
        """The last line of its standard error; empty if there is none."""
        return next((line for line in reversed(self._lines) if line), "")

    def _expire(self) -> None:
        self.timed_out = True
        self.kill()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self._lines.append(line.strip())


class Children:
    """Children that threads start, and that may all be stopped at once."""

    def __init__(self) -> None:
        self.stopped = False
        self._server = ForkServer()
        self._lock = threading.Lock()
        self._living: set[Child] = set()

    @contextlib.contextmanager
    def start(
        self, module: str, job: dict[str, Any], *, warm: bool = True, limit: float | None = None
    ) -> Iterator[Child]:
        """A child with its job; warm where that is wanted and possible."""
        server = self._server if warm and warm_start.AVAILABLE else None
        with Child(module, job, server=server, limit=limit) as child:
            with self._lock:
                self._living.add(child)
                if self.stopped:
                    child.kill()
            try:
                yield child
            finally:
                with self._lock:
                    self._living.discard(child)

    def stop(self) -> None:
        """Kill every child, and each that is started from now on."""
        with self._lock:
            self.stopped = True
            for child in self._living:
                child.kill()

    def close(self) -> None:
        """End the fork server."""
        self._server.close()


class ChildFailed(RuntimeError):
    """A child ended with an error: its exit code and the last line of its standard error."""

    def __init__(self, code: int, last_line: str) -> None:
        self.code, self.last_line = code, last_line
        super().__init__(f"a process of the session failed: {last_line or f'exit code {code}'}")


def session(
    module: str, job: dict[str, Any], environment: Mapping[str, str] | None = None
) -> Iterator[dict[str, Any]]:
    """The events of a cold child of this child, as they come. Raises ChildFailed if it fails."""
    with Child(module, job, environment=environment, leads_session=False) as child:
        yield from child.events()
        if code := child.wait():
            raise ChildFailed(code, child.last_line)


def receive(*, allow_nan: bool = False) -> tuple[dict[str, Any], Callable[..., None]]:
    """In the child: its job, and a function that sends its keyword arguments as an event."""
    events = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # what libraries print to stdout must not mix with events
    job = json.loads(sys.stdin.readline())
    end_after(_standard_input)

    def send(**event: Any) -> None:
        events.write(json.dumps(event, allow_nan=allow_nan) + "\n")

    return job, send


def end_after(wait: Callable[[], object]) -> None:
    """End this process, and the session if it leads one, as soon as `wait` returns."""
    threading.Thread(target=partial(_end_after, wait), daemon=True).start()


def _standard_input() -> None:
    # Not through sys.stdin: its lock would be held for good in a process forked from here, and a
    # DataLoader's worker, which closes its standard input first, would wait for it for ever.
    while os.read(0, 4096):
        pass


def _end_after(wait: Callable[[], object]) -> None:
    wait()
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # ranks and loaders, which may wait for one another for ever
    os._exit(3)
