"""S6, the selective scan of Mamba (arXiv 2312.00752), one scanner per site.

delta = dt(x_dt(u)),  B = x_B(u),  C = x_C(u)          the gates: they depend on the input
h_t   = exp(delta_t A) h_{t-1} + delta_t B_t u_t       a state of n values a channel
y_t   = C_t h_t + D u_t
"""

from math import log

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pks4.macs import linear_macs, scan_macs
from pks4.mixers.base import Mixer, Priors, Sizes, Stream
from pks4.scan import inverse_softplus, scan_sites
from pks4.scan.reference import advance


class S6(Mixer):
    """One direction of time: projections to delta, B, C, their modulation, and the scan."""

    reverses = True

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        d, n = sizes.d, sizes.state
        self.rank, self.reverse = sizes.rank, sizes.reverse
        self.scan_backend = sizes.scan_backend
        self.x_proj = nn.Linear(d, self.rank + 2 * n, bias=False)
        self.dt_proj = nn.Linear(self.rank, d, bias=False)
        self.dt_bias = nn.Parameter(_inverse_softplus_of_log_uniform(d))
        self.A_log = nn.Parameter(torch.arange(1.0, n + 1).log().repeat(d, 1))
        self.D = nn.Parameter(torch.zeros(d))  # the residual connection already carries the frame
        self.take_priors({"delta": d, "B": n, "C": n})

    def mix(self, u: Stream, priors: Priors) -> Stream:
        """Scan u (b, t, s, d) under priors (b, t, s, p), in this scanner's direction."""
        return scan_sites(
            *self._drive(u, priors),
            self.D,
            self.dt_bias,
            reverse=self.reverse,
            backend=self.scan_backend,
        )

    def initial_state(self, b: int, s: int) -> Float[Tensor, "b s d n"]:
        """The state before the first frame, float32 at least."""
        return self._zeros(b, s, self.d, self.sizes.state)

    def mix_frame(
        self,
        u: Float[Tensor, "b s d"],
        priors: Float[Tensor, "b s p"] | None,
        state: Float[Tensor, "b s d n"],
    ) -> tuple[Float[Tensor, "b s d"], Float[Tensor, "b s d n"]]:
        """Scan one frame u (b, s, d) from the state (b, s, d, n): y (b, s, d) and the new state.

        Computes in the state's precision.
        """
        x, delta, A, B, C = (v.to(state.dtype) for v in self._drive(u, priors))
        step = F.softplus(delta + self.dt_bias)
        state, y = advance(state, x, step, A, B, C)
        return (y + self.D * x).to(u.dtype), state

    def _drive(self, u: Tensor, priors: Tensor | None) -> tuple[Tensor, ...]:
        """The scan's arguments u, delta, A, B, C after modulation; all but A have u's dtype."""
        n = self.sizes.state
        low, B, C = self.x_proj(u).split([self.rank, n, n], -1)
        delta = self.modulated("delta", self.dt_proj(low), priors)
        B, C = self.modulated("B", B, priors), self.modulated("C", C, priors)
        A = -torch.exp(self.A_log)
        return u, delta.to(u.dtype), A, B.to(u.dtype), C.to(u.dtype)

    def macs(self, b: int, t: int, s: int) -> int:
        """Closed form of the forward MACs (rule macs/v1)."""
        steps, n = b * t * s, self.sizes.state
        total = linear_macs(steps, self.d, self.rank + 2 * n)
        total += linear_macs(steps, self.rank, self.d) + scan_macs(steps, self.d, n)
        return total + self.prior_macs(steps)


def _inverse_softplus_of_log_uniform(d: int, low: float = 0.01, high: float = 0.3) -> Tensor:
    """Biases whose softplus, the first delta, is log-uniform in [low, high].

    Mamba starts in [0.001, 0.1], for sequences of thousands of steps; a clip has a few frames.
    """
    return inverse_softplus(torch.exp(torch.empty(d).uniform_(log(low), log(high))))
