"""Local correlation of two feature maps, as a custom operator that keeps only its inputs.

Each site of `a` is compared with the sites of `b` in a window around it:

    volume[p, y, x, k] = sum_d a[p, y, x, d] * b[p, y + dy_k, x + dx_k, d]

with offsets (dy_k, dx_k) in row-major order, dilation * (-radius … radius). Offsets off the grid
give 0; `on_grid` marks the others. Plain autograd would keep the products for backward, `offsets`
times the size of the features; this operator keeps only a and b.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from pks4.scan.custom_op import without_autocast

Maps = Float[Tensor, "p h w d"]


def window_offsets(radius: int, dilation: int = 1) -> list[tuple[int, int]]:
    """The (2 radius + 1)^2 offsets (dy, dx) of a square window, row-major."""
    steps = [dilation * k for k in range(-radius, radius + 1)]
    return [(dy, dx) for dy in steps for dx in steps]


def on_grid(
    h: int, w: int, radius: int, dilation: int = 1, device=None
) -> Bool[Tensor, "{h} {w} k"]:
    """Whether each offset of each site falls on the grid: bool (h, w, offsets)."""
    offsets = torch.tensor(window_offsets(radius, dilation), device=device)  # (k, 2)
    y = torch.arange(h, device=device)[:, None, None] + offsets[:, 0]
    x = torch.arange(w, device=device)[None, :, None] + offsets[:, 1]
    return (y >= 0) & (y < h) & (x >= 0) & (x < w)


def local_correlation_reference(
    a: Maps, b: Maps, radius: int, dilation: int = 1
) -> Float[Tensor, "p h w k"]:
    """The same volume in plain autograd, from all windows at once; shapes as below."""
    p, h, w, d = a.shape
    pad, side = radius * dilation, 2 * radius + 1
    windows = F.unfold(b.permute(0, 3, 1, 2), side, dilation=dilation, padding=pad)
    windows = windows.view(p, d, side * side, h, w)
    return torch.einsum("phwd,pdkhw->phwk", a, windows)


def _shifted(padded: Tensor, h: int, w: int, pad: int, dy: int, dx: int) -> Tensor:
    return padded[:, pad + dy : pad + dy + h, pad + dx : pad + dx + w]


@torch.library.custom_op("pks4::local_correlation", mutates_args=())
def local_correlation(a: Tensor, b: Tensor, radius: int, dilation: int) -> Tensor:
    """Compare a with a window of b: (p, h, w, d) twice -> (p, h, w, offsets)."""
    _, h, w, _ = a.shape
    pad = radius * dilation
    with without_autocast(a):
        padded = F.pad(b, (0, 0, pad, pad, pad, pad))
        parts = [
            (a * _shifted(padded, h, w, pad, dy, dx)).sum(-1)
            for dy, dx in window_offsets(radius, dilation)
        ]
        return torch.stack(parts, -1)


@torch.library.custom_op("pks4::local_correlation_backward", mutates_args=())
def local_correlation_backward(
    g: Tensor, a: Tensor, b: Tensor, radius: int, dilation: int
) -> tuple[Tensor, Tensor]:
    """Gradients of a and b from the gradient g of the volume, (p, h, w, offsets)."""
    _, h, w, _ = a.shape
    pad = radius * dilation
    padded = F.pad(b, (0, 0, pad, pad, pad, pad))
    g_a, g_padded = torch.zeros_like(a), torch.zeros_like(padded)
    for k, (dy, dx) in enumerate(window_offsets(radius, dilation)):
        g_k = g[..., k : k + 1]
        g_a.addcmul_(g_k, _shifted(padded, h, w, pad, dy, dx))
        _shifted(g_padded, h, w, pad, dy, dx).addcmul_(g_k, a)
    return g_a, g_padded[:, pad : pad + h, pad : pad + w].contiguous()


@local_correlation.register_fake
def _(a, b, radius, dilation):
    return a.new_empty(*a.shape[:3], (2 * radius + 1) ** 2)


@local_correlation_backward.register_fake
def _(g, a, b, radius, dilation):
    return torch.empty_like(a), torch.empty_like(b, memory_format=torch.contiguous_format)


def _keep_inputs(ctx, inputs, output):
    a, b, ctx.radius, ctx.dilation = inputs
    ctx.save_for_backward(a, b)


def _backward(ctx, g):
    a, b = ctx.saved_tensors
    g_a, g_b = local_correlation_backward(g, a, b, ctx.radius, ctx.dilation)
    return g_a, g_b, None, None


local_correlation.register_autograd(_backward, setup_context=_keep_inputs)
