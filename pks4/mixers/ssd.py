"""SSD, the state-space dual of Mamba-2 (arXiv 2405.21060), in its quadratic form.

    delta = softplus(W_delta u + bias)                     one step size a head
    h_t   = exp(delta_t A) h_{t-1} + delta_t B_t x_t^T     A one number a head; B, C shared by heads
    y_t   = h_t^T C_t + D x_t

A clip has few frames, so all of them are one chunk: y = (L * C B^T) (delta x), with L_ij the decay
from frame j to frame i. Without the source's short convolution: no mixer of this slot has one.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pks4.macs import linear_macs
from pks4.mixers.base import Mixer, Sizes, Stream
from pks4.scan import inverse_softplus
from pks4.scan.custom_op import working_dtype


def start_of_decay(heads: int) -> tuple[nn.Parameter, nn.Parameter]:
    """The bias of the step size and log(-A) of each head; both (heads,), A as in the source."""
    step = torch.empty(heads).uniform_(0.01, 0.3)
    return (
        nn.Parameter(inverse_softplus(step)),
        nn.Parameter(torch.empty(heads).uniform_(1, 16).log()),
    )


def decays(log_decay: Tensor) -> Tensor:
    """Decay from frame j to frame i, 0 for later frames j: (..., t) -> (..., t, t)."""
    total = log_decay.cumsum(-1)
    t = log_decay.shape[-1]
    later = torch.ones(t, t, dtype=torch.bool, device=log_decay.device).triu(1)
    return (total[..., :, None] - total[..., None, :]).masked_fill(later, float("-inf")).exp()


class SSD(Mixer):
    """Heads that share the input and output matrices of one state-space model."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        sizes.head_width()
        n, heads = sizes.state, sizes.heads
        self.x_proj = nn.Linear(sizes.d, heads + 2 * n, bias=False)
        self.dt_bias, self.A_log = start_of_decay(heads)
        self.D = nn.Parameter(torch.zeros(heads))  # the residual connection carries the frame
        self.take_priors({"delta": heads, "B": n, "C": n})

    def mix(self, u: Stream, priors: Tensor | None) -> Stream:
        """All frames as one chunk."""
        x, delta, B, C = (v.transpose(1, 2) for v in self._drive(u, priors))  # (b, s, t, …)
        L = decays((-self.A_log.exp() * delta).transpose(-1, -2))  # (b, s, heads, t, t)
        scores = (C @ B.transpose(-1, -2)).unsqueeze(2)  # (b, s, 1, t, t)
        heads = x.unflatten(-1, (self.sizes.heads, -1)).transpose(2, 3)  # (b, s, heads, t, width)
        delta = delta.transpose(-1, -2)[..., None]
        y = (L * scores) @ (delta * heads) + self.D[:, None, None] * heads
        return y.transpose(2, 3).flatten(-2).transpose(1, 2).to(u.dtype)

    def _drive(self, u: Tensor, priors: Tensor | None) -> tuple[Tensor, ...]:
        """The stream, delta, B and C after modulation, (..., channels), float32 at least."""
        n = self.sizes.state
        delta, B, C = self.x_proj(u).split([self.sizes.heads, n, n], -1)
        gates = {"delta": delta, "B": B, "C": C}
        dtype = working_dtype(u)
        delta, B, C = (self.modulated(k, v, priors).to(dtype) for k, v in gates.items())
        return u.to(dtype), F.softplus(delta + self.dt_bias), B, C

    def initial_state(self, b: int, s: int) -> Tensor:
        """The state (b, s, heads, width, n) before the first frame."""
        return self._zeros(b, s, self.sizes.heads, self.sizes.head_width(), self.sizes.state)

    def mix_frame(self, u: Tensor, priors: Tensor | None, state: Tensor) -> tuple[Tensor, Tensor]:
        """One frame u (b, s, d) from the state (b, s, heads, width, n)."""
        x, delta, B, C = self._drive(u, priors)
        heads = x.unflatten(-1, (self.sizes.heads, -1))  # (b, s, heads, width)
        decay = (-self.A_log.exp() * delta).exp()[..., None, None]
        written = (delta[..., None] * heads)[..., None] * B[..., None, None, :]
        state = decay * state + written
        y = (state @ C[..., None, :, None]).squeeze(-1) + self.D[:, None] * heads
        return y.flatten(-2).to(u.dtype), state

    def macs(self, b: int, t: int, s: int) -> int:
        """Closed form: the projection, C B^T, and the product with the stream."""
        steps, n = b * t * s, self.sizes.state
        products = b * s * t * t * (n + self.d)
        projection = linear_macs(steps, self.d, self.sizes.heads + 2 * n)
        return projection + products + self.prior_macs(steps)
