"""The two entry points of the scan: they check arguments, pick a backend, call its operator."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pks4.scan.arguments import check_sequences, check_sites
from pks4.scan.backends import resolve
from pks4.scan.custom_op import Inputs, working_dtype
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
        u, delta: (b, t, s, d), of one dtype: float16, bfloat16, float32 or float64. delta is the
            value before softplus, unless delta_softplus is False.
        A: (d, n), negative. A, D and delta_bias may be of any of these dtypes.
        B, C: (b, t, s, n), of u's dtype.
        D: (d,) or None for zeros. delta_bias: (d,) or None, added to delta before softplus.
        reverse: scan from the last frame to the first.
        return_last_state: also return the state after the last step of the scan.
        check_finite: first check that delta is finite, which costs a pass over it.
        backend: "auto" or a name in `BACKENDS`.

    Returns y (b, t, s, d) in u's dtype; with return_last_state also the state (b, s, d, n), through
    which no gradient flows. The state has float32 or more precision. b, s and d may be 0.

    Source: Mamba's selective scan (arXiv 2312.00752), in the layout of a per-frame backbone.

    Raises ValueError for shapes, dtypes or devices that do not fit, for t = 0 or n = 0, with
    check_finite for a delta that is not finite, and for a backend that is unknown or cannot run.
    """
    inputs = Inputs(u, delta, A, B, C, D, delta_bias)
    check_sites(inputs._asdict())
    if check_finite and not bool(torch.isfinite(delta).all()):
        raise ValueError("scan_sites: delta is not finite (NaN or infinity)")
    name = resolve(backend, u.device.type, u.dtype)
    y, last = _run(name, inputs, delta_softplus, reverse, return_last_state)
    return (y, last) if return_last_state else y


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
        u, delta: (b, d, l), of one dtype: float16, bfloat16, float32 or float64.
        A: (d, n). D, delta_bias: (d,) or None. Each may be of any of these dtypes.
        B, C: (b, n, l), or (b, g, n, l) for g groups of d / g channels, of u's dtype.
        z: (b, d, l) or None, of u's dtype; a gate, y * silu(z).

    Returns y (b, d, l) in u's dtype; with return_last_state also the state (b, d, n), through which
    no gradient flows, as in mamba-ssm. b and d may be 0. The gated y is rounded once, after the
    gate, as mamba-ssm's kernel does; so with z the scan runs in float32 or more.

    Deviations: A must be real, and B and C depend on the input; a constant B or C of shape (d, n)
    raises ValueError.

    Source: the interface of state-spaces/mamba, `mamba_ssm.ops.selective_scan_interface`.

    Raises ValueError as `scan_sites` does.
    """
    inputs = Inputs(u, delta, A, B, C, D, delta_bias)
    groups = check_sequences({**inputs._asdict(), "z": z})
    name, dtype, d = resolve(backend, u.device.type, u.dtype), u.dtype, u.shape[1]
    if z is not None:
        wide = working_dtype(u)
        u, delta, B, C, z = (x.to(wide) for x in (u, delta, B, C, z))
    B, C = (x if x.ndim == 4 else x[:, None] for x in (B, C))
    ys, lasts = [], []
    for i in range(groups):
        group = slice(i * d // groups, (i + 1) * d // groups)
        of_group = Inputs(
            *(_as_one_site(x) for x in (u[:, group], delta[:, group])),
            A[group],
            *(_as_one_site(x[:, i]) for x in (B, C)),
            *(x if x is None else x[group] for x in (D, delta_bias)),
        )
        y, last = _run(name, of_group, delta_softplus, False, return_last_state)
        ys.append(y)
        lasts.append(last)
    y = torch.cat(ys, -1)[:, :, 0].transpose(1, 2)  # (b, d, l)
    y = y if z is None else (y * F.silu(z)).to(dtype)
    return (y, torch.cat(lasts, 2)[:, 0]) if return_last_state else y


def _run(
    name: str, inputs: Inputs, softplus: bool, reverse: bool, return_last_state: bool
) -> tuple[Tensor, Tensor]:
    """y (b, t, s, d), and the state if it is asked for, by the backend of this name."""
    if name == "reference":
        y, last = scan_sites_reference(*inputs, softplus, reverse)
    else:
        y, last, _ = OPERATORS[name](*inputs, softplus, reverse, return_last_state)
    return y, last.detach()


def _as_one_site(x: Tensor) -> Tensor:
    """(b, d, l) -> (b, l, 1, d): time first, a single site."""
    return x.transpose(1, 2)[:, :, None]
