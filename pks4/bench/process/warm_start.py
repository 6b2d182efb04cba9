"""Children that start warm: one process imports the libraries once and forks a worker for each job.

Importing PyTorch and timm takes seconds, most of what a small cell costs. The nursery imports them,
runs nothing, and forks: a child has standard streams, a session and an end of its own, as if it had
been started cold. Cells that must be alone start cold all the same, so that nothing of this touches
a time. Linux only, since elsewhere a fork after these imports is not safe.
"""

import contextlib
import gc
import json
import os
import selectors
import socket
import subprocess
import sys
import threading
from importlib import import_module
from typing import IO, Any

AVAILABLE = sys.platform == "linux" and hasattr(os, "pidfd_open")
PRELOADED, WORKER = "pks4.bench.run.preloaded", "pks4.bench.run.worker"  # rooms above this one
LOST = 1 << 16  # no exit code: the nursery of the child is gone, nobody saw how it ended


class Nursery:
    """The parent's side: starts the process at the first child, and ends it on `close`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen | None = None
        self.children: dict[int, WarmChild] = {}
        self.newborn: WarmChild | None = None  # of the request that waits
        self.news = threading.Condition()
        self.gone = False

    def start(self) -> "WarmChild | None":
        """A new child, like `subprocess.Popen` of the worker; None if the nursery is gone."""
        with self.lock:
            if self.process is None:
                self._open()
            (stdin, to_child), (from_child, stdout), (errors, stderr) = (
                os.pipe() for _ in range(3)
            )
            with self.news:
                try:
                    socket.send_fds(self.line, [b"f"], [stdin, stdout, stderr])
                except OSError:
                    self.gone = True
                for fd in (stdin, stdout, stderr):
                    os.close(fd)
                self.news.wait_for(lambda: self.newborn or self.gone)
                child, self.newborn = self.newborn, None
        if child is None:
            for fd in (to_child, from_child, errors):
                os.close(fd)
            return None
        child.stdin = open(to_child, "w", encoding="utf-8")  # noqa: SIM115 - the child's to close
        child.stdout, child.stderr = (
            open(fd, encoding="utf-8", errors="replace")  # noqa: SIM115
            for fd in (from_child, errors)
        )
        return child

    def close(self) -> None:
        """End the nursery; its children have ended, or end with their standard input."""
        if self.process is not None:
            with contextlib.suppress(OSError):
                self.line.shutdown(socket.SHUT_RDWR)  # closing waits for the listener's file
            self.line.close()
            self.process.wait()
            self.process = None

    def _open(self) -> None:
        self.line, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pks4.bench.process.warm_start", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C reaches the parent only
        )
        theirs.close()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        """Take what the nursery says: who was born, who ended and how."""
        try:
            with self.line.makefile(encoding="utf-8") as lines:
                for line in lines:
                    self._hear(json.loads(line))
        except (OSError, ValueError, LookupError, TypeError):
            pass  # cut by its end
        finally:
            with self.news:
                self.gone = True
                for child in self.children.values():
                    child.returncode = LOST if child.returncode is None else child.returncode
                self.news.notify_all()

    def _hear(self, said: dict[str, Any]) -> None:
        with self.news:
            if "born" in said:
                self.newborn = self.children[said["born"]] = WarmChild(self, said["born"])
            else:
                self.children.pop(said["ended"]).returncode = said["code"]
            self.news.notify_all()


class WarmChild:
    """A child of the nursery with the part of `subprocess.Popen` that a run needs."""

    stdin: IO[str]
    stdout: IO[str]
    stderr: IO[str]

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.nursery, self.pid = nursery, pid
        self.returncode: int | None = None

    def wait(self) -> int:
        """Wait for its end; the exit code, or minus the signal that killed it."""
        with self.nursery.news:
            self.nursery.news.wait_for(lambda: self.returncode is not None)
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        """Kill it, if it has not ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, 9)


def main() -> None:
    """The nursery's own life: import, then fork on request until the parent is gone."""
    line = socket.socket(fileno=int(sys.argv[1]))
    import_module(PRELOADED)  # this takes the seconds

    gc.freeze()  # what is imported needs no looking through for garbage
    watched = selectors.DefaultSelector()
    watched.register(line, selectors.EVENT_READ)
    while True:
        for key, _ in watched.select():
            if key.fileobj is not line:
                watched.unregister(key.fileobj)
                os.close(key.fd)
                _, status = os.waitpid(key.data, 0)
                _say(line, ended=key.data, code=os.waitstatus_to_exitcode(status))
                continue
            request, streams, _, _ = socket.recv_fds(line, 1, 3)
            if not request:
                os._exit(0)
            pid = os.fork()
            if pid == 0:
                watched.close()
                line.close()
                _be_a_worker(streams)
            for fd in streams:
                os.close(fd)
            watched.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
            _say(line, born=pid)


def _be_a_worker(streams: list[int]) -> None:
    """The child's whole life."""
    worker = import_module(WORKER)
    code = 1
    try:
        os.setsid()
        for fd, standard in zip(streams, range(3), strict=True):
            os.dup2(fd, standard)
            os.close(fd)
        worker.main()
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _say(line: socket.socket, **what: int) -> None:
    try:
        line.sendall(json.dumps(what).encode() + b"\n")
    except OSError:
        os._exit(0)  # the parent is gone


if __name__ == "__main__":
    main()
