"""The selective scan over time, one scanner per site: a door that picks a backend by name.

Backends: `reference` (a plain loop in plain autograd, the oracle) and `recompute` (a custom
operator that keeps only its inputs and computes the states again in backward). A name that is not
there raises; nothing is ever substituted.
"""

from torch import Tensor

from pks4.errors import unknown_name
from pks4.scan.recompute import scan_recompute
from pks4.scan.reference import scan_sites_reference

BACKENDS = {"reference": scan_sites_reference, "recompute": scan_recompute}


def scan_sites(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    *,
    backend: str = "recompute",
) -> Tensor:
    """Run one selective scan along time at every site.

    Shapes: u and delta (b, t, s, d); A (d, n), negative; B and C (b, t, s, n); D and delta_bias
    (d,) or None for zeros. delta is the value before softplus; delta_bias is added to it first.
    Returns y (b, t, s, d) in u's dtype; the state is kept in float32 at least.

    Source: Mamba's selective scan (arXiv 2312.00752) in the layout that a per-frame backbone hands
    over, so that nothing is transposed.

    Raises ValueError for shapes that do not fit and for an unknown backend.
    """
    run = BACKENDS.get(backend)
    if run is None:
        raise ValueError(unknown_name("scan backend", backend, BACKENDS))
    _check(u, delta, A, B, C)
    zeros = u.new_zeros(u.shape[-1])
    D = zeros if D is None else D
    return run(u, delta, A, B, C, D, zeros if delta_bias is None else delta_bias)


def _check(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> None:
    if u.ndim != 4:
        raise ValueError(f"scan_sites: u must be (b, t, s, d), got {tuple(u.shape)}")
    if u.shape[1] == 0:
        raise ValueError("scan_sites: u has no frames (t = 0)")
    b, t, s, d = u.shape
    wanted = {"delta": (delta, (b, t, s, d)), "A": (A, (d, A.shape[-1]))}
    wanted |= {name: (x, (b, t, s, A.shape[-1])) for name, x in (("B", B), ("C", C))}
    for name, (x, shape) in wanted.items():
        if tuple(x.shape) != shape:
            raise ValueError(f"scan_sites: {name} must be {shape}, got {tuple(x.shape)}")
        if x.device != u.device:
            raise ValueError(f"scan_sites: {name} is on {x.device}, u on {u.device}")
