"""Adding a baseline is one new file: a project with one more is listed, planned and measured."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pks4

pytestmark = pytest.mark.slow

FILE = '''"""Mean pixel (2D floor): a linear layer on the mean colour of a clip."""

from torch import nn

from pks4.macs import linear_macs

FAMILY = "2D floor"
PAPER = "https://example.org"
PLACE = "nowhere"
TRAINED = "all"
SCALES = {"paper": {"image_size": 32}, "tiny": {"image_size": 16}}


def build(*, frames, num_classes, image_size=32, bias=True):
    return MeanPixel(num_classes, bias)


class MeanPixel(nn.Module):
    def __init__(self, num_classes, bias):
        super().__init__()
        self.head = nn.Linear(3, num_classes, bias)

    def forward(self, video):
        return self.head(video.mean((1, 3, 4)))

    def macs(self, batch=1):
        return {"backbone": 0, "temporal": 0, "head": linear_macs(batch, 3, 5)}
'''
SUITE = """
name = "mine"
title = "Mine"

[[contestants]]
label = "mean_pixel"
model = "mean_pixel"
options = { bias = false }

[[grids]]
name = "cost"
scale = "tiny"
frames = [4]
num_classes = 5
measures = ["params", "macs"]
"""


@pytest.fixture
def project(tmp_path):
    """A checkout of its own with one baseline and one suite; a function that runs a command."""
    ignored = shutil.ignore_patterns("__pycache__", "_shipped")
    shutil.copytree(Path(pks4.__file__).parent, tmp_path / "pks4", ignore=ignored)
    for name, text in {"baselines/mean_pixel.py": FILE, "suites/mine.toml": SUITE}.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)

    def command(*args):
        code = "from pks4.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, *args],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return command


def test_a_new_file_is_listed_planned_and_measured(project):
    listed = {line["model"]: line for line in json.loads(project("list", "models", "--json"))}
    assert listed.keys() == {"pks4", "mean_pixel"}
    assert listed["mean_pixel"]["family"] == "2D floor"
    assert listed["mean_pixel"]["summary"].startswith("Mean pixel")
    (cell,) = json.loads(project("plan", "mine", "--json"))
    assert cell["id"] == "cost/mean_pixel/t4"
    assert cell["options"] == {"image_size": 16, "bias": False}
    run = Path(project("run", "mine", "--no-report", "--jobs", "1").strip())
    records = [json.loads(line) for line in run.read_text().splitlines()[1:]]
    found = {r["metric"]: r["value"] for r in records}
    assert found["params_total"] == found["params_trainable"] == 15
    assert found["macs_forward"] == 15
    agreed = next(r for r in records if r["metric"] == "macs_forward")["evidence"]["agreed"]
    assert agreed == ["torch on meta", "closed form", "fvcore at 2 frames"]
