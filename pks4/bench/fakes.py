"""A model on a device without storage: fake tensors, which know device and dtype, and no values.

Meta tensors follow the kernels of CUDA and know nothing of autocast; fake tensors run the rules of
the device that they say they are on, so that what a real run would keep for backward can be read
off to the byte. Where PyTorch's fake kernels are wrong, `_Fakes` mends it.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from pks4.errors import unknown_name

aten = torch.ops.aten
DTYPES = ("float32", "bfloat16")


@contextmanager
def pretended(
    model: nn.Module, clip: Tensor, rules: str = "cpu", dtype: str = "float32"
) -> Iterator[Tensor]:
    """While open, `model` (built on meta) stands on a fake CPU; gives the clip that stands there.

    With dtype "bfloat16" autocast to it is on, weights stay as they are. `rules` says whose kernels
    a norm follows; for those of CUDA open `cuda_rules` as well. Raises ValueError for a dtype that
    is not in `DTYPES`.
    """
    if dtype not in DTYPES:
        raise ValueError(unknown_name("dtype", dtype, DTYPES))
    mode = _Fakes(rules)
    with mode:
        for module in model.modules():
            for name, p in module._parameters.items():
                if p is not None:
                    module._parameters[name] = nn.Parameter(_like(p), p.requires_grad)
            for name, x in module._buffers.items():
                if x is not None:
                    module._buffers[name] = _like(x)
        there = _like(clip)
    with ExitStack() as stack:
        stack.enter_context(mode)
        if dtype != "float32":
            stack.enter_context(torch.autocast("cpu", getattr(torch, dtype)))
        yield there


def _like(x: Tensor) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device="cpu")


class _Fakes(FakeTensorMode):
    """Norms keep their statistics in the dtype of their weights on a CPU, in float32 on CUDA.

    PyTorch's own fake kernels say that of x, which is wrong under autocast.
    """

    NORMS = (aten.native_layer_norm.default, aten.native_batch_norm.default)

    def __init__(self, rules: str) -> None:
        super().__init__()
        self.rules = rules

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out: Any = super().__torch_dispatch__(func, types, args, kwargs)
        if func not in self.NORMS:
            return out
        weight = args[2] if func is self.NORMS[0] else args[1]
        dtype = torch.float32 if self.rules == "cuda" or weight is None else weight.dtype
        y, *statistics = out
        same = all(s.dtype == dtype for s in statistics)
        return out if same else (y, *(s.new_empty(s.shape, dtype=dtype) for s in statistics))
