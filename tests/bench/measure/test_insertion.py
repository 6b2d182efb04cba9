"""The measure of identity at insertion: 0 for a fresh module, not 0 for one that does something."""

import pytest
import torch

from pks4.bench.contestants import catalogue, modules
from pks4.bench.measure import insertion
from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.plan.plan import plan
from pks4.bench.plan.suite import parse_suite
from pks4.errors import UserError
from pks4.method.module import PKS4

SUITE = """
name = "insert"
title = "Insert"
[[contestants]]
label = "one"
model = "{model}"
[[grids]]
name = "insertion"
scale = "tiny"
frames = [2]
measures = ["insertion"]
[grids.settings.insertion]
backbones = ["resnet18"]
"""


def inputs(model="pks4"):
    """A cell of one backbone."""
    (cell,) = plan(parse_suite(SUITE.format(model=model), "test"))
    return MeasureInput(cell, cell.settings["insertion"])


def test_a_fresh_module_changes_no_logit():
    (reading,) = insertion.measure(inputs())
    assert (reading.value, reading.detail["by_backbone"]) == (0.0, {"resnet18": 0.0})
    assert reading.detail["places"] == {"resnet18": "after block 2 of 4"}


def test_a_module_that_does_something_is_seen(monkeypatch):
    plain = PKS4.forward
    monkeypatch.setattr(PKS4, "forward", lambda self, x: plain(self, x) + torch.ones(()))
    (reading,) = insertion.measure(inputs())
    assert reading.value > 0


def test_another_model_is_no_module_to_insert():
    with pytest.raises(UserError, match="is no module to insert"):
        list(insertion.measure(inputs("frame_mean")))


def test_a_module_of_the_users_own_is_inserted_too(tmp_path, monkeypatch):
    monkeypatch.setenv(catalogue.MODULES, "")
    path = tmp_path / "mine.py"
    path.write_text(
        "from torch import nn\n\n\nclass Norm(nn.LayerNorm):\n    pass\n\n\n"
        "class Silent(Norm):\n    def forward(self, x):\n        return x + 0 * self.weight\n"
    )
    for name in ("Norm", "Silent"):
        modules.add(f"{path}:{name}")
    found = {name: next(insertion.measure(inputs(name))) for name in ("Norm", "Silent")}
    assert found["Silent"].value == 0 < found["Norm"].value
    assert found["Silent"].detail["places"] == {"resnet18": "after block 2 of 4"}
