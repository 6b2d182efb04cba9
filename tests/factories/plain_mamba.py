"""A plain reading of Mamba: sequence by sequence, step by step, in float64."""

import torch
import torch.nn.functional as F


def plain_scan(u, dt, A, B, C, D, residual, masked):
    """One sequence forwards: u and dt (l, e), dt after softplus, A (e, n), B and C (l, n)."""
    h, rows = torch.zeros_like(A) + (u[0][:, None] if residual else 0), []
    for i in range(len(u)):
        own = dt[i][:, None] * u[i][:, None] * B[i]
        h = torch.exp(dt[i][:, None] * A) * h + own
        read = (h - own if masked else h) @ C[i]
        rows.append(D * u[i] + (0 if masked and i == 0 else read))
    return torch.stack(rows)


def plain_mixer(weights, x, residual):
    """The mixer on one sequence x (l, d); `residual` is VideoMambaPro's."""
    u, z = (x @ weights["in_proj.weight"].T).chunk(2, -1)
    y = plain_way(weights, u, "", residual, False) * F.silu(z)
    back = plain_way(weights, u.flip(0), "_b", residual, residual) * F.silu(z.flip(0))
    return (y + back.flip(0)) @ weights["out_proj.weight"].T


def plain_way(weights, u, end, residual, masked):
    """Convolution and scan of u (l, e), in the order in which it lies, with one way's weights."""
    kernel = weights[f"conv1d{end}.weight"][:, 0]  # (e, k)
    past = torch.cat([u.new_zeros(kernel.shape[1] - 1, u.shape[1]), u])
    c = sum(past[k : k + len(u)] * kernel[:, k] for k in range(kernel.shape[1]))
    c = F.silu(c + weights[f"conv1d{end}.bias"])
    A, to_step = -weights[f"A{end}_log"].exp(), weights[f"dt_proj{end}.weight"]
    sizes = (to_step.shape[1], A.shape[1], A.shape[1])
    low, B, C = (c @ weights[f"x_proj{end}.weight"].T).split(sizes, -1)
    dt = F.softplus(low @ to_step.T + weights[f"dt_proj{end}.bias"])
    return plain_scan(c, dt, A, B, C, weights[f"D{end}"], residual, masked)
