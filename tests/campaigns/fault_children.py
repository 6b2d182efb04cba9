"""Faults that a child brings along: models that hang, crash, leave or take too much; cut files."""

import json
import random
from pathlib import Path

from pks4.bench.plan.suite import read_suite
from pks4.bench.records import run_file as records_run_file
from pks4.bench.run import run
from tests.campaigns.fault_bench import Bench, check_whole, content, run_file, values

MODEL = '''"""Hostile: a model that does harm as it is built."""

import ctypes
import os
import time

import torch
from torch import nn


def build(*, frames, num_classes, image_size=64, harm="none"):
    if harm == "hang":
        time.sleep(3600)
    if harm == "segfault":
        ctypes.string_at(0)
    if harm == "leave":
        os._exit(0)
    return Hostile(num_classes, harm)


class Hostile(nn.Module):
    def __init__(self, num_classes, harm):
        super().__init__()
        self.head, self.harm = nn.Linear(3, num_classes), harm

    def forward(self, video):
        real = type(video) is torch.Tensor and video.device.type == "cpu"
        if real and self.harm == "memory":
            torch.ones(1 << 29)  # two GiB
        return self.head(video.mean((1, 3, 4)))
'''
CONTESTANT = """
[[contestants]]
label = "hostile"
model = "hostile"
options = {{ harm = "{harm}" }}
"""
REAL = """
[[grids]]
name = "real"
scale = "tiny"
frames = [2]
contestants = ["hostile"]
measures = ["time"]
settings.time = { processes = 1, rounds = 4, sample_ms = 1 }
"""
TRAINING = """
[[grids]]
name = "learn"
scale = "tiny"
frames = [4]
task = "temporal"
contestants = ["narrow"]
measures = ["accuracy"]

[grids.settings.accuracy]
epochs = 4
images = 200
image_epochs = 1
clips = { train = 36, val = 18, test = 36 }
"""
CLOCK = """
import datetime
import os
import time

_begin, _real, _Date = time.monotonic(), time.time, datetime.datetime


def _off():
    jumped = time.monotonic() - _begin >= float(os.environ.get("PKS4_JUMP_AFTER", 0))
    return float(os.environ["PKS4_JUMP_BY"]) if jumped else 0.0


class datetime_(_Date):
    @classmethod
    def now(cls, tz=None):
        return _Date.now(tz) + datetime.timedelta(seconds=_off())


time.time = lambda: _real() + _off()
datetime.datetime = datetime_
"""


def jumping_clock(home: Path) -> Path:
    """A folder that, first in the import path, makes the wall clock of a process jump."""
    place = home / "clock"
    place.mkdir(exist_ok=True)
    (place / "sitecustomize.py").write_text(CLOCK)
    return place


def _ends(bench: Bench, harm: str, status: str, said: str, *words: str, more: str = "") -> int:
    """A run with such a contestant: its failures are records, every other number is there."""
    model = bench.home / "hostile.py"
    model.write_text(MODEL)
    suite = bench.suite(CONTESTANT.format(harm=harm), f"with_{harm}", more)
    if harm == "hang":
        text = suite.read_text()
        suite.write_text(text.replace("time_limit_seconds = 60", "time_limit_seconds = 4"))
    folder, wanted = bench.new_folder(), bench.undisturbed(bench.suite())
    done = bench.run(suite, folder, *words, PKS4_MODEL_FILES=str(model))
    assert done.code == 1, f"exit code {done.code}: {done.err}"
    found = values(run_file(folder))
    assert {k: v for k, v in found.items() if "/hostile/" not in k[0]} == wanted
    header, *records = map(json.loads, content(folder).splitlines())
    planned = {(cell["id"], name) for cell in header["cells"] for name in cell["measures"]}
    assert {key[:2] for key in found} == planned, "a measure has no record"
    failed = [r for r in records if r["status"] != "ok"]
    assert failed
    for record in failed:
        assert record["status"] == status, record
        assert said in record["reason"], record["reason"]
        assert f"{status} {record['cell']} {record['measure']}: " in done.err, done.err
    before = content(folder)
    done = bench.run(suite, folder, "--resume", PKS4_MODEL_FILES=str(model))
    assert (done.code, content(folder)) == (1, before)
    return 1


def hangs(bench: Bench, chance: random.Random) -> int:
    """A worker that never ends is stopped at its time limit."""
    return _ends(bench, "hang", "timeout", "time limit of 4 s")


def segfaults(bench: Bench, chance: random.Random) -> int:
    """A worker that reads what is not its own."""
    return _ends(bench, "segfault", "failed", "killed by signal 11")


def leaves(bench: Bench, chance: random.Random) -> int:
    """A worker that ends without a word, as if all were well."""
    return _ends(bench, "leave", "failed", "ended with exit code 0")


def out_of_memory(bench: Bench, chance: random.Random) -> int:
    """A worker that takes more than it may."""
    limit = ("--memory-limit", "600MB")
    return _ends(bench, "memory", "oom", "out of memory", *limit, more=REAL)


def cut_anywhere(bench: Bench, chance: random.Random) -> int:
    """A file that ends at any byte of its last line: a session knows what is missing, no more.

    Each cut is opened, read and appended to as a resume does it; three are resumed by command.
    """
    suite, folder = bench.suite(), bench.new_folder()
    wanted = bench.undisturbed(suite)
    assert bench.run(suite, folder).code == 0
    path, whole = run_file(folder), content(folder)
    parsed, text = read_suite(suite)
    start = whole.rstrip(b"\n").rindex(b"\n") + 1
    last = records_run_file.read(path).records[-1]
    cuts = range(start, len(whole) + 1)
    for cut in cuts:
        path.write_bytes(whole[:cut])
        torn = start < cut < len(whole) - 1
        session = run.resume(parsed, text, folder)
        assert session.todo == ({} if cut >= len(whole) - 1 else {last.cell: [last.measure]}), cut
        assert bool(records_run_file.read(path).torn) == torn, cut
        writer = records_run_file.Writer(path)
        if session.todo:
            writer.append(last)
        writer.close()
        check_whole(folder, whole[:cut], wanted)
    for cut in chance.sample(cuts, 3):
        path.write_bytes(whole[:cut])
        done = bench.run(suite, folder, "--resume")
        assert done.code == 0, done.err
        check_whole(folder, whole[:cut], wanted)
    return len(cuts)
