"""Sensitivity by frame: its value by hand, blind contestants found, the model left as it was."""

import pytest
import torch
from torch import nn

from pks4.bench.contestants import catalogue
from pks4.simulate.attention_kernels import declared_attention
from pks4.train.engine import STD
from pks4.train.frame_sensitivity import FrameSensitivity, frame_sensitivity
from tests.factories.models import tiny

CLASSES = 5


def clips(frames=4, size=8, count=3):
    g = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, frames, 3, size, size), generator=g, dtype=torch.uint8)


class Weighted(nn.Module):
    """Logits of the sum over frames of a weight times the frame; a trunk that may be frozen."""

    def __init__(self, weights, frozen=False):
        super().__init__()
        self.weights, self.frozen = weights, frozen
        self.trunk = nn.Conv2d(3, 4, 1)
        self.norm, self.drop = nn.BatchNorm2d(4), nn.Dropout(0.5)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, video):
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            x = self.trunk(video.flatten(0, 1))
        x = self.drop(self.norm(x)).mean((2, 3)).unflatten(0, video.shape[:2])  # (b, t, d)
        return self.head((x * x.new_tensor(self.weights)[:, None]).sum(1))


def seen(model, frames=4, step=1, classes=CLASSES, size=8):
    return frame_sensitivity(model, clips(frames, size), classes, 0, step)


@pytest.mark.parametrize("frozen", [False, True])
def test_shares_are_the_weights_of_the_frames_also_behind_a_frozen_trunk(frozen):
    found = seen(Weighted([1.0, 2.0, 0.5, 4.0], frozen))
    assert found.shares == pytest.approx([0.25, 0.5, 0.125, 1.0])
    assert (found.least, found.last) == pytest.approx((0.125, 1.0))
    assert found.least_named == "frame 3 of 4"


def test_the_value_is_the_root_mean_square_of_the_gradient():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(3.0))

        def forward(self, video):
            return self.scale * video.sum((2, 3, 4))[:, :1]  # of the first frame, one class

    direction = torch.randn(3, generator=torch.Generator().manual_seed(0))
    found = seen(Sum(), classes=1)
    assert found.by_frame[0] == pytest.approx(3 * direction.square().mean().sqrt().item(), rel=1e-5)
    assert STD != 1  # the gradient is by pixel as the model sees it, not by uint8
    assert found.shares == [1, 0, 0, 0]


def test_a_contestant_that_ignores_its_last_frames_is_found():
    found = seen(Weighted([1.0, 1.0, 0.0, 0.0]))
    assert found.shares == pytest.approx([1, 1, 0, 0])
    assert (found.least, found.last, found.least_named) == (0, 0, "frame 3 of 4")


def test_a_contestant_that_ignores_the_clip_sees_nothing():
    class Constant(nn.Linear):
        def forward(self, video):
            return self.bias[None]

    assert seen(Constant(2, CLASSES)).shares == [0, 0, 0, 0]


def test_frames_of_one_tubelet_count_as_the_one_that_is_seen_best():
    found = FrameSensitivity([0.0, 2.0, 0.0, 1.0], 2)
    assert found.by_tubelet == [1, 0.5]
    assert found.least_named == "frames 3 to 4 of 4"


def test_a_head_that_starts_at_zero_hides_no_frame_and_is_zero_again():
    model = Weighted([1.0, 1.0, 1.0, 0.0])
    nn.init.zeros_(model.head.weight)
    assert seen(model).shares == pytest.approx([1, 1, 1, 0])
    assert not model.head.weight.any()


def test_the_model_and_the_random_state_stay_as_they_were():
    model = Weighted([1.0, 2.0, 3.0, 4.0])
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.get_rng_state()
    assert seen(model) == seen(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.training
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    "name", ["pks4", "evl", "side4video", "vivit_fe", "st_adapter", "video_mamba"]
)
def test_tiny_contestants_see_every_frame(name):
    entry = catalogue.models()[name]
    model = tiny(name, {}, 8, **entry.facts["SCALES"]["tiny"])
    with declared_attention("flash_cpu"):
        found = seen(model, 8, entry.frames_step({}), size=64)
    assert found.least > 0.5


def test_video_mamba_as_published_does_not_see_past_its_first_frames_at_tiny_scale():
    as_published = {"init": "official", "pool": "cls"}
    found = seen(tiny("video_mamba", as_published, 8), 8, size=64)
    assert found.shares[0] == 1
    assert found.last < 1e-6
    assert found.least < 1e-6
