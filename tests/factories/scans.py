"""Random inputs of a scan, and what a backend takes, for the tests of the scan."""

import torch

from pks4.scan import BACKENDS

HERE = ["recompute", "numba"]  # fast backends that run on a CPU


def inputs(b, t, s, d, n, dtype=torch.float64, seed=0):
    """Random inputs of a scan, all needing gradients: u, delta, A, B, C, D, delta_bias."""
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype)

    tensors = (
        draw(b, t, s, d),
        draw(b, t, s, d),
        -draw(d, n).exp(),
        draw(b, t, s, n),
        draw(b, t, s, n),
        draw(d),
        draw(d),
    )
    return tuple(x.requires_grad_() for x in tensors)


def precise(backend):
    """The widest dtype that a backend takes."""
    return torch.float64 if not BACKENDS[backend].dtypes else torch.float32
