"""A model on a device that need not be there: fake tensors, which know device and dtype, no values.

Meta tensors follow the kernels of CUDA and know nothing of autocast; fake tensors run the rules of
the device that they say they are on, so that what a real run would keep for backward can be read
off to the byte. Where PyTorch's fake kernels are wrong, `_Corrected` says so and mends it.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from pks4.errors import unknown_name

aten = torch.ops.aten
DTYPES = ("float32", "bfloat16")


@contextmanager
def pretended(
    model: nn.Module, clip: Tensor, device: str = "cpu", dtype: str = "float32"
) -> Iterator[Tensor]:
    """While open, `model` (built on meta) stands on `device`; gives the clip that stands there too.

    With dtype "bfloat16" autocast to it is on, weights stay as they are. Raises ValueError for a
    dtype that is not in `DTYPES`.
    """
    if dtype not in DTYPES:
        raise ValueError(unknown_name("dtype", dtype, DTYPES))
    mode = FakeTensorMode()
    with mode:
        for module in model.modules():
            for name, p in module._parameters.items():
                if p is not None:
                    module._parameters[name] = nn.Parameter(_like(p, device), p.requires_grad)
            for name, x in module._buffers.items():
                if x is not None:
                    module._buffers[name] = _like(x, device)
        there = _like(clip, device)
    with ExitStack() as stack:
        stack.enter_context(mode)
        stack.enter_context(_Corrected())
        if dtype != "float32":
            stack.enter_context(torch.autocast(device, getattr(torch, dtype)))
        yield there


def _like(x: Tensor, device: str) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=device)


class _Corrected(TorchDispatchMode):
    """On a CPU a norm keeps its statistics in the dtype of its weights; fake ones follow x."""

    NORMS = (aten.native_layer_norm.default, aten.native_batch_norm.default)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func not in self.NORMS or args[0].device.type != "cpu":
            return out
        weight = args[2] if func is self.NORMS[0] else args[1]
        if weight is None or weight.dtype == args[0].dtype:
            return out
        y, *statistics = out
        return (y, *(torch.empty_like(s, dtype=weight.dtype) for s in statistics))
