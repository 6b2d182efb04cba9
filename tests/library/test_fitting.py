"""What fits in a memory: each answer is a simulated step, and one more does not fit."""

import pytest
import torch
from torch import nn

import pks4
from pks4.bench.units import bytes_of
from pks4.errors import UserError
from pks4.library.cost import MEMORIES, cost
from pks4.library.fitting import MOST_FRAMES
from pks4.simulate.what_fits import RESERVE
from tests.factories.users_models import mlp

MEMORY = "16MB"
LIMIT = int(bytes_of(MEMORY) * (1 - RESERVE))


class Clips(nn.Module):
    """A layer on every frame of exactly `frames` frames."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames, self.layer, self.head = frames, nn.Linear(32, 256), nn.Linear(256, 2)

    def forward(self, x):
        assert x.shape[1] == self.frames
        return self.head(self.layer(x).relu().mean(1))


def clip(frames):
    return (1, frames, 32)


def peak(model, shape, batch):
    return pks4.simulate_step(model, shape, batch=batch).peak


def test_the_most_clips_of_a_model_by_two_steps():
    found = pks4.what_fits(mlp(64), (1, 4), memory=MEMORY)
    assert peak(mlp(64), (1, 4), found.batch) == found.peak <= LIMIT
    assert peak(mlp(64), (1, 4), found.batch + 1) > LIMIT
    assert found.frames is None
    assert sum(found.parts.values()) == found.peak


@pytest.mark.parametrize("build", [Clips, lambda t: Clips(t)])
def test_the_most_frames_of_a_build_by_two_steps(build):
    found = pks4.what_fits(build, clip, memory=MEMORY, batch=24)
    assert 0 < found.frames < MOST_FRAMES
    assert peak(Clips(found.frames), clip(found.frames), 24) == found.peak <= LIMIT
    assert peak(Clips(found.frames + 1), clip(found.frames + 1), 24) > LIMIT
    assert (
        peak(Clips(16), clip(16), found.batch) <= LIMIT < peak(Clips(16), clip(16), found.batch + 1)
    )
    assert f"frames, batch 24    {found.frames}" in str(found)


def test_a_build_whose_code_reads_values_is_made_with_values():
    def build(frames):
        assert float(torch.ones(1)) == 1
        return Clips(frames)

    chance = torch.get_rng_state()
    assert pks4.what_fits(build, clip, memory=MEMORY).frames == MOST_FRAMES
    assert torch.get_rng_state().equal(chance)


def test_nothing_fits():
    found = pks4.what_fits(nn.Linear(2048, 2048), (1, 2048), memory="2MB")
    assert found.batch == 0
    assert "peak of the least" in str(found)


@pytest.mark.parametrize(
    ("model", "inputs", "line"),
    [
        (mlp(), None, "takes the model's input too"),
        (Clips, (1, 16, 32), "as a function of frames"),
        (lambda a, b: Clips(a), clip, "must take `frames`, or one number"),
        (lambda t: (x for x in range(t)), clip, "gave a generator, not an nn.Module"),
        ("tms", None, "did you mean 'tsm'"),
    ],
)
def test_what_cannot_be_asked_is_one_line(model, inputs, line):
    with pytest.raises(UserError, match=line):
        pks4.what_fits(model, inputs, memory=MEMORY)


def test_cost_is_the_instruments_together():
    found = cost(mlp(), (1, 4))
    assert found.macs == pks4.count_macs(mlp(), (1, 4), target="cuda-bf16")
    assert found.step == pks4.simulate_step(mlp(), (1, 4))
    assert found.params_total == 4 * 8 + 8 * 2
    assert list(found.fits) == [*MEMORIES]
    assert list(found.fits.values()) == sorted(found.fits.values())
    assert "in 24GB" in str(found)
