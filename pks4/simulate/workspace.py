"""Temporary memory of this project's operators, beyond inputs and results: rule `workspace/v1`.

Fake tensors show what an operator takes and returns, not what it allocates inside. The formulas
follow each operator's code. A thread's scratch of a few KiB is left out.
"""

from collections.abc import Callable
from math import prod

from torch import Tensor

from pks4.scan.recompute import BLOCK, CHUNK
from pks4.scan.triton_scan import scratch_shapes

RULE = "workspace/v1"


def op_workspace(name: str, args: tuple) -> int:
    """Bytes that the operator `namespace::op` allocates in addition to its inputs and results."""
    if not name.startswith("pks4::"):
        return 0
    if name not in _FORMULAS:
        raise LookupError(f"no formula for the workspace of {name} under {RULE}")
    return _FORMULAS[name](args)


def _correlation(args: tuple) -> int:
    """The padded map, and one product or the parts of the volume before they are joined."""
    a, _, radius, dilation = args
    p, h, w, d = a.shape
    return a.element_size() * (
        _padded(a, radius * dilation) + p * h * w * max(d, (2 * radius + 1) ** 2)
    )


def _correlation_backward(args: tuple) -> int:
    """Two padded maps: the features and their gradient."""
    _, a, _, radius, dilation = args
    return 2 * a.element_size() * _padded(a, radius * dilation)


def _padded(a: Tensor, pad: int) -> int:
    p, h, w, d = a.shape
    return p * (h + 2 * pad) * (w + 2 * pad) * d


def _recompute(states: int, rows: int, first: int) -> Callable[[tuple], int]:
    """`states` arrays of states and `rows` arrays of steps, of one chunk of one block."""

    def formula(args: tuple) -> int:
        u, A = args[first], args[first + 2]
        (b, t, s, d), n = u.shape, A.shape[1]
        steps = min(t, CHUNK)
        sites = min(b * s, max(1, BLOCK // (steps * d * n)))
        size = max(4, u.element_size())
        return size * sites * d * (steps * (states * n + rows) + -(-t // CHUNK) * n)

    return formula


def _copies(first: int) -> Callable[[tuple], int]:
    """float32 copies of B and C, where they come in a lower precision."""

    def formula(args: tuple) -> int:
        return sum(4 * x.numel() for x in args[first + 3 : first + 5] if x.element_size() < 4)

    return formula


def _relaid(first: int, like_u: int, like_B: int) -> Callable[[tuple], int]:
    """Copies in the layout of mamba-ssm's kernel: `like_u` of u's size, `like_B` of B's."""

    def formula(args: tuple) -> int:
        u, B = args[first], args[first + 3]
        return like_u * u.nbytes + like_B * B.nbytes

    return formula


def _triton_backward(args: tuple) -> int:
    """The scratch arrays that the kernel's module states."""
    u, A = args[2], args[4]
    shapes = scratch_shapes(*u.shape, A.shape[1]).values()
    return sum(4 * prod(shape) for shape in shapes)


# u is the first argument of a forward and the third of a backward.
_FORMULAS: dict[str, Callable[[tuple], int]] = {
    "pks4::local_correlation": _correlation,
    "pks4::local_correlation_backward": _correlation_backward,
    "pks4::linear_recurrence": lambda args: 0,  # every step writes into the result
    "pks4::linear_recurrence_backward": lambda args: 0,
    "pks4::scan_recompute": _recompute(2, 6, 0),
    "pks4::scan_recompute_backward": _recompute(4, 10, 2),
    "pks4::scan_numba": _copies(0),
    "pks4::scan_numba_backward": _copies(2),
    "pks4::scan_mamba_ssm": _relaid(0, 3, 2),  # u, delta, y; B, C
    "pks4::scan_mamba_ssm_backward": _relaid(2, 5, 4),  # and the gradients of y, u, delta; of B, C
    "pks4::scan_triton": lambda args: 0,
    "pks4::scan_triton_backward": _triton_backward,
}
