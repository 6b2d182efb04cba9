"""Turns on a device: what must be alone holds its lock, so that no two runs time on it together.

A lock is a file in a folder of this machine and user, held by flock (filelock), so it ends with its
process however that ends. It keeps apart cells that must be alone and nothing else: cells of other
runs that may run beside each other, other users and other programs still disturb.
"""

import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from pks4.bench.plan.cell import Cell
from pks4.errors import UserError

FOLDER = "PKS4_LOCKS"  # in the environment: another folder for the locks
POLL_SECONDS = 0.2


def folder() -> Path:
    """Where the locks lie: the same for all processes of a user, whatever their TMPDIR."""
    if own := os.environ.get(FOLDER):
        return Path(own)
    if hasattr(os, "getuid"):
        return Path("/tmp") / f"pks4-bench-{os.getuid()}"
    return Path(tempfile.gettempdir()) / "pks4-bench"


@contextmanager
def turn(cell: Cell, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold every device of a cell; `waiting` is told the device if another run has its turn."""
    with ExitStack() as held:
        for name, device in sorted(_devices(cell).items()):
            held.enter_context(holding(name, partial(waiting, device)))
        yield


@contextmanager
def holding(name: str, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold one lock by name; `waiting` is called once if it has to be waited for."""
    lock = FileLock(_path(name))
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting()
            lock.acquire(poll_interval=POLL_SECONDS)
    except OSError as error:
        raise UserError(f"{lock.lock_file}: no lock can be held there: {error.strerror}; set "
                        f"{FOLDER} to a folder of this machine") from error  # fmt: skip
    try:
        yield
    finally:
        lock.release()


def cpu() -> str:
    """The name of this host's CPU among the locks."""
    return f"cpu-{socket.gethostname()}"


def _devices(cell: Cell) -> dict[str, str]:
    """Lock -> the device as people call it, for every device that a cell computes on."""
    found: dict[str, str] = {}
    for measure, settings in cell.settings.items():
        if settings.get("device") == "cuda":
            ranks = settings["processes"] if measure == "accuracy" else 1
            found |= {f"cuda-{gpu}": "GPU" for gpu in _gpus(ranks)}
        elif "device" in settings:
            found[cpu()] = "CPU"
    return found or {cpu(): "CPU"}


def _gpus(count: int) -> list[str]:
    """The first GPUs that this process sees, by UUID; by index where nothing tells the UUID."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name.strip() for name in seen.split(",")] if seen else [str(n) for n in range(count)]
    return [_uuid(name) if name.isdigit() else name for name in names[:count]]


def _uuid(index: str) -> str:
    try:
        done = subprocess.run(
            ["nvidia-smi", "-i", index, "--query-gpu=uuid", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return index
    return done.stdout.strip() or index


def _path(name: str) -> Path:
    try:
        folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder()}: cannot be made: {error.strerror}; set {FOLDER} to a folder "
                        "of this machine") from error  # fmt: skip
    return folder() / f"{name}.lock"
