"""The selective scan on CUDA by Triton kernels of this project, in the layout of the backbone.

Opt-in: it was never measured on a GPU, and it becomes no default before results/ records such a
run. The tests check its arithmetic on a CPU through Triton's interpreter (TRITON_INTERPRET=1, set
before the import of torch or triton; the backend then takes CPU tensors), and that the kernels
compile for an H100.

It is made for many short rows (clips x sites), as PKS4 has: a program goes step by step through a
row for one block of channels. With few long rows most of a GPU idles. It transposes nothing and
keeps only the inputs for backward; without atomics, gradients are the same in each run. It copies
tensors whose channels are not contiguous, or whose rows have no constant pitch in memory.

Backward allocates temporary tensors in float32. `PROGRAMS` bounds the number of programs, and a
block of channels has e = d' n' elements:

    states      programs x blocks x (chunk + t / chunk) x e; chunk is 16 steps, or sqrt(t) if more
    dB, dC      blocks x b t s n each
    dA          programs x d n

With d = 384 and n = 16 that is at most 19 MB of states at t = 8, 36 MB at 16, 42 MB at 64, and for
dB and dC together as much as a float32 u.
"""

from contextlib import AbstractContextManager, nullcontext
from math import isqrt

import torch
from torch import Tensor

from pks4.scan.custom_op import Flags, Inputs, empty_state, gradient_like, lines, scan_operator

ELEMENTS = 512  # of the state of a program: 4 for each of the 128 threads of its 4 warps
CHUNK = 16  # steps of a chunk, at least
PROGRAMS = 1024  # of backward, at most, over all blocks of channels


def _blocks(d: int, n: int) -> tuple[int, int, int]:
    """Channels and states of a program, both powers of two, and how many blocks d has."""
    n_block = _power_of_two(n)
    d_block = min(_power_of_two(d), max(1, ELEMENTS // n_block))
    return d_block, n_block, -(-d // d_block)


def _power_of_two(x: int) -> int:
    """The next power of two."""
    return 1 << max(0, x - 1).bit_length()


def scratch_shapes(b: int, t: int, s: int, d: int, n: int) -> dict[str, tuple[int, ...]]:
    """The temporary tensors of backward, all float32; see the module."""
    d_block, n_block, blocks = _blocks(d, n)
    programs = max(1, min(b * s, PROGRAMS // blocks))
    chunk = _chunk(t)
    return {
        "states": (programs, blocks, chunk + -(-t // chunk), d_block, n_block),
        "dA": (programs, d, n),
        "dB": (blocks, b, t, s, n),
        "dC": (blocks, b, t, s, n),
        "dD": (programs, d),
        "dbias": (programs, d),
    }


def _chunk(t: int) -> int:
    """Steps of a chunk: sqrt(t), which minimises steps + chunks, but at least `CHUNK`."""
    return min(t, max(CHUNK, isqrt(t)))


def _arguments(inputs: Inputs) -> tuple[list[Tensor], list[int]]:
    """The kernels' u, delta, A, B, C, D, delta_bias, and the pitches of u, delta, B, C."""
    u, delta, B, C = (lines(x) for x in (inputs.u, inputs.delta, inputs.B, inputs.C))
    D, bias = (
        inputs.A.new_zeros(len(inputs.A), dtype=torch.float32) if x is None else x.float()
        for x in (inputs.D, inputs.delta_bias)
    )
    tensors = [u, delta, inputs.A.float().contiguous(), B, C, D.contiguous(), bias.contiguous()]
    return tensors, [x.stride(0) for x in (u, delta, B, C)]


def _on(device: torch.device) -> AbstractContextManager:
    """A context that makes the tensors' GPU the current one, where Triton launches."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _forward(inputs: Inputs, flags: Flags) -> tuple[Tensor, Tensor, Tensor]:
    from pks4.scan import triton_kernels

    (b, t, s, d), n = inputs.u.shape, inputs.A.shape[1]
    d_block, n_block, blocks = _blocks(d, n)
    y = torch.empty_like(inputs.u, memory_format=torch.contiguous_format)
    last = empty_state(inputs, flags)
    tensors, pitches = _arguments(inputs)
    with _on(y.device):
        triton_kernels.forward[b * s, blocks](
            *tensors, y, last, *pitches, t, s, d, n,
            SOFTPLUS=flags.softplus, REVERSE=flags.reverse, LAST=flags.last_state,
            D_BLOCK=d_block, N_BLOCK=n_block,
        )  # fmt: skip
    return y, last, y.new_empty(0)


def _backward(g: Tensor, kept: Tensor, inputs: Inputs, flags: Flags) -> tuple[Tensor, ...]:
    from pks4.scan import triton_kernels

    (b, t, s, d), n = inputs.u.shape, inputs.A.shape[1]
    d_block, n_block, _ = _blocks(d, n)
    room = {
        name: g.new_empty(shape, dtype=torch.float32)
        for name, shape in scratch_shapes(b, t, s, d, n).items()
    }
    grads = Inputs(*(gradient_like(x, inputs.u) for x in inputs))
    shares = [room[name] for name in ("dA", "dB", "dC", "dD", "dbias")]
    tensors, pitches = _arguments(inputs)
    with _on(g.device):
        triton_kernels.backward[room["states"].shape[:2]](
            g, *tensors, *pitches, grads.u, grads.delta, *shares, room["states"],
            b * s, t, s, d, n, _chunk(t),
            SOFTPLUS=flags.softplus, REVERSE=flags.reverse, D_BLOCK=d_block, N_BLOCK=n_block,
        )  # fmt: skip
    for target, share in zip(grads[2:], shares, strict=True):
        if target.numel():
            target.copy_(share.sum(0))
    return tuple(grads)


scan_triton = scan_operator("triton", _forward, _backward)
