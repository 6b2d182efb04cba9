"""What the campaign of faults works with: a tiny suite, the real command line, and what must hold.

Every process of a trial carries a mark in its environment, so that none is overlooked.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLI = "from pks4.cli import main; main()"
MARK = "PKS4_FAULTS"
SUITE = """
name = "tiny"
title = "Tiny"

[[contestants]]
label = "narrow"
model = "frame_mean"
options = { width = 24, depth = 1, heads = 3 }

[[contestants]]
label = "wide"
model = "frame_mean"
options = { width = 48, depth = 1, heads = 3 }
MORE
[[grids]]
name = "cost"
scale = "tiny"
frames = [2, 3]
num_classes = 5
measures = ["params", "macs"]
time_limit_seconds = 60
"""
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code and what it said."""

    code: int
    out: str
    err: str

    def refused(self, *said: str) -> None:
        """It ended with one line that says this, and exit code 2."""
        last = self.err.strip().splitlines()[-1]
        assert self.code == 2, f"exit code {self.code}, not 2: {self.err}"
        assert last.startswith("error: "), f"no line of error: {self.err}"
        assert any(words in last for words in said), f"{last!r} does not say any of {said}"
        assert "Traceback" not in self.err, self.err


@dataclass
class Bench:
    """A folder of its own with the suite; `folder` is where runs go, a new one for each trial."""

    home: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="pks4-faults-")))
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    trials: int = 0
    known: dict[str, dict[Key, object]] = field(default_factory=dict)

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.home, ignore_errors=True)

    def suite(self, more: str = "", name: str = "tiny", grids: str = "") -> Path:
        """The suite's file, with more contestants and grids if some are given."""
        path = self.home / f"{name}.toml"
        path.write_text(SUITE.replace("MORE", more).replace('"tiny"', f'"{name}"', 1) + grids)
        return path

    def new_folder(self) -> Path:
        """A folder for the runs of one trial."""
        self.trials += 1
        folder = self.home / f"trial{self.trials}"
        folder.mkdir()
        return folder

    def start(
        self, *words: object, path: Path | None = None, before: Callable | None = None, **env: str
    ) -> subprocess.Popen:
        """A command of pks4-bench as a process; `path` comes first in its import path."""
        lookup = os.pathsep.join(map(str, filter(None, [path, ROOT])))
        settings = {
            "PYTHONPATH": lookup, "PKS4_CACHE": str(self.home / "cache"), "OMP_NUM_THREADS": "1",
            MARK: self.mark,
        }  # fmt: skip

        def prepare() -> None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # as from a terminal
            if before:
                before()

        return subprocess.Popen(
            [sys.executable, "-c", CLI, *map(str, words)], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=prepare,
            env={**os.environ, **settings, **env},
        )  # fmt: skip

    def ended(self, process: subprocess.Popen, seconds: float = 300) -> Ended:
        """Wait for a command; nothing that it has started may outlive it."""
        out, err = process.communicate(timeout=seconds)
        end = time.monotonic() + 30
        while left := self.processes():
            assert time.monotonic() < end, f"processes are left behind: {left}"
            time.sleep(0.05)
        return Ended(process.returncode, out, err)

    def call(self, *words: object, **options: object) -> Ended:
        """A command of pks4-bench from start to end."""
        return self.ended(self.start(*words, **options))

    def run(self, suite: Path, folder: Path, *words: str, **options: object) -> Ended:
        """`pks4-bench run`, from start to end."""
        return self.ended(self.begin(suite, folder, *words, **options))

    def begin(self, suite: Path, folder: Path, *words: str, **options) -> subprocess.Popen:
        """`pks4-bench run` as a process."""
        return self.start("run", suite, "--out", folder, "--no-report", *words, **options)

    def processes(self) -> dict[int, str]:
        """Processes of this campaign that live: number -> command."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if f"{MARK}={self.mark}".encode() in (entry / "environ").read_bytes():
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().decode()
        return found

    def workers(self) -> list[int]:
        """The fork server, its watchers and the workers that live."""
        names = ("pks4.bench.process.warm_start", "pks4.bench.run.worker")
        live = self.processes().items()
        return [pid for pid, command in live if any(name in command for name in names)]

    def undisturbed(self, suite: Path) -> dict[Key, object]:
        """Key -> value of the suite's run when nothing happens; made once."""
        if suite.stem not in self.known:
            folder = self.new_folder()
            done = self.run(suite, folder)
            assert done.code == 0, done.err
            self.known[suite.stem] = values(run_file(folder))
        return self.known[suite.stem]


def run_file(folder: Path) -> Path | None:
    """The one file of a run in a folder; None where there is none yet."""
    files = list(folder.glob("*.jsonl"))
    assert len(files) < 2, files
    return files[0] if files else None


def content(folder: Path) -> bytes:
    """The bytes of the run in a folder."""
    path = run_file(folder)
    return path.read_bytes() if path else b""


def lines(path: Path) -> list[dict]:
    """The records of a file, as plain JSON; lines that are torn are left out."""
    found = []
    for line in path.read_bytes().split(b"\n"):
        with suppress(ValueError):
            found.append(json.loads(line))
    return [line for line in found if line.get("type") == "record"]


def values(path: Path) -> dict[Key, object]:
    """Key -> value of the records in a file, of times the key alone; none may be there twice."""
    found: dict[Key, object] = {}
    for line in lines(path):
        key = (line["cell"], line["measure"], line["metric"])
        assert key not in found, f"{key} is there twice"
        found[key] = "noisy" if line.get("kind") == "noisy" else line["value"]
    return found


def check_whole(folder: Path, before: bytes, wanted: dict[Key, object]) -> None:
    """The run in a folder has all numbers, each once, and every byte that it had before."""
    assert content(folder).startswith(before), "what was written before has changed"
    found = values(run_file(folder))
    assert found.keys() == wanted.keys(), f"other keys: {found.keys() ^ wanted.keys()}"
    other = [key for key in wanted if found[key] != wanted[key]]
    assert not other, f"other values: {other}"


def complete_lines(data: bytes) -> int:
    """How many whole lines there are."""
    return data.count(b"\n")


def wait_until(process: subprocess.Popen, done: Callable[[], object], seconds: float = 120) -> bool:
    """Wait for something while a process lives; whether it came."""
    end = time.monotonic() + seconds
    while not done():
        if process.poll() is not None:
            return False
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.01)
    return True


def random_moment(process: subprocess.Popen, folder: Path, chance: random.Random) -> bool:
    """Sleep until some moment of a run, half of the time one at which records come."""
    if chance.random() < 0.5:
        at_least = complete_lines(content(folder)) + chance.randint(0, 4)
        if not wait_until(process, lambda: complete_lines(content(folder)) >= at_least):
            return False
        time.sleep(chance.uniform(0, 0.3))
    else:
        time.sleep(chance.uniform(0, 6))
    return process.poll() is None


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[Callable[[str], None]]:
    """A tmpfs of so many KiB on a folder; what is yielded mounts it anew with other options."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "none", folder], check=True)
    try:
        yield lambda options: subprocess.run(
            ["mount", "-o", f"remount,{options}", folder], check=True
        )
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
