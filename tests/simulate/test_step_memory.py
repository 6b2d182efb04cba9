"""The simulated peak of a training step: by hand on a small model, and equal to a real step."""

import pytest
import torch
from torch import nn

from pks4.simulate import fake_device
from pks4.simulate.attention_kernels import declared_attention
from pks4.simulate.fake_device import on_fake_device
from pks4.simulate.step_memory import step_memory
from pks4.simulate.targets import TARGETS, on_target
from tests.factories.models import clip, core_variant, frames_that_fit, tiny


def simulated(model, video, target="cpu-fp32"):
    """The step's memory on a target; model and video on meta."""
    with on_target(TARGETS[target], model, video) as there:
        return step_memory(model, there)


def two_layers():
    """4 -> 8 -> 2 without biases, the first layer frozen, on meta."""
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 2, bias=False))
    model[0].requires_grad_(False)
    return model


def test_a_step_of_two_layers_by_hand():
    found = simulated(two_layers(), torch.empty(3, 4, device="meta"))
    weights, optimizer, inputs = 4 * (32 + 16), 8 * 16, 4 * 12
    hidden, logits, loss = 4 * 24, 4 * 6, 4
    at_loss = weights + optimizer + inputs + hidden + logits + loss
    # The backward starts with the gradient of the loss; that of the logits is a view of it, and
    # the weight's comes beside it. The logits are gone by then, the hidden layer is kept.
    gradient = 4 * 16
    assert found.parts["weights"] == weights
    assert found.parts["optimizer"] == optimizer
    assert found.parts["inputs"] == inputs
    assert found.after_forward == at_loss - logits
    assert found.peak == sum(found.parts.values()) >= at_loss
    assert found.peak <= at_loss + gradient + logits + 4


class Tied(nn.Module):
    """Two layers with one weight, a buffer under two names, and a view of it."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(64, 64), nn.Linear(64, 64)
        self.last.weight = self.first.weight
        self.register_buffer("table", torch.zeros(100, 64))
        self.register_buffer("again", self.table)
        self.register_buffer("part", self.table[10:20])

    def forward(self, x):
        return self.last(self.first(x)) + self.again[0] + self.part.mean(0)


def test_tied_weights_and_buffers_count_once_as_in_a_real_step():
    with torch.device("meta"):
        fake = Tied()
    kept = {name: id(x) for name, x in fake.state_dict(keep_vars=True).items()}
    found = simulated(fake, torch.empty(3, 64, device="meta"))
    assert found == step_memory(Tied(), torch.randn(3, 64))
    assert found.parts["weights"] == 4 * (64 * 64 + 2 * 64 + 100 * 64)
    assert {name: id(x) for name, x in fake.state_dict(keep_vars=True).items()} == kept
    assert fake.first.weight is fake.last.weight


def test_a_gradient_that_has_come_counts_once():
    with torch.device("meta"):
        model = nn.Sequential(*(nn.Linear(32, 32, bias=False) for _ in range(4)))
    found = simulated(model, torch.empty(1, 32, device="meta"))
    weights = 4 * 4 * 32 * 32
    # The last gradient comes when three are there; a clip's features are 128 bytes a layer.
    assert 4 * weights <= found.peak <= 4 * weights + 20 * 128


def test_autocast_keeps_copies_of_weights_beside_the_activations():
    model = two_layers().requires_grad_(True)
    found = simulated(model, torch.empty(3, 4, device="meta"), "cuda-bf16")
    assert found.parts["copies"] == 2 * (32 + 16)


def test_a_frozen_model_has_neither_gradients_nor_moments():
    whole, frozen = (
        simulated(tiny("frame_mean", {"frozen": f}, device="meta").train(), clip(device="meta"))
        for f in (False, True)
    )
    assert frozen.parts["weights"] == whole.parts["weights"]
    assert frozen.parts["optimizer"] == 8 * (96 + 1) * 5  # the head's
    assert frozen.peak < whole.peak


@pytest.mark.contract
@core_variant
def test_a_simulated_step_equals_a_real_one(name, options):
    frames = 3 if frames_that_fit(name, options, 3) else 4
    with declared_attention("flash_cpu"):
        real = step_memory(tiny(name, options, frames).train(), clip(frames))
        fake = tiny(name, options, frames, device="meta").train()
        with on_fake_device(fake, clip(frames, device="meta")) as video:
            assert step_memory(fake, video) == real


@pytest.mark.contract
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["pks4", "tsm"])
def test_the_short_key_to_the_cache_changes_nothing(name, target, monkeypatch):
    def refused(values):
        raise fake_device._NoSignature

    def step():
        model = tiny(name, {}, 4, device="meta").train()
        with declared_attention(TARGETS[target].kernel):
            return simulated(model, clip(4, device="meta"), target)

    found = step()
    monkeypatch.setattr(fake_device, "_signature", refused)
    assert step() == found


@pytest.mark.contract
@pytest.mark.parametrize("target", TARGETS)
def test_peak_is_affine_in_frames_for_pks4(target):
    def peak(frames):
        model = tiny("pks4", {"scan_backend": "recompute"}, frames, device="meta").train()
        with declared_attention(TARGETS[target].kernel):
            return simulated(model, clip(frames, device="meta"), target).peak

    few, some, many = (peak(t) for t in (64, 96, 128))
    assert many - some == some - few > 0


def test_checkpointing_lowers_the_peak_that_hooks_cannot_see():
    plain, again = (
        simulated(
            tiny("pks4", {"frozen": False, "checkpoint": c}, device="meta").train(),
            clip(8, device="meta"),
        )
        for c in (False, True)
    )
    assert again.peak < plain.peak
    assert again.after_forward < plain.after_forward
