"""A fork server: it imports PyTorch once and forks a warm child per job.

That saves each child the seconds of import, most of what a small cell costs. Timed cells do not use
it: they start a fresh interpreter. Linux only: elsewhere a fork after these imports is not safe.

Why not multiprocessing's forkserver: there is one per process and for good, with the environment
and the code of its first start; it stays in the terminal's session, where Ctrl-C reaches it; its
children import the caller's main script again; and it reports its loss as exit code 255, which a
child may also have, or seem to have when two threads poll for it at once.

The server forks a watcher for each child, and the watcher the child. The watcher writes the child's
process id and later its exit code into a pipe, so that a child's end is known even if the server
is gone.
"""

import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import IO

AVAILABLE = sys.platform == "linux"
# Imported before any fork. Nothing may run here: operators start threads, which no fork survives.
PRELOADED = (
    "torch",
    "timm",
    "pks4.bench.run.worker",
    "pks4.method.module",
    "pks4.method.video",
    "pks4.simulate.attention_kernels",
    "pks4.simulate.count_macs",
    "pks4.simulate.fake_device",
)
LOST = 1 << 16  # no exit code: the watcher of the child is gone, nobody saw how the child ended


class ForkServer:
    """The parent's side of the server, which starts with the first child and ends on `close`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen | None = None

    def next_child(self, module: str) -> "WarmChild | None":
        """A new child that runs `module.main()`; None if the server is gone."""
        with self.lock:
            if self.process is None:
                self._open()
            (theirs, ours), *outputs = (os.pipe() for _ in range(4))
            stdin = open(ours, "w", encoding="utf-8")  # noqa: SIM115 - `Child` closes these
            streams = [open(fd, encoding="utf-8", errors="replace") for fd, _ in outputs]  # noqa: SIM115
            requested = [theirs, *(fd for _, fd in outputs)]
            with contextlib.suppress(OSError):
                socket.send_fds(self.line, [module.encode()], requested)
            for fd in requested:
                os.close(fd)
            if pid := _number(streams[2], 0):
                return WarmChild(pid, stdin, streams)
        for stream in (stdin, *streams):
            stream.close()
        return None

    def close(self) -> None:
        """End the server; its children have ended, or end with their standard input."""
        if self.process is not None:
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


class WarmChild:
    """A child of the server, with the part of `subprocess.Popen` that a `Child` needs."""

    def __init__(self, pid: int, stdin: IO[str], outputs: Sequence[IO[str]]) -> None:
        self.pid, self.stdin = pid, stdin
        self.stdout, self.stderr, self._status = outputs
        self.returncode: int | None = None

    def wait(self) -> int:
        """Wait for its end; the exit code, minus the signal that killed it, or LOST."""
        if self.returncode is None:
            self.returncode = _number(self._status, LOST)
            self._status.close()
        return self.returncode

    def kill(self) -> None:
        """Kill it, if it has not ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def _number(status: IO[str], default: int) -> int:
    """The next number that a watcher wrote; the default if it is gone."""
    try:
        return int(status.readline())
    except ValueError:
        return default


def main() -> None:
    """The server: import, then fork a watcher per request until the parent is gone."""
    line = socket.socket(fileno=int(sys.argv[1]))
    for name in PRELOADED:  # this takes the seconds
        import_module(name)
    gc.freeze()  # what is imported needs no search for garbage
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # watchers that end leave no zombie
    while True:
        module, pipes, _, _ = socket.recv_fds(line, 1024, 4)
        if not module:
            os._exit(0)
        if os.fork() == 0:
            line.close()
            _watch(module.decode(), pipes[:3], pipes[3])
        for fd in pipes:
            os.close(fd)


def _watch(module: str, streams: list[int], status: int) -> None:
    """The watcher: fork the child, write its process id, wait for it, write its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        pid = os.fork()
        if pid == 0:
            os.close(status)
            _work(module, streams)
        for fd in streams:
            os.close(fd)
        os.write(status, f"{pid}\n".encode())
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.write(status, f"{code}\n".encode())
    finally:
        os._exit(0)  # also when the parent, which reads, is gone


def _work(module: str, streams: list[int]) -> None:
    """The child: take its session and standard streams, then do its job."""
    code = 1
    try:
        os.setsid()
        for standard, fd in enumerate(streams):
            os.dup2(fd, standard)
            os.close(fd)
        import_module(module).main()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
