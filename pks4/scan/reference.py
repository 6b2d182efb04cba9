"""The selective scan as a plain loop: the reference that every other backend must match.

Equation (Mamba, arXiv 2312.00752, with the zero-order hold on A and Euler's rule on B):

    h_t = exp(delta_t A) * h_{t-1} + (delta_t u_t) B_t        h in (d, n), h_{-1} = 0
    y_t = h_t C_t + D u_t

Every site has a scanner; sites exchange nothing. Plain autograd keeps every state for
backward, so this backend is exact, slow and large.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from pks4.scan.custom_op import working_dtype


def inverse_softplus(step: Tensor) -> Tensor:
    """The value whose softplus is `step` (positive, any shape)."""
    return step + torch.log(-torch.expm1(-step))


def advance(
    h: Tensor, u: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor
) -> tuple[Tensor, Tensor]:
    """One step of the equation without D: the new state h (b, s, d, n), and C h (b, s, d).

    u and step (b, s, d), B and C (b, s, n), all in the state's precision; step is after softplus.
    """
    h = torch.exp(step[..., None] * A) * h + (step * u)[..., None] * B[..., None, :]
    return h, (h * C[..., None, :]).sum(-1)


def scan_sites_reference(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    softplus: bool = True,
    reverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """Scan along time at every site: y (b, t, s, d) and the last state (b, s, d, n).

    Shapes as in `pks4.scan.scan_sites`. With `reverse` the scan runs from the last frame to the
    first, and the last state is the one at the first frame.
    """
    dtype = working_dtype(u)
    x, step, A, B, C = (v.to(dtype) for v in (u, delta, A, B, C))
    if delta_bias is not None:
        step = step + delta_bias.to(dtype)
    if softplus:
        step = F.softplus(step)  # (b, t, s, d)
    h = x.new_zeros(*x[:, 0].shape, A.shape[1])  # (b, s, d, n)
    outputs = [h] * x.shape[1]
    for i in reversed(range(x.shape[1])) if reverse else range(x.shape[1]):
        h, outputs[i] = advance(h, x[:, i], step[:, i], A, B[:, i], C[:, i])
    y = torch.stack(outputs, 1)
    return (y if D is None else y + D.to(dtype) * x).to(u.dtype), h
