"""The selective scan as a plain loop: the oracle that every other backend must match.

Equation (Mamba, arXiv 2312.00752, with the zero-order hold on A and Euler's rule on B):

    h_t = exp(delta_t A) * h_{t-1} + (delta_t u_t) B_t        h in (d, n), h_{-1} = 0
    y_t = h_t C_t + D u_t

Every site runs its own scanner; nothing passes from one site to another. All of it is plain
autograd, so it keeps every state for backward: right, slow and large.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def scan_sites_reference(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor
) -> Tensor:
    """Scan along time at every site; shapes as in `pks4.scan.scan_sites`, same result."""
    dtype = torch.promote_types(u.dtype, torch.float32)
    step = F.softplus(delta.to(dtype) + delta_bias.to(dtype))  # (b, t, s, d)
    x, A, B, C = u.to(dtype), A.to(dtype), B.to(dtype), C.to(dtype)
    h = x.new_zeros(*x[:, 0].shape, A.shape[1])  # (b, s, d, n)
    outputs = []
    for x_t, step_t, B_t, C_t in zip(
        x.unbind(1), step.unbind(1), B.unbind(1), C.unbind(1), strict=True
    ):
        decay = torch.exp(step_t[..., None] * A)  # (b, s, d, n)
        h = decay * h + (step_t * x_t)[..., None] * B_t[..., None, :]
        outputs.append((h * C_t[..., None, :]).sum(-1))  # (b, s, d)
    return (torch.stack(outputs, 1) + D.to(dtype) * x).to(u.dtype)
