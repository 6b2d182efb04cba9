"""The selective scan on CUDA by mamba-ssm's compiled kernel (the extra `cuda`).

This project never ran the kernel, for want of a GPU; its time and its error are unknown. The tests
call a fake kernel that asserts the conditions of the real one (state-spaces/mamba,
`csrc/selective_scan`):

    dtypes    u, delta, B, C and the gradient of y of one dtype, float32, bfloat16 or float16;
              A, D and delta_bias float32
    layout    time last and with stride 1: u, delta (rows, d, t), B, C (rows, 1, n, t)
    limits    n <= 256; d <= 65535, the second axis of a grid; offsets have 32 bits, for all
              tensors in the code of March 2026 and for the state still in July 2026 (issues 880
              and 884), so a call takes only as many rows as have `LIMIT` elements of a tensor

Rows are clips x sites. Beyond the kernel a call copies u, delta, B and C to the kernel's layout and
y back, and copies each once more with `reverse`, which reverses time. Backward copies them again,
with the gradients, so that only the inputs and the kernel's state are kept between the two. That
state is (rows, d, chunks of 2048 steps, 2 n) in float32: for each state the product of the decays
and the value at the end of a chunk, so 2 n numbers a channel, however short the clip. (By its
source the kernel's backward reads it only from the second chunk on; like mamba-ssm, this backend
always keeps it.) The kernel sums gradients of A, B, C, D and delta_bias by atomics: their last bits
differ from run to run.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pks4.scan.custom_op import Flags, Inputs, empty_state, gradient_like, scan_operator

CHUNK = 2048  # steps of a chunk of the kernel
MAX_CHANNELS, MAX_STATE = 65535, 256
LIMIT = 2**31 - 1  # elements of a tensor that one call may address


class Piece(NamedTuple):
    """The rows of one call: whole clips, or some sites of one clip."""

    clips: slice
    sites: slice
    rows: slice  # the same rows, counted over clips x sites


def pieces(b: int, t: int, s: int, d: int, n: int) -> list[Piece]:
    """Cut b clips of s sites so that no tensor of a call exceeds `LIMIT` elements.

    Raises ValueError if the kernel cannot take d channels or n states, or a single row.
    """
    if d > MAX_CHANNELS or n > MAX_STATE:
        raise ValueError(
            f"scan backend 'mamba_ssm' takes d <= {MAX_CHANNELS} channels and n <= {MAX_STATE} "
            f"states, got d = {d}, n = {n}; take 'recompute'"
        )
    widest = max(d * t, n * t, d * n * _chunks(t))  # u, B, the kernel's state by pairs
    rows = LIMIT // max(1, widest)
    if rows == 0:
        raise ValueError(
            f"scan backend 'mamba_ssm': one row of t = {t}, d = {d}, n = {n} is beyond the "
            "kernel's 32-bit offsets; take 'recompute'"
        )
    clips, sites = max(1, rows // max(1, s)), min(s, rows)
    return [
        Piece(
            slice(i, min(i + clips, b)),
            slice(j, min(j + sites, s)),
            slice(i * s + j, (min(i + clips, b) - 1) * s + min(j + sites, s)),
        )
        for i in range(0, b, clips)
        for j in range(0, s, max(1, sites))
    ]


def _chunks(t: int) -> int:
    return -(-t // CHUNK)


def _pieces(inputs: Inputs) -> list[Piece]:
    return pieces(*inputs.u.shape, inputs.A.shape[1])


def _state(inputs: Inputs) -> Tensor:
    """An uninitialised kernel state (b s, d, chunks, 2 n), float32."""
    (b, t, s, d), n = inputs.u.shape, inputs.A.shape[1]
    return inputs.u.new_empty(b * s, d, _chunks(t), 2 * n, dtype=torch.float32)


def _take(x: Tensor, piece: Piece, flags: Flags) -> Tensor:
    """A piece of (b, t, s, k) in the kernel's layout and the scan's order: (rows, k, t)."""
    part = x[piece.clips, :, piece.sites].permute(0, 2, 3, 1)  # (b', s', k, t)
    part = part.flip(-1) if flags.reverse else part
    return part.flatten(0, 1).contiguous()


def _put(target: Tensor, piece: Piece, flags: Flags, value: Tensor) -> None:
    """Write (rows, k, t) to the piece of a tensor (b, t, s, k)."""
    value = value.flip(-1) if flags.reverse else value
    part = target[piece.clips, :, piece.sites]
    part.copy_(value.unflatten(0, (part.shape[0], part.shape[2])).permute(0, 3, 1, 2))


def _arguments(inputs: Inputs, flags: Flags, piece: Piece) -> tuple[Tensor | None, ...]:
    """The kernel's leading arguments: u, delta, A, B, C, D, z (a gate, not used), delta_bias."""
    u, delta, B, C = (_take(x, piece, flags) for x in (inputs.u, inputs.delta, inputs.B, inputs.C))
    D, bias = (None if x is None else x.float().contiguous() for x in (inputs.D, inputs.delta_bias))
    return u, delta, inputs.A.float(), B[:, None], C[:, None], D, None, bias


def _forward(inputs: Inputs, flags: Flags) -> tuple[Tensor, Tensor, Tensor]:
    import selective_scan_cuda

    y = torch.empty_like(inputs.u, memory_format=torch.contiguous_format)
    last, cut = empty_state(inputs, flags), _pieces(inputs)
    kept = None if len(cut) == 1 else _state(inputs)
    for piece in cut:
        out, state, *_ = selective_scan_cuda.fwd(*_arguments(inputs, flags, piece), flags.softplus)
        _put(y, piece, flags, out)
        if kept is None:
            kept = state
        else:
            kept[piece.rows] = state
    if flags.last_state:
        last.copy_(kept[:, :, -1, 1::2].view_as(last))
    return y, last, kept


def _backward(g: Tensor, kept: Tensor, inputs: Inputs, flags: Flags) -> tuple[Tensor, ...]:
    import selective_scan_cuda

    grads = Inputs(*(gradient_like(x, inputs.u) for x in inputs))
    sums = [torch.zeros_like(x, dtype=torch.float32) for x in (grads.A, grads.D, grads.delta_bias)]
    for piece in _pieces(inputs):
        u, delta, A, B, C, D, bias, *_ = selective_scan_cuda.bwd(
            *_arguments(inputs, flags, piece),
            _take(g, piece, flags),
            kept[piece.rows],
            None,  # y and room for the gradient of the gate, which is not used
            None,
            flags.softplus,
            False,
        )
        for target, value in (
            (grads.u, u),
            (grads.delta, delta),
            (grads.B, B[:, 0]),
            (grads.C, C[:, 0]),
        ):
            _put(target, piece, flags, value)
        for total, value in zip(sums, (A, D, bias), strict=True):
            if value is not None:
                total += value
    for target, total in zip((grads.A, grads.D, grads.delta_bias), sums, strict=True):
        target.copy_(total)
    return tuple(grads)


scan_mamba = scan_operator("mamba_ssm", _forward, _backward, _state)
