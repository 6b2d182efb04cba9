"""Adapters on a frozen ViT, small enough for a test, and their golden clip."""

import pytest
import torch

from baselines import aim, lora_time, st_adapter, zeroi2v
from tests.factories.golden import (
    TINY_VIT,
    sine,
)

SMALL = {**TINY_VIT, "frames": 3}
SSV2 = {"temporal_adapters": 2, "scale": 1.0}
MODULES = {
    aim: {"adapter_width": 6},
    zeroi2v: {"adapter_width": 6},
    lora_time: {"rank": 2},
    st_adapter: {"adapter_width": 8},
}
every_model = pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__.split(".")[-1])


def small(module, **options):
    """A rival small enough to run in milliseconds, the same weights each time."""
    torch.manual_seed(0)
    return module.build(**{**SMALL, **MODULES[module], **options})


def clip(frames=3, size=32):
    """The golden clip, (b, t, 3, h, w), of so many frames."""
    return sine((2, 3, frames, size, size), 0.37).transpose(1, 2)


def shake(model):
    """Random values for every weight, so that nothing is silent."""
    g = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(0.3 * torch.randn(p.shape, generator=g, dtype=torch.float64) + (p.ndim == 1))
    return model.eval()
