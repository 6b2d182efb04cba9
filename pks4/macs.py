"""Closed forms of compute: the counting rule `macs/v1`, in one place.

One multiply-add counts as one MAC. Counted: linear layers, convolutions, matrix products,
attention, triangular solves, the selective scan, linear recurrences and the local correlation. Not
counted: norms, activations, softmax, elementwise products, pooling. Each layer has a `macs` method
that calls these functions. The counters of `pks4.bench.measure.macs` use `OP_MACS` for operators
that no public tool knows.

The scan, per site, step and channel, forward: delta*A, (delta*u)*B, the state's multiply-add and
the read-out with C are n multiplications each; delta*u and D*u are one each: 4n + 2. Backward
recomputes the states (3n), then takes nine n-sized products for the gradients of delta, u, A, B, C
and the state (12n in all) and five single ones. The rule counts one recomputation. A backend may do
more: `recompute` recomputes all but the last 32 steps twice. Mamba's authors use another form,
9n + 2, in FLOPs; `scan_flops` gives it for comparison.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod

RULE = "macs/v1"
BACKBONE = "backbone"
STAGES = (BACKBONE, "temporal", "head")  # of a contestant; costs are given by stage
_open_stages: list[str] = []


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Assign the operators that run inside this context to a stage, whatever module runs them.

    For layers that serve two stages, such as attention that a rival runs both within frames and
    along time. All other modules belong to a stage by their names, see `STAGES` of the file.
    """
    _open_stages.append(name)
    try:
        yield
    finally:
        _open_stages.pop()


def open_stage() -> str | None:
    """The stage of the innermost open context, if any."""
    return _open_stages[-1] if _open_stages else None


def linear_macs(tokens: int, d_in: int, d_out: int) -> int:
    """MACs of a linear layer on `tokens` vectors."""
    return tokens * d_in * d_out


def attention_macs(sequences: int, queries: int, keys: int, d: int) -> int:
    """MACs of softmax(q k^T) v, all heads together: two products of (queries, keys, d)."""
    return 2 * sequences * queries * keys * d


def vit_block_macs(frames: int, tokens: int, d: int, mlp_ratio: int = 4) -> int:
    """MACs of one pre-norm transformer block: q k v, attention, projection, two-layer MLP."""
    rows = frames * tokens
    linears = linear_macs(rows, d, 4 * d) + 2 * linear_macs(rows, d, mlp_ratio * d)
    return linears + attention_macs(frames, tokens, tokens, d)


def scan_macs(steps: int, d: int, n: int) -> int:
    """MACs of the selective scan forward; `steps` = clips * frames * sites."""
    return steps * d * (4 * n + 2)


def scan_backward_macs(steps: int, d: int, n: int) -> int:
    """MACs of the scan's backward, including the recomputation of the states."""
    return steps * d * (12 * n + 5)


def scan_flops(steps: int, d: int, n: int) -> int:
    """FLOPs of the scan forward as Mamba's authors count them (9 n + 2 per step and channel)."""
    return steps * d * (9 * n + 2)


def correlation_macs(pairs: int, sites: int, d: int, offsets: int) -> int:
    """MACs of comparing each site with `offsets` sites of another frame."""
    return pairs * sites * offsets * d


def triangular_solve_macs(systems: int, t: int, columns: int) -> int:
    """MACs of forward substitution in `systems` unit lower triangles of t rows."""
    return systems * columns * t * (t - 1) // 2


def _solve_op(shapes: Sequence[Sequence[int]], out: Sequence[int]) -> int:
    return triangular_solve_macs(prod(out[:-2]), out[-2], out[-1])


def _scan_op(shapes: Sequence[Sequence[int]], macs: Callable[[int, int, int], int]) -> int:
    """MACs from the shapes of u, delta, A and the other inputs of the scan."""
    u, n = shapes[0], shapes[2][1]
    return macs(prod(u[:-1]), u[-1], n)


def _correlation_op(shapes: Sequence[Sequence[int]], offsets: int, products: int) -> int:
    pairs, h, w, d = shapes[0]
    return products * correlation_macs(pairs, h * w, d, offsets)


# Operator -> MACs from the shapes of its tensor inputs, in order, and of its first output.
OP_MACS: dict[str, Callable[[Sequence[Sequence[int]], Sequence[int]], int]] = {
    "pks4::local_correlation": lambda ins, out: _correlation_op(ins, out[-1], 1),
    "aten::linalg_solve_triangular": _solve_op,
    "pks4::linear_recurrence": lambda ins, out: prod(out),
    "pks4::linear_recurrence_backward": lambda ins, out: 2 * prod(ins[0]),  # it gives two
    "pks4::local_correlation_backward": lambda ins, out: _correlation_op(ins[1:], ins[0][-1], 2),
}
for _backend in ("recompute", "numba", "mamba_ssm", "triton"):  # "reference" is plain PyTorch
    OP_MACS[f"pks4::scan_{_backend}"] = lambda ins, out: _scan_op(ins, scan_macs)
    # its first inputs are the gradient of y and the tensors that forward kept
    OP_MACS[f"pks4::scan_{_backend}_backward"] = lambda ins, out: _scan_op(
        ins[2:], scan_backward_macs
    )
