"""Batch norms under recomputation: a forward that runs again must not count its frames twice."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def has_batch_norm(net: nn.Module) -> bool:
    """Whether any layer keeps statistics over batches."""
    return any(isinstance(m, _BatchNorm) for m in net.modules())


@contextmanager
def statistics_kept(net: nn.Module) -> Iterator[None]:
    """While open, batch norms run on copies of their statistics."""
    own = [(m, m._buffers) for m in net.modules() if isinstance(m, _BatchNorm)]
    for norm, buffers in own:
        norm._buffers = {k: x if x is None else x.clone() for k, x in buffers.items()}
    try:
        yield
    finally:
        for norm, buffers in own:
            norm._buffers = buffers
