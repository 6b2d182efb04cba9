"""One declared attention kernel for every contestant, on every device, meta included.

By default `F.scaled_dot_product_attention` takes another kernel on meta tensors ("math", which
keeps the whole score matrix) than on a CPU or a GPU, so a simulated number would describe another
program. Here the function is replaced while a measure runs. A function mode is not enough:
activation checkpointing recomputes with modes off.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pks4.errors import unknown_name

aten = torch.ops.aten


class UncountedAttention(ValueError):
    """A call of attention whose memory and products are not known here."""


def _flash_cpu(q: Tensor, k: Tensor, v: Tensor, scale: float | None, causal: bool) -> Tensor:
    return aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal, scale=scale)[0]


def _efficient(q: Tensor, k: Tensor, v: Tensor, scale: float | None, causal: bool) -> Tensor:
    return aten._scaled_dot_product_efficient_attention(
        q, k, v, None, torch.is_grad_enabled(), 0.0, causal, scale=scale
    )[0]


def _flash(q: Tensor, k: Tensor, v: Tensor, scale: float | None, causal: bool) -> Tensor:
    return aten._scaled_dot_product_flash_attention(q, k, v, 0.0, causal, False, scale=scale)[0]


def _math(q: Tensor, k: Tensor, v: Tensor, scale: float | None, causal: bool) -> Tensor:
    if causal:
        raise UncountedAttention("causal attention is not counted with kernel 'math'")
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return torch.softmax((q * scale) @ k.transpose(-2, -1), -1) @ v


# flash_cpu: what a CPU runs in float32; efficient: CUDA in float32; flash: CUDA in half precision;
# math: the score matrix materialised.
KERNELS = {"flash_cpu": _flash_cpu, "efficient": _efficient, "flash": _flash, "math": _math}


@dataclass
class Calls:
    """Which kernel was declared and how often it ran."""

    kernel: str
    count: int = 0

    def evidence(self) -> str:
        """The kernel's name, or that no fused attention was called."""
        return self.kernel if self.count else "no fused attention"


@contextmanager
def declared_attention(kernel: str) -> Iterator[Calls]:
    """Run every fused attention with this kernel.

    Raises ValueError for an unknown kernel. The call raises UncountedAttention for a mask tensor or
    dropout, which these kernels do not all support. Causal attention (`is_causal`) keeps the same
    tensors, and counts the products of all pairs: how many a kernel skips depends on its blocks.
    """
    if kernel not in KERNELS:
        raise ValueError(unknown_name("attention kernel", kernel, KERNELS))
    calls, original = Calls(kernel), F.scaled_dot_product_attention

    def attention(
        q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
    ):
        if attn_mask is not None or dropout_p or enable_gqa:
            raise UncountedAttention(
                "attention with a mask tensor, dropout or grouped heads is not counted; give "
                "is_causal=True instead of a causal mask, and build with dropout 0"
            )
        calls.count += 1
        return KERNELS[kernel](q, k, v, scale, bool(is_causal))

    F.scaled_dot_product_attention = attention
    try:
        yield calls
    finally:
        F.scaled_dot_product_attention = original
