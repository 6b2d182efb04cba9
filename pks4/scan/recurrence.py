"""The linear recurrence h_t = a_t h_{t-1} + x_t along time, as an operator that keeps a and h.

Plain autograd would keep the product of each step too. The counting rule macs/v1 takes one
multiply-add for each value and step forward, and two backward.
"""

import torch
from jaxtyping import Float
from torch import Tensor

Steps = Float[Tensor, "b t s d"]


def linear_recurrence_reference(a: Steps, x: Steps) -> Steps:
    """The same states in plain autograd, step by step; shapes as below."""
    h, states = torch.zeros_like(x[:, 0]), []
    for a_t, x_t in zip(a.unbind(1), x.unbind(1), strict=True):
        h = a_t * h + x_t
        states.append(h)
    return torch.stack(states, 1)


@torch.library.custom_op("pks4::linear_recurrence", mutates_args=())
def linear_recurrence(a: Tensor, x: Tensor) -> Tensor:
    """All states h from decays a and inputs x, all (b, t, s, d); the state before them is 0."""
    h = torch.empty_like(x, memory_format=torch.contiguous_format)
    h[:, 0] = x[:, 0]
    for i in range(1, x.shape[1]):
        torch.addcmul(x[:, i], a[:, i], h[:, i - 1], out=h[:, i])
    return h


@torch.library.custom_op("pks4::linear_recurrence_backward", mutates_args=())
def linear_recurrence_backward(g: Tensor, a: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of a and x from the gradient g of the states; all (b, t, s, d)."""
    g_x = torch.empty_like(g, memory_format=torch.contiguous_format)
    g_a = torch.zeros_like(a, memory_format=torch.contiguous_format)
    last = g.shape[1] - 1
    g_x[:, last] = g[:, last]
    for i in range(last, 0, -1):
        torch.mul(g_x[:, i], h[:, i - 1], out=g_a[:, i])
        torch.addcmul(g[:, i - 1], a[:, i], g_x[:, i], out=g_x[:, i - 1])
    return g_a, g_x


@linear_recurrence.register_fake
def _(a, x):
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@linear_recurrence_backward.register_fake
def _(g, a, h):
    shape = torch.contiguous_format
    return torch.empty_like(a, memory_format=shape), torch.empty_like(g, memory_format=shape)


def _keep(ctx, inputs, output):
    ctx.save_for_backward(inputs[0], output)


def _backward(ctx, g):
    return linear_recurrence_backward(g, *ctx.saved_tensors)


linear_recurrence.register_autograd(_backward, setup_context=_keep)
