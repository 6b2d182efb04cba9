"""Golden weights, clips and checks: what the authors' code was run on, and what it gave.

Every weight of a tiny model is a sine of its place, shifted by a checksum of its official name.
"""

import math
import zlib

import numpy as np
import pytest
import torch

from pks4.weights.official import load_official, official_state_dict
from tests.factories.models import clip, shake

TINY = {"frames": 4, "num_classes": 5, "patch_size": 16, "image_size": 32}
TINY_VIT = {**TINY, "width": 24, "depth": 2, "heads": 3}
GIGA = 1e9
MAMBA_SIZES = {
    "Ti": {"width": 192, "depth": 24},
    "S": {"width": 384, "depth": 24},
    "M": {"width": 576, "depth": 32},
}


def sine(shape, pace, phase=0.0, scale=1.0):
    """scale * sin(pace * i + phase) for the i-th element, float64 until the end."""
    index = np.arange(math.prod(shape), dtype=np.float64)
    return torch.from_numpy(scale * np.sin(pace * index + phase)).view(shape).float()


def weight(name, shape, scale=0.25):
    """The golden weight with this official name; scales and skips are near one.

    `scale` is the size of matrices; vectors keep .25.
    """
    phase = zlib.crc32(name.encode()) % 1000 / 100
    near_one = (len(shape) == 1 and name.endswith(".weight")) or name.endswith(("D", "D_b"))
    return sine(shape, 1.7, phase, scale if len(shape) > 1 else 0.25) + float(near_one)


def golden(names_and_values, scale=0.25):
    """Golden values for official names; A_log keeps log 1, 2, 3, ... and counters their zero."""
    return {
        k: v
        if k.endswith(("A_log", "A_b_log")) or not v.is_floating_point() or ".running_" in k
        else weight(k, v.shape, scale)
        for k, v in names_and_values.items()
    }


def fill(model):
    """Give every weight of a rival its golden value, by its official name."""
    load_official(model, golden(official_state_dict(model)))
    return model.eval()


def chirp(shape):
    """The golden input of the cards: sin(.37 i + .013 i²) for the i-th element."""
    index = np.arange(math.prod(shape), dtype=np.float64)
    return torch.from_numpy(np.sin(0.37 * index + 0.013 * index**2)).view(shape).float()


def assert_golden(out, shape, first, total, total_abs):
    """First five values within 1e-4; sums within 1e-4 of their size."""
    assert tuple(out.shape) == shape
    assert out.flatten()[:5].tolist() == pytest.approx(first, abs=1e-4)
    assert out.sum().item() == pytest.approx(total, abs=1e-4, rel=1e-4)
    assert out.abs().sum().item() == pytest.approx(total_abs, abs=1e-4, rel=1e-5)


def on_meta(module, frames, num_classes=400, **options):
    """A rival at paper scale without storage."""
    with torch.device("meta"):
        return module.build(frames=frames, num_classes=num_classes, **options)


def n_params(model, trainable=False):
    """Number of parameters, all of them or those that train."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)


def shaken(module, **options):
    """A small rival in eval mode, every weight of it awake."""
    return shake(module.build(**{**TINY_VIT, **options})).eval()


def small_clip(frames):
    """A clip of noise (2, t, 3, 32, 32)."""
    return clip(frames, size=32)


def fresh(module, **options):
    """A tiny wrapper from a fixed seed, in eval mode."""
    torch.manual_seed(0)
    return module.build(**{**TINY_VIT, **options}).eval()
