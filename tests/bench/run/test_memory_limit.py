"""Memory limits: predicted before a cell runs, enforced while it does, a record either way."""

import pytest

from pks4.bench.plan.suite import read_suite
from pks4.bench.process import warm_start
from pks4.bench.records import run_file
from pks4.bench.run import run
from pks4.bench.units import bytes_of
from pks4.cli import app
from pks4.errors import UserError

SUITE = """
name = "limited"
title = "Limited"

[[contestants]]
label = "floor"
model = "frame_mean"
options = { width = 96, depth = 2, heads = 3 }

[[grids]]
name = "time"
scale = "tiny"
frames = [4]
batch = 8
num_classes = 5
measures = ["params", "peak_memory"]
"""


def records(tmp_path, limit, text=SUITE):
    """What a run under a limit writes."""
    path = tmp_path / "limited.toml"
    path.write_text(text)
    session = run.start(*read_suite(path), tmp_path / "runs")
    run.execute(session, 1, lambda cell, event: None, bytes_of(limit))
    return {(r.measure, r.metric): r for r in run_file.read(session.path).records}


@pytest.mark.slow
@pytest.mark.usefixtures("one_fork_server")
def test_a_cell_predicted_above_the_limit_is_not_run_and_says_what_it_needs(tmp_path):
    found = records(tmp_path, "1MB")
    failure = found["peak_memory", "*"]
    assert failure.status == "oom"
    assert failure.reason.startswith("oom (predicted): a training step needs ")
    assert failure.reason.endswith("above the limit of 1.00 MiB; not run")
    assert found["params", "params_total"].status == "ok"  # nothing else is disturbed


@pytest.mark.slow
@pytest.mark.usefixtures("one_fork_server")
def test_a_cell_within_the_limit_runs(tmp_path):
    found = records(tmp_path, "2GB")
    assert found["peak_memory", "step_peak_measured_bytes"].status == "ok"


@pytest.mark.slow
def test_an_allocation_beyond_the_limit_is_a_record_with_the_predicted_need(tmp_path, monkeypatch):
    monkeypatch.setattr(warm_start, "AVAILABLE", False)
    trap = tmp_path / "greedy.py"
    trap.write_text(
        '"""Greedy: asks for far more at run time than its shapes show."""\n'
        "import torch\nfrom torch import nn\n\n\n"
        "class Greedy(nn.Module):\n"
        "    def __init__(self, n):\n        super().__init__()\n"
        "        self.head = nn.Linear(3, n)\n\n"
        "    def forward(self, video):\n"
        "        if type(video) is torch.Tensor and video.device.type == 'cpu':\n"
        "            torch.zeros(1 << 29)\n"
        "        return self.head(video.mean((1, 3, 4)))\n\n\n"
        "def build(*, frames, num_classes, image_size=64):\n    return Greedy(num_classes)\n"
    )
    from pks4.bench.contestants import catalogue

    monkeypatch.setenv(catalogue.ADDED, str(trap))
    text = SUITE.replace('"frame_mean"', '"greedy"').replace(
        "options = { width = 96, depth = 2, heads = 3 }\n", ""
    )
    failure = records(tmp_path, "500MB", text.replace("peak_memory", "time"))["time", "*"]
    assert failure.status == "oom"
    assert "a training step was predicted to need" in failure.reason


@pytest.mark.parametrize("text", ["8 parrots", "0GB"])
def test_a_limit_that_is_no_memory_is_refused(text):
    from typer.testing import CliRunner

    done = CliRunner().invoke(app, ["run", "smoke", "--memory-limit", text])
    assert isinstance(done.exception, UserError)
