"""Attention along time (arXiv 1706.03762), separately at each site, over all frames or the past.

    q, k, v = W u                                          heads; q and k turned by their frame
    y = softmax(q k^T / sqrt(width)) v

Rotary positions (arXiv 2104.09864) distinguish the frames, so that any number of them fits.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pks4.macs import attention_macs, linear_macs
from pks4.mixers.base import Mixer, Sizes, Stream
from pks4.scan.custom_op import working_dtype

BASE = 100.0  # of the rotary angles; the source has 10,000 for thousands of steps


class Cache(NamedTuple):
    """Keys, turned, and values of all frames so far: (b, s, heads, frames, width) each."""

    k: Tensor
    v: Tensor


class Attention(Mixer):
    """Attention over all frames; it has no gates."""

    causal = False

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        if sizes.head_width() % 2:
            raise ValueError(
                f"rotary positions need heads of even width, got {sizes.head_width()} "
                f"(width {sizes.d}, {sizes.heads} heads); change heads"
            )
        self.qkv = nn.Linear(sizes.d, 3 * sizes.d, bias=False)
        self.take_priors({})

    def mix(self, u: Stream, priors: Tensor | None) -> Stream:
        """All frames at once."""
        q, k, v = self._heads(u.transpose(1, 2))  # (b, s, heads, t, width)
        q, k = turned(q, 0), turned(k, 0)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return y.transpose(2, 3).flatten(-2).transpose(1, 2)

    def _heads(self, u: Tensor) -> tuple[Tensor, ...]:
        """q, k, v (b, s, heads, t, width) of u (b, s, t, d)."""
        parts = self.qkv(u).chunk(3, -1)
        return tuple(x.unflatten(-1, (self.sizes.heads, -1)).transpose(2, 3) for x in parts)

    def macs(self, b: int, t: int, s: int) -> int:
        """Closed form: q, k, v and two products of all frames, masked ones too."""
        steps = b * t * s
        total = linear_macs(steps, self.d, 3 * self.d) + attention_macs(b * s, t, t, self.d)
        return total + self.prior_macs(steps)


class CausalAttention(Attention):
    """Attention over the frames so far; it streams, with a cache that grows by each frame."""

    causal = True

    def initial_state(self, b: int, s: int) -> Cache:
        """An empty cache."""
        empty = self._zeros(b, s, self.sizes.heads, 0, self.sizes.head_width())
        return Cache(empty, empty)

    def mix_frame(self, u: Tensor, priors: Tensor | None, state: Cache) -> tuple[Tensor, Cache]:
        """One frame u (b, s, d) after those of the cache."""
        q, k, v = (x.to(state.k.dtype) for x in self._heads(u[:, :, None]))
        at = state.k.shape[-2]
        k, v = torch.cat([state.k, turned(k, at)], -2), torch.cat([state.v, v], -2)
        y = F.scaled_dot_product_attention(turned(q, at), k, v)
        return y.flatten(-3).to(u.dtype), Cache(k, v)


def turned(x: Tensor, first: int) -> Tensor:
    """Rotary positions: each pair of channels of x (…, t, width) turned by the frame's angle."""
    t, width = x.shape[-2:]
    dtype = working_dtype(x)
    exponents = torch.arange(0, width, 2, dtype=dtype, device=x.device) / width
    frames = torch.arange(first, first + t, dtype=dtype, device=x.device)
    angles = frames[:, None] / BASE**exponents  # (t, width / 2)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    one, other = x.chunk(2, -1)
    return torch.cat([one * cos - other * sin, one * sin + other * cos], -1)
