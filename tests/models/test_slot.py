"""The video model with a slot: any module stands in it, with macs and streaming if it has them."""

import pytest
import torch
from torch import nn

from pks4 import plug_in
from pks4.method.module import PKS4
from pks4.simulate.count_macs import count_on_meta


class Mix(nn.Module):
    """A linear layer at every site, behind a gate."""

    def __init__(self, dim):
        super().__init__()
        self.mix = nn.Linear(dim, dim)
        self.gate = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        return x + self.gate * self.mix(x)


class Counted(Mix):
    """The same with a closed form of its MACs."""

    def macs(self, b, t, h, w):
        return b * t * h * w * self.mix.in_features**2


class Decay(Mix):
    """A mean over the past that forgets; it streams."""

    def forward(self, x):
        state, frames = self.initial_state(x.shape[0], *x.shape[2:4]), []
        for frame in x.unbind(1):
            y, state = self.step(frame, state)
            frames.append(y)
        return torch.stack(frames, 1)

    def initial_state(self, b, h, w):
        return self.gate.new_zeros(b, h, w, len(self.gate))

    def step(self, x, state):
        state = 0.5 * state + self.mix(x)
        return x + self.gate * state, state


def build(module, name="test_vit"):
    """A tiny video model with this module in its slot, awake, in eval mode."""
    torch.manual_seed(0)
    model = plug_in(name, 5, module=module, image_size=32).eval()
    nn.init.ones_(model.temporal.gate)
    return model


def clip():
    """A random video of four frames."""
    return torch.randn(2, 4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_a_class_gets_the_channels_of_the_place(name):
    model = build(Mix, name)
    assert model.temporal.mix.in_features == model.backbone.insertion_shape[2]
    assert model(clip()).shape == (2, 5)


@torch.no_grad()
def test_a_built_module_stands_there_itself():
    module = Mix(64)
    model = build(module)
    assert model.temporal is module
    assert {k.split(".")[0] for k in model.state_dict()} == {"backbone", "temporal", "head"}


@torch.no_grad()
def test_without_a_module_it_is_pks4():
    assert isinstance(plug_in("test_vit", 5, image_size=32).temporal, PKS4)


def test_the_head_and_the_module_train_and_the_frozen_backbone_does_not():
    model = build(Mix).train()
    model(clip()).square().sum().backward()
    assert all(p.grad is None for p in model.backbone.parameters())
    assert all(p.grad.any() for p in [*model.temporal.parameters(), *model.head.parameters()])


def test_macs_are_there_only_with_a_closed_form_of_the_module():
    assert not hasattr(build(Mix), "macs")
    model = build(Counted)
    assert model.macs(frames=3)["temporal"] == 3 * 2 * 2 * 64 * 64
    counted = count_on_meta(model.to("meta"), clip().to("meta"), backward=False)
    assert counted == sum(model.macs(2, 4).values())


def test_it_streams_only_with_a_module_that_has_step():
    for name in ("step", "initial_state"):
        assert not hasattr(build(Mix), name)
        with pytest.raises(AttributeError, match=name):
            getattr(build(Mix), name)


@torch.no_grad()
def test_frame_after_frame_gives_the_logits_of_the_clip_so_far():
    model, moving = build(Decay), clip()
    state = model.initial_state(2)
    for t, frame in enumerate(moving.unbind(1), 1):
        logits, state = model.step(frame, state)
        torch.testing.assert_close(logits, model(moving[:, :t]), atol=1e-5, rtol=1e-5)


def test_a_module_that_changes_the_shape_is_named():
    class Halved(Mix):
        def forward(self, x):
            return x[:, ::2]

    with pytest.raises(ValueError, match=r"Halved: must keep the shape \(2, 4, .* gives \(2, 2,"):
        build(Halved)(clip())


def test_options_of_pks4_do_not_go_with_another_module():
    with pytest.raises(ValueError, match="state: of PKS4, not of another module"):
        plug_in("test_vit", 5, module=Mix, state=4)
