"""Golden fillings beside those of `golden`, for models that are deaf to small weights or explode.

As there, a weight is a sine of its place, shifted by a checksum of its name in the authors' code.
"""

import math
import zlib

import numpy as np
import torch

from tests.factories.golden import sine


def phase(name):
    """The shift of a name's sine."""
    return zlib.crc32(name.encode()) % 1000 / 100


def of_cnn(name, shape):
    """He's bound for kernels, so that a CNN neither dies nor explodes; scales near one."""
    if len(shape) < 2:
        return sine(shape, 1.7, phase(name), 0.25) + float(name.endswith(".weight"))
    return sine(shape, 1.7, phase(name), math.sqrt(6 / math.prod(shape[1:])))


def of_flax(name, shape):
    """Large kernels; scales near one, but those that are stored less one; slow decays."""
    if len(shape) >= 2:
        return sine(shape, 1.7, phase(name))
    near_one = name.endswith("scale") and not name.endswith("temporal_pre_norm/scale")
    return sine(shape, 1.7, phase(name), 0.25) + near_one - 3.0 * name.endswith("a_param")


def filled(state, filling, name=str):
    """A state dict of golden values; `name` gives the name that shifts a weight's sine.

    Statistics and counters of batch norms keep their values.
    """
    kept = ("running_mean", "running_var", "num_batches_tracked")
    return {
        k: v if k.endswith(kept) else filling(name(k), tuple(v.shape)) for k, v in state.items()
    }


def chirp(shape):
    """sin(.37 i + .013 i^2) for the i-th element: no period that a model could miss."""
    i = np.arange(math.prod(shape), dtype=np.float64)
    return torch.from_numpy(np.sin(0.37 * i + 0.013 * i**2)).view(shape).float()


def assert_near(out, first, total, total_abs, shape=None):
    """First five values within 1e-4 of the mean size, sums within 1e-4 of the sum of sizes."""
    size = out.abs().mean().item()
    if shape is not None:
        assert tuple(out.shape) == shape
    off = np.abs(np.array(out.flatten()[:5].tolist()) - first).max()
    assert off <= 1e-4 * size, (off, size)
    assert abs(out.abs().sum().item() - total_abs) <= 1e-4 * total_abs
    assert abs(out.sum().item() - total) <= 1e-4 * total_abs
