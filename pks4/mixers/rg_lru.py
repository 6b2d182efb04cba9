"""RG-LRU, the gated linear recurrence of Griffin (arXiv 2402.19427) and TRecViT (2412.14294).

    r = sigmoid(W_r u),  i = sigmoid(W_i u)                the gates, block-diagonal by heads
    a_t = exp(-8 r_t softplus(L))                          one decay a channel and step
    h_t = a_t h_{t-1} + sqrt(1 - a_t^2) i_t u_t            the result is the state itself

The source starts a^8 in [0.9, 0.999], for sequences of thousands of steps. Here the decay at a half
open gate starts in [0.5, 0.99], since a clip has a few frames.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pks4.macs import linear_macs
from pks4.mixers.base import Mixer, Sizes, Stream
from pks4.scan import inverse_softplus
from pks4.scan.custom_op import working_dtype
from pks4.scan.recurrence import linear_recurrence

SHARPNESS = 8.0  # c of the source


class RGLRU(Mixer):
    """A linear recurrence with one value of state a channel."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        d, width = sizes.d, sizes.head_width()
        bound = width**-0.5
        blocks = torch.empty(2, sizes.heads, width, width).uniform_(-bound, bound)
        self.gate_weight = nn.Parameter(blocks)
        self.gate_bias = nn.Parameter(torch.zeros(2, d))
        decay = torch.empty(d).uniform_(0.5, 0.99)
        self.L = nn.Parameter(inverse_softplus(-decay.log() / (SHARPNESS * 0.5)))
        self.take_priors({"recurrence": d, "input_gate": d})

    def mix(self, u: Stream, priors: Tensor | None) -> Stream:
        """States of the recurrence, from the first frame to the last."""
        return linear_recurrence(*self._drive(u, priors)).to(u.dtype)

    def _drive(self, u: Tensor, priors: Tensor | None) -> tuple[Tensor, Tensor]:
        """Decays and inputs of the recurrence, (..., d), float32 at least."""
        heads = u.unflatten(-1, (self.sizes.heads, -1)).unsqueeze(-2)  # (..., heads, 1, width)
        r, i = (
            (heads @ weight).flatten(-3) + bias
            for weight, bias in zip(self.gate_weight, self.gate_bias, strict=True)
        )
        dtype = working_dtype(u)
        r = self.modulated("recurrence", r, priors).to(dtype).sigmoid()
        i = self.modulated("input_gate", i, priors).to(dtype).sigmoid()
        log_a = -SHARPNESS * r * F.softplus(self.L)
        return log_a.exp(), (-torch.expm1(2 * log_a)).sqrt() * i * u.to(dtype)

    def initial_state(self, b: int, s: int) -> Tensor:
        """The state (b, s, d) before the first frame."""
        return self._zeros(b, s, self.d)

    def mix_frame(self, u: Tensor, priors: Tensor | None, state: Tensor) -> tuple[Tensor, Tensor]:
        """One frame u (b, s, d) from the state (b, s, d)."""
        a, x = self._drive(u, priors)
        state = a * state + x
        return state.to(u.dtype), state

    def macs(self, b: int, t: int, s: int) -> int:
        """Closed form: two block-diagonal gates, and a multiply-add a value of state and step."""
        steps = b * t * s
        gates = 2 * linear_macs(steps, self.d, self.sizes.head_width())
        return gates + steps * self.d + self.prior_macs(steps)
