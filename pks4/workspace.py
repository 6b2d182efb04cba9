"""What this project's operators need for a moment, beyond inputs and results: `workspace/v1`.

Fake tensors show what an operator takes and gives, not what it allocates inside. The formulas
follow the code of each; scratch of a thread, a few KiB, is left out.
"""

from collections.abc import Callable

from torch import Tensor

RULE = "workspace/v1"
BLOCK, CHUNK = 1 << 19, 32  # of pks4.scan.recompute


def op_workspace(name: str, args: tuple) -> int:
    """Bytes that the operator `namespace::op` needs beside its inputs and results."""
    formula = _FORMULAS.get(name)
    return formula(args) if formula else 0


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
    """So many arrays of states and of steps of one chunk of one block, in float32 at least."""

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


def _transposed(first: int, tensors: int) -> Callable[[tuple], int]:
    """Copies of u-sized tensors in the layout that mamba-ssm's kernel takes."""

    def formula(args: tuple) -> int:
        return tensors * args[first].numel() * args[first].element_size()

    return formula


# Where u stands among the arguments: first in a forward, third in a backward.
_FORMULAS: dict[str, Callable[[tuple], int]] = {
    "pks4::local_correlation": _correlation,
    "pks4::local_correlation_backward": _correlation_backward,
    "pks4::scan_recompute": _recompute(2, 6, 0),
    "pks4::scan_recompute_backward": _recompute(4, 10, 2),
    "pks4::scan_numba": _copies(0),
    "pks4::scan_numba_backward": _copies(2),
    "pks4::scan_mamba_ssm": _transposed(0, 3),
    "pks4::scan_mamba_ssm_backward": _transposed(2, 5),
}
