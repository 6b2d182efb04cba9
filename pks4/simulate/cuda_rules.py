"""CUDA's rules on fake CPU tensors, so that a training step can be simulated without a GPU.

Fake CUDA tensors follow CUDA's kernels, but autograd asks the driver before a backward, and
autocast for CUDA is off where there is no driver. So fake CPU tensors are used. While `cuda_rules`
is open they follow CUDA where it differs: in the operators that autocast casts (`CASTS`,
`SETS_DTYPE` and `LOWERS`, as PyTorch documents them) and in RMS norm, which is one fused operator
there. A test compares the bytes kept for backward with those of fake CUDA tensors, byte by byte,
for every contestant.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
# Under autocast: inputs are cast to float32; the result is asked for in float32; inputs are cast
# to the lower precision. Rules that CPU and CUDA share are not listed.
CASTS = (
    "acos", "asin", "cdist", "cosh", "cosine_similarity", "dist", "erfinv", "exp", "expm1",
    "group_norm", "layer_norm", "log", "log10", "log1p", "log2", "logsumexp", "native_layer_norm",
    "pdist", "pow.Scalar", "pow.Tensor_Scalar", "pow.Tensor_Tensor", "reciprocal", "renorm",
    "rms_norm", "rsqrt", "sinh", "softplus", "tan", "upsample_bicubic2d", "upsample_bilinear2d",
    "upsample_linear1d", "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d",
    "upsample_trilinear3d",
)  # fmt: skip
SETS_DTYPE = (
    "cumprod", "cumsum", "linalg_matrix_norm", "linalg_vector_norm", "log_softmax.int",
    "softmax.int", "sum", "sum.dim_IntList",
)  # fmt: skip
LOWERS = ("addmv", "addr", "mv", "_scaled_dot_product_flash_attention")


@contextmanager
def cuda_rules() -> Iterator[None]:
    """While open, fake CPU tensors behave like CUDA's under autograd and autocast."""
    library = torch.library.Library("aten", "IMPL")
    autocast = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU)
    try:
        for policy, names in ((_cast_to(torch.float32), CASTS), (_lowered, LOWERS)):
            for name in names:
                library.impl(name, _under(autocast, policy, _overload(name)), "AutocastCPU")
        for name in SETS_DTYPE:
            library.impl(name, _asking_for_float32(autocast, _overload(name)), "AutocastCPU")
        library.impl("rms_norm", _fused_rms_norm, "AutogradCPU")
        yield
    finally:
        library._destroy()


def _overload(name: str) -> Callable:
    packet, _, overload = name.partition(".")
    return getattr(getattr(aten, packet), overload or "default")


def _cast_to(dtype: torch.dtype) -> Callable:
    def cast(x: Any) -> Any:
        eligible = isinstance(x, Tensor) and x.is_floating_point() and x.dtype != torch.float64
        return x.to(dtype) if eligible else x

    return cast


def _lowered(x: Any) -> Any:
    return _cast_to(torch.get_autocast_dtype("cpu"))(x)


def _under(autocast, cast: Callable, op: Callable) -> Callable:
    def run(*args, **kwargs):
        with torch._C._ExcludeDispatchKeyGuard(autocast):
            return op(*map(cast, args), **{k: cast(v) for k, v in kwargs.items()})

    return run


def _asking_for_float32(autocast, op: Any) -> Callable:
    names = [a.name for a in op._schema.arguments]

    def run(*args, **kwargs):
        given = dict(zip(names, args, strict=False)) | kwargs
        x = args[0]
        if given.get("dtype") is None and x.is_floating_point() and x.dtype != torch.float64:
            given["dtype"] = torch.float32
        with torch._C._ExcludeDispatchKeyGuard(autocast):
            return op(**given)

    return run


class _FusedRMSNorm(torch.autograd.Function):
    """Keeps what CUDA's fused RMS norm keeps: x, its weight and one number per row."""

    @staticmethod
    def forward(ctx, x: Tensor, normalized_shape: list[int], weight: Tensor | None) -> Tensor:
        rows = x.shape[: x.ndim - len(normalized_shape)]
        inverse = x.new_empty(*rows, *[1] * len(normalized_shape), dtype=torch.float32)
        ctx.save_for_backward(x, weight, inverse)
        return torch.empty_like(x)

    @staticmethod
    def backward(ctx, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, _ = ctx.saved_tensors
        return torch.empty_like(x), None, None if weight is None else torch.empty_like(weight)


def _fused_rms_norm(x, normalized_shape, weight=None, eps=None):
    return _FusedRMSNorm.apply(x, normalized_shape, weight)
