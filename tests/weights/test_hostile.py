"""Weights and checkpoints from others: nothing in them runs, none of them hangs, one line each."""

import os

import pytest
import torch
from torch import nn

from pks4.errors import UserError
from pks4.train import checkpoint
from pks4.weights.files import read_weights

KEY = {"model": "a"}


class Code:
    """What runs a command where it is unpickled without care."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def endless():
    """A dictionary that holds itself where weights are looked for."""
    found = {}
    found["model"] = found
    return found


@pytest.mark.parametrize("content", [endless(), {1: torch.ones(1)}, {"model": 3}, [1]])
def test_a_file_without_a_dictionary_of_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="holds no dictionary of tensors"):
        read_weights(tmp_path / "w.pth")


def trained():
    """A net and its optimiser after a step."""
    net = nn.Linear(2, 1)
    optimiser = torch.optim.AdamW(net.parameters())
    net(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    return net, optimiser


@pytest.mark.parametrize(
    "damage",
    [{"model": {}}, {"optimiser": 3}, {"history": {"losses": []}, "model": None},
     {"history": {"other": 1}}],
)  # fmt: skip
def test_a_checkpoint_that_holds_something_else_is_one_line(tmp_path, damage):
    path, (net, optimiser) = tmp_path / "training.pt", trained()
    checkpoint.save(path, KEY, net, optimiser, checkpoint.History())
    torch.save(torch.load(path) | damage, path)
    with pytest.raises(UserError, match="delete it to train from the start"):
        checkpoint.load(path, KEY, *trained())


def test_a_checkpoint_with_code_is_refused_and_nothing_is_run(tmp_path):
    path, mark = tmp_path / "training.pt", tmp_path / "ran"
    torch.save({"version": 1, "key": KEY, "model": Code(mark)}, path)
    with pytest.raises(UserError, match="not a checkpoint"):
        checkpoint.load(path, KEY, *trained())
    assert not mark.exists()
