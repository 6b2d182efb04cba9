"""A file of the user's own joins a suite by `--model`, and is measured beside the others."""

import json

import pytest
from typer.testing import CliRunner

from pks4.bench.contestants import catalogue
from pks4.bench.plan.suite import read_suite
from pks4.bench.plan.user_inputs import UserInputs
from pks4.bench.records import run_file
from pks4.bench.run import run
from pks4.cli import app
from pks4.errors import UserError

OWN = '''
"""Colours: the mean pixel, one linear layer."""

from torch import nn


class Colours(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.head = nn.Linear(3, num_classes)

    def forward(self, video):
        return self.head(video.mean((1, 3, 4)))


def build(*, frames, num_classes, image_size=224):
    return Colours(num_classes)
'''


@pytest.fixture
def own_file(tmp_path, monkeypatch):
    """The user's file; what it adds to the catalogue goes with the test."""
    monkeypatch.setenv(catalogue.ADDED, "")
    path = tmp_path / "colours.py"
    path.write_text(OWN)
    return path


def invoke(*args):
    """The command's result; a mistake of the user's is raised."""
    done = CliRunner().invoke(app, [str(a) for a in args])
    if isinstance(done.exception, UserError):
        raise done.exception
    return done


@pytest.mark.slow
def test_an_own_model_runs_without_a_closed_form_and_resume_knows_it_again(
    own_file, suite_file, tmp_path
):
    suite, folder = suite_file(), tmp_path / "runs"
    options = ("--model", own_file, "--out", folder, "--no-report", "--jobs", "1")
    done = invoke("run", suite, *options)
    assert done.exit_code == 0, done.output
    (path,) = folder.glob("*.jsonl")
    found = {(r.label, r.metric): r for r in run_file.read(path).records}
    assert found["colours", "params_total"].value == 20
    forward = found["colours", "macs_forward"]
    assert forward.value == 15
    assert forward.evidence["agreed"] == ["torch on meta", "fvcore at 2 frames"]
    assert ("ours", "saved_bytes") in found
    catalogue.os.environ[catalogue.ADDED] = ""
    done = invoke("run", suite, *options, "--resume")
    assert done.exit_code == 0
    assert "0 of 3 cells to do" in done.output


@pytest.mark.parametrize("file", ["colours.py", "helper.py", "weights"])
def test_resume_refuses_a_file_that_has_changed(file, own_file, suite_file, tmp_path):
    """Once the parameters of the old file stood with the MACs of the new one under one label."""
    helper, weights = own_file.with_name("helper.py"), tmp_path / "vit.pth"
    own_file.write_text("import helper\n" + OWN)
    helper.write_text("import os\n")
    weights.write_bytes(b"0")
    catalogue.add_model(own_file)
    suite, text = read_suite(suite_file())
    inputs = UserInputs(weights={"frame_mean": weights})
    session = run.start(suite, text, tmp_path / "runs", inputs)
    assert list(session.header.inputs.hashes) == [
        "--weights frame_mean", "--model colours.py", "--model colours.py, its module helper.py",
    ]  # fmt: skip
    assert run.resume(suite, text, tmp_path / "runs").path == session.path
    changed = {"colours.py": own_file, "helper.py": helper, "weights": weights}[file]
    changed.write_bytes(changed.read_bytes() + b"\n")
    with pytest.raises(UserError, match=rf"the file of --.*{file}.* is not as it was"):
        run.resume(suite, text, tmp_path / "runs")
    changed.unlink()
    with pytest.raises(UserError, match="is not as it was when this run began"):
        run.resume(suite, text, tmp_path / "runs")


def test_it_is_in_the_plan(own_file, suite_file):
    cells = json.loads(invoke("plan", suite_file(), "--model", own_file, "--json").output)
    assert {c["label"] for c in cells} == {"floor", "ours", "colours"}


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("none.py", None, "is no Python file with a model"),
        ("model.txt", OWN, "is no Python file with a model"),
        ("pks4.py", OWN, "there is a model 'pks4' already; rename the file"),
        ("empty.py", "x = 1\n", "has no build"),
        ("broken.py", "def build(:\n", "cannot be read as Python"),
    ],
)
def test_a_file_that_is_no_model_is_refused_in_one_line(
    name, text, line, own_file, suite_file, tmp_path
):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=line) as wrong:
        invoke("plan", suite_file(), "--model", path)
    assert "\n" not in str(wrong.value)
