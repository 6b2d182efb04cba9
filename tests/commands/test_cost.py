"""`cost` and `fit --model`: any model by a text, as a table and as JSON, mistakes in one line."""

import json

import pytest

from pks4.bench.contestants import catalogue
from pks4.errors import UserError
from tests.tools.commands import invoke

FILE = '''
"""A small model (own): one convolution and a head."""

from torch import nn


class Net(nn.Module):
    def __init__(self, classes=2):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 1), nn.Linear(4, classes)

    def forward(self, x):
        return self.head(self.conv(x).mean((-2, -1)))


class OfClips(Net):
    def forward(self, video):
        return super().forward(video.flatten(0, 1)).unflatten(0, video.shape[:2]).mean(1)


def build(*, frames, num_classes, image_size=224):
    return OfClips(num_classes)
'''


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The user's file; what it adds to the catalogue goes with the test."""
    monkeypatch.setenv(catalogue.ADDED, "")
    path = tmp_path / "net.py"
    path.write_text(FILE)
    return path


def refused(*words):
    """What a command says instead of an answer."""
    done = invoke(*words)
    assert isinstance(done.exception, UserError), done.output
    return str(done.exception)


def test_cost_of_a_class_in_a_file(file):
    done = invoke("cost", f"{file}:Net", "--input", "2x3x8x8", "--batch", "4", "--json")
    found = json.loads(done.stdout)
    assert found["params_total"] == 3 * 4 + 4 + 4 * 2 + 2
    assert found["macs"]["forward"] == 2 * (64 * 3 * 4 + 4 * 2)
    assert found["step"]["batch"] == 4
    assert list(found["fits"]) == ["8GB", "24GB", "40GB", "80GB"]


def test_cost_is_a_table_for_people(file):
    done = invoke("cost", f"{file}:Net", "--target", "cpu-fp32")
    assert "(1, 3, 224, 224) float32" in done.stdout
    for name in ("MACs, forward", "kept for backward", "peak of a step", "in 80GB"):
        assert name in done.stdout


def test_fit_of_a_class_is_its_most_clips(file):
    done = invoke("fit", "--memory", "1GB", "--model", f"{file}:Net", "--json")
    found = json.loads(done.stdout)
    assert found["frames"] is None
    assert found["batch"] > 1
    assert found["peak"] <= 2**30


@pytest.mark.slow
def test_fit_of_a_file_with_build_is_its_most_frames_and_clips(file):
    done = invoke("fit", "--memory", "1GB", "--model", file, "--json")
    (found,) = json.loads(done.stdout)
    assert found["label"] == "net"
    assert found["frames"] > 16


def test_mistakes_are_one_line(file):
    assert "did you mean 'Net'" in refused("cost", f"{file}:Ne")
    assert "wants (b, 3, h, w)" in refused("cost", f"{file}:Net", "--input", "1x4x8x8")
    assert "unknown target" in refused("cost", f"{file}:Net", "--target", "gpu")
    assert "no amount of memory" in refused("fit", "--memory", "much", "--model", f"{file}:Net")
    assert "each is a FILE" in refused(
        "fit", "--memory", "1GB", "--model", f"{file}:Net", "--model", file
    )
    assert "goes with --model" in refused("fit", "--memory", "1GB", "--input", "1x3")
