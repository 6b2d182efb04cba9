"""Depthwise convolution along time: each channel is a sum of its last `kernel` frames.

    y_t = sum_k w_k u_{t-k} + bias                         frames before the clip are 0

It is causal, as Mamba's short convolution is (arXiv 2312.00752), but without its activation: the
slot's gate follows.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pks4.mixers.base import Mixer, Sizes, Stream


class Convolution(Mixer):
    """A causal depthwise convolution; it has no gates."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.conv = nn.Conv1d(sizes.d, sizes.d, sizes.kernel, groups=sizes.d)
        self.take_priors({})

    def mix(self, u: Stream, priors: Tensor | None) -> Stream:
        """All frames at once."""
        b, t, s, d = u.shape
        lines = u.permute(0, 2, 3, 1).reshape(b * s, d, t)
        y = self.conv(F.pad(lines, (self.sizes.kernel - 1, 0)))
        return y.view(b, s, d, t).permute(0, 3, 1, 2)

    def initial_state(self, b: int, s: int) -> Tensor:
        """The last kernel - 1 frames, (b, s, d, kernel - 1), before the first one."""
        return self._zeros(b, s, self.d, self.sizes.kernel - 1)

    def mix_frame(self, u: Tensor, priors: Tensor | None, state: Tensor) -> tuple[Tensor, Tensor]:
        """One frame u (b, s, d) after those of the state."""
        seen = torch.cat([state, u[..., None].to(state.dtype)], -1)
        y = (seen * self.conv.weight[:, 0]).sum(-1) + self.conv.bias
        return y.to(u.dtype), seen[..., 1:]

    def macs(self, b: int, t: int, s: int) -> int:
        """Closed form: `kernel` multiply-adds a channel and step."""
        steps = b * t * s
        return steps * self.d * self.sizes.kernel + self.prior_macs(steps)
