"""Gated DeltaNet (arXiv 2412.06464): a matrix of associations that is decayed and corrected.

    q, k, v = W u, with q and k of length 1                 one matrix S a head
    alpha = exp(-exp(A_log) softplus(W_a u + bias)),  beta = sigmoid(W_b u)         the gates
    S_t = alpha_t S_{t-1} (I - beta_t k_t k_t^T) + beta_t v_t k_t^T
    y_t = S_t q_t / sqrt(width)

A clip has few frames, so all of them are one chunk (the WY form of the source). With decays L_ij
from frame j to i, (I + M) U = beta V with M_ij = beta_i L_ij k_i.k_j below the diagonal, and
y = (L * Q K^T) U. Without the source's short convolution and norm: the slot has a norm and a gate.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pks4.macs import linear_macs, triangular_solve_macs
from pks4.mixers.base import Mixer, Sizes, Stream
from pks4.mixers.ssd import decays, start_of_decay
from pks4.scan.custom_op import working_dtype


class GatedDeltaNet(Mixer):
    """Heads of a gated delta rule."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        sizes.head_width()
        d, heads = sizes.d, sizes.heads
        self.qkv = nn.Linear(d, 3 * d, bias=False)
        self.gates = nn.Linear(d, 2 * heads, bias=False)
        self.dt_bias, self.A_log = start_of_decay(heads)
        self.take_priors({"alpha": heads, "beta": heads})

    def mix(self, u: Stream, priors: Tensor | None) -> Stream:
        """All frames as one chunk."""
        q, k, v, log_alpha, beta = self._drive(u.transpose(1, 2), _by_site(priors))
        q, k, v = (x.transpose(2, 3) for x in (q, k, v))  # (b, s, heads, t, width)
        beta = beta.transpose(2, 3)[..., None]
        L = decays(log_alpha.transpose(2, 3))  # (b, s, heads, t, t)
        M = beta * (L * (k @ k.transpose(-1, -2))).tril(-1)
        corrected = torch.linalg.solve_triangular(
            M, beta * v, upper=False, unitriangular=True
        )  # the diagonal is taken as 1
        y = (L * (q @ k.transpose(-1, -2))) @ corrected
        return y.transpose(2, 3).flatten(-2).transpose(1, 2).to(u.dtype)

    def _drive(self, u: Tensor, priors: Tensor | None) -> tuple[Tensor, ...]:
        """q, k, v (..., heads, width), log alpha and beta (..., heads), float32 at least."""
        dtype = working_dtype(u)
        q, k, v = (
            x.to(dtype).unflatten(-1, (self.sizes.heads, -1)) for x in self.qkv(u).chunk(3, -1)
        )
        a, b = self.gates(u).chunk(2, -1)
        a = self.modulated("alpha", a, priors).to(dtype)
        b = self.modulated("beta", b, priors).to(dtype)
        log_alpha = -self.A_log.exp() * F.softplus(a + self.dt_bias)
        q = F.normalize(q, dim=-1) * q.shape[-1] ** -0.5
        return q, F.normalize(k, dim=-1), v, log_alpha, b.sigmoid()

    def initial_state(self, b: int, s: int) -> Tensor:
        """The state (b, s, heads, width, width) before the first frame."""
        width = self.sizes.head_width()
        return self._zeros(b, s, self.sizes.heads, width, width)

    def mix_frame(self, u: Tensor, priors: Tensor | None, state: Tensor) -> tuple[Tensor, Tensor]:
        """One frame u (b, s, d) from the state (b, s, heads, width, width)."""
        q, k, v, log_alpha, beta = self._drive(u, priors)
        state = log_alpha.exp()[..., None, None] * state
        recalled = (state @ k[..., None]).squeeze(-1)
        state = state + (beta[..., None] * (v - recalled))[..., None] * k[..., None, :]
        return (state @ q[..., None]).squeeze(-1).flatten(-2).to(u.dtype), state

    def macs(self, b: int, t: int, s: int) -> int:
        """Closed form: projections, K K^T, Q K^T, the product with U, the triangular solve."""
        steps = b * t * s
        total = linear_macs(steps, self.d, 3 * self.d + 2 * self.sizes.heads)
        total += 3 * b * s * t * t * self.d + triangular_solve_macs(b * s, t, self.d)
        return total + self.prior_macs(steps)


def _by_site(priors: Tensor | None) -> Tensor | None:
    return None if priors is None else priors.transpose(1, 2)
