"""Device locks: two runs never time on the same device at the same time.

A lock is a file in a folder of this machine and user, held by flock (filelock), so it ends with its
process however that ends. It keeps apart only cells that must run alone: cells that may run
together, other users and other programs still disturb.
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

FOLDER = "PKS4_LOCKS"  # environment variable: another folder for the locks
POLL_SECONDS = 0.2


def folder() -> Path:
    """Where the locks lie: the same for all processes of a user, whatever their TMPDIR."""
    if chosen := os.environ.get(FOLDER):
        return Path(chosen)
    if hasattr(os, "getuid"):
        return Path("/tmp") / f"pks4-bench-{os.getuid()}"
    return Path(tempfile.gettempdir()) / "pks4-bench"


@contextmanager
def exclusive(cell: Cell, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold every device of a cell; `waiting` gets the device if another run holds it."""
    with ExitStack() as locks:
        for name, device in sorted(_devices(cell).items()):
            locks.enter_context(lock(name, partial(waiting, device)))
        yield


@contextmanager
def lock(name: str, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold one lock by name; `waiting` is called once if another process holds it."""
    file = FileLock(_path(name))
    try:
        try:
            file.acquire(timeout=0)
        except Timeout:
            waiting()
            file.acquire(poll_interval=POLL_SECONDS)
    except OSError as error:
        raise UserError(f"{file.lock_file}: no lock can be held there: {error.strerror}; set "
                        f"{FOLDER} to a folder of this machine") from error  # fmt: skip
    try:
        yield
    finally:
        file.release()


def cpu() -> str:
    """The name of the lock of this host's CPU."""
    return f"cpu-{socket.gethostname()}"


def _devices(cell: Cell) -> dict[str, str]:
    """Lock -> CPU or GPU, for every device that a cell computes on."""
    names: dict[str, str] = {}
    for measure, settings in cell.settings.items():
        if settings.get("device") == "cuda":
            ranks = settings["processes"] if measure == "accuracy" else 1
            names |= {f"cuda-{gpu}": "GPU" for gpu in _gpus(ranks)}
        elif "device" in settings:
            names[cpu()] = "CPU"
    return names or {cpu(): "CPU"}


def _gpus(count: int) -> list[str]:
    """The first GPUs that this process sees, by UUID, or by index where the UUID is unknown."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
    names = [name.strip() for name in visible.split(",")]
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
