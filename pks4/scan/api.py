"""The two entry points of the scan: they check arguments, pick a backend, call its operator."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pks4.scan.backends import resolve
from pks4.scan.mamba_ssm import scan_mamba
from pks4.scan.numba_scan import scan_numba
from pks4.scan.recompute import scan_recompute
from pks4.scan.reference import scan_sites_reference
from pks4.scan.triton_scan import scan_triton

OPERATORS = {
    "recompute": scan_recompute,
    "numba": scan_numba,
    "mamba_ssm": scan_mamba,
    "triton": scan_triton,
}
PerSite = Float[Tensor, "b t s d"]
PerSequence = Float[Tensor, "b d l"]
State = Float[Tensor, "d n"]
Channels = Float[Tensor, " d"] | None


def scan_sites(
    u: PerSite,
    delta: PerSite,
    A: State,
    B: Float[Tensor, "b t s n"],
    C: Float[Tensor, "b t s n"],
    D: Channels = None,
    delta_bias: Channels = None,
    *,
    delta_softplus: bool = True,
    reverse: bool = False,
    return_last_state: bool = False,
    check_finite: bool = False,
    backend: str = "auto",
) -> PerSite | tuple[PerSite, Float[Tensor, "b s d n"]]:
    """Run one selective scan along time at every site.

    Args:
        u, delta: (b, t, s, d), of one dtype. delta is the value before softplus, unless
            delta_softplus is False.
        A: (d, n), negative.
        B, C: (b, t, s, n), of u's dtype.
        D: (d,) or None for zeros. delta_bias: (d,) or None, added to delta before softplus.
        reverse: scan from the last frame to the first.
        return_last_state: also return the state after the last step of the scan.
        check_finite: first check that delta is finite, which costs a pass over it.
        backend: "auto" or a name in `BACKENDS`.

    Returns y (b, t, s, d) in u's dtype; with return_last_state also the state (b, s, d, n), through
    which no gradient flows. The state has float32 or more precision.

    Source: Mamba's selective scan (arXiv 2312.00752), in the layout of a per-frame backbone.

    Raises ValueError for shapes, dtypes or devices that do not fit, for t = 0, with check_finite
    for a delta that is not finite, and for a backend that is unknown or cannot run.
    """
    _check(u, delta, A, B, C, D, delta_bias)
    if check_finite and not bool(torch.isfinite(delta).all()):
        raise ValueError("scan_sites: delta is not finite (NaN or infinity)")
    name = resolve(backend, u.device.type, u.dtype)
    inputs = (u, delta, A, B, C, D, delta_bias)
    if name == "reference":
        y, last = scan_sites_reference(*inputs, delta_softplus, reverse)
    else:
        y, last, _ = OPERATORS[name](*inputs, delta_softplus, reverse, return_last_state)
    return (y, last.detach()) if return_last_state else y


def selective_scan(
    u: PerSequence,
    delta: PerSequence,
    A: State,
    B: Float[Tensor, "b *g n l"],
    C: Float[Tensor, "b *g n l"],
    D: Channels = None,
    z: PerSequence | None = None,
    delta_bias: Channels = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
    *,
    backend: str = "auto",
) -> PerSequence | tuple[PerSequence, Float[Tensor, "b d n"]]:
    """mamba-ssm's `selective_scan_fn`: same arguments, shapes and result, any backend.

    Args:
        u, delta: (b, d, l). A: (d, n). D, delta_bias: (d,) or None.
        B, C: (b, n, l), or (b, g, n, l) for g groups of d / g channels.
        z: (b, d, l) or None; a gate, y * silu(z).

    Returns y (b, d, l); with return_last_state also the state (b, d, n), through which no gradient
    flows, as in mamba-ssm.

    Deviations: A must be real, and B and C depend on the input; a constant B or C of shape (d, n)
    raises ValueError.

    Source: the interface of state-spaces/mamba, `mamba_ssm.ops.selective_scan_interface`.

    Raises ValueError as `scan_sites` does.
    """
    B, C = (_grouped(name, x) for name, x in (("B", B), ("C", C)))
    _check_sequences(u, delta, A, B, C, D, z, delta_bias)
    d, groups = u.shape[1], B.shape[1]
    results = []
    for i in range(groups):
        group = slice(i * d // groups, (i + 1) * d // groups)
        results.append(
            scan_sites(
                *(_as_one_site(x) for x in (u[:, group], delta[:, group])),
                A[group],
                *(_as_one_site(x[:, i]) for x in (B, C)),
                *(x if x is None else x[group] for x in (D, delta_bias)),
                delta_softplus=delta_softplus,
                return_last_state=return_last_state,
                backend=backend,
            )
        )
    ys, lasts = zip(*results, strict=True) if return_last_state else (results, ())
    y = torch.cat(ys, -1)[:, :, 0].transpose(1, 2)  # (b, d, l)
    y = y if z is None else y * F.silu(z)
    return (y, torch.cat(lasts, 2)[:, 0]) if return_last_state else y


def _as_one_site(x: Tensor) -> Tensor:
    """(b, d, l) -> (b, l, 1, d): time first, a single site."""
    return x.transpose(1, 2)[:, :, None]


def _grouped(name: str, x: Tensor) -> Tensor:
    if x.ndim not in (3, 4):
        raise ValueError(
            f"selective_scan: {name} must be (b, n, l) or (b, g, n, l), got {tuple(x.shape)}"
        )
    return x[:, None] if x.ndim == 3 else x


def _check_sequences(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, z: Tensor | None,
    bias: Tensor | None,
) -> None:  # fmt: skip
    """Check each shape as a whole: a group takes a slice, which would hide what is too long."""
    if u.ndim != 3:
        raise ValueError(f"selective_scan: u must be (b, d, l), got {tuple(u.shape)}")
    if A.ndim != 2:
        raise ValueError(f"selective_scan: A must be (d, n), got {tuple(A.shape)}")
    (b, d, length), n, groups = u.shape, A.shape[1], B.shape[1]
    if not groups or d % groups or C.shape[1] != groups:
        raise ValueError(
            f"selective_scan: d = {d} channels do not fit {groups} groups of B, {C.shape[1]} of C"
        )
    per_group = (b, groups, n, length)
    shapes = {"delta": (delta, (b, d, length)), "A": (A, (d, n)), "B": (B, per_group)}
    shapes |= {"C": (C, per_group), "D": (D, (d,)), "z": (z, (b, d, length))}
    for name, (x, shape) in {**shapes, "delta_bias": (bias, (d,))}.items():
        if x is not None and tuple(x.shape) != shape:
            raise ValueError(f"selective_scan: {name} must be {shape}, got {tuple(x.shape)}")
    if z is not None and (z.device, z.dtype) != (u.device, u.dtype):
        raise ValueError(
            f"selective_scan: z is {z.dtype} on {z.device}, u {u.dtype} on {u.device}; cast z"
        )


def _check(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, bias: Tensor | None
) -> None:
    if u.ndim != 4:
        raise ValueError(f"scan_sites: u must be (b, t, s, d), got {tuple(u.shape)}")
    if u.shape[1] == 0:
        raise ValueError("scan_sites: u has no frames (t = 0)")
    if A.ndim != 2 or A.is_complex():
        raise ValueError(f"scan_sites: A must be (d, n) and real, got {tuple(A.shape)}, {A.dtype}")
    b, t, s, d = u.shape
    n = A.shape[1]
    same_as_u = {"delta": (delta, d), "B": (B, n), "C": (C, n)}
    expected = {name: (x, (b, t, s, last)) for name, (x, last) in same_as_u.items()}
    expected |= {"A": (A, (d, n)), "D": (D, (d,)), "delta_bias": (bias, (d,))}
    for name, (x, shape) in expected.items():
        if x is None:
            continue
        if tuple(x.shape) != shape:
            raise ValueError(f"scan_sites: {name} must be {shape}, got {tuple(x.shape)}")
        if x.device != u.device:
            raise ValueError(f"scan_sites: {name} is on {x.device}, u on {u.device}")
        if name in same_as_u and x.dtype != u.dtype:
            raise ValueError(f"scan_sites: {name} is {x.dtype}, u {u.dtype}; cast one of them")
