"""PKS4: one plug-in module that gives a per-frame 2D backbone a sense of time.

    p      = KinematicPriorEncoder(norm(x))                what moved, where its edges are
    u, z   = in(norm(x))                                   scanned stream and its gate
    delta  = dt(x_dt(u)) + W_delta p                       how fast each scanner updates
    B, C   = x_B(u) + W_B p,  x_C(u) + W_C p               what it writes and what it reads
    y      = scan over time, one scanner per site          linear in t, sites independent
    x      = x + gate * out(y * silu(z))                   gate starts at 0: the backbone unchanged

The W start at 0, so that the module starts as an unmodulated SSM. `modulation="multiplicative"`
gives B and C the form x_B(u) * (1 + W_B p). The abstract of arXiv 2604.26461 says that the priors
drive delta, B and C; it does not say in which form, nor sizes or the scan's direction: each is an
option here, with the default named in `Options`.
"""

from dataclasses import dataclass
from math import log
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pks4.cost import linear_macs, scan_macs
from pks4.prior import KinematicPriorEncoder, ReadOut
from pks4.scan import scan_sites

GATE_GAIN = 10.0  # Adam's steps have a fixed size: so the gate opens in tens of steps


@dataclass(frozen=True, kw_only=True)
class Options:
    """Choices of the PKS4 module that the abstract leaves open."""

    state: int = 16  # n, as in Mamba (arXiv 2312.00752)
    expand: float = 0.5  # width of the scanned stream / d; small, since the backbone mixes space
    rank: int | None = None  # of delta's projection; None: ceil(d / 16), as in Mamba
    direction: Literal["causal", "bidirectional"] = "causal"
    modulation: Literal["additive", "multiplicative"] = "additive"  # of B and C
    modulate: tuple[str, ...] = ("delta", "B", "C")  # which of them the priors drive
    correlation: bool = True
    difference: bool = True
    prior_channels: int = 32
    correlation_channels: int = 64  # MotionSqueeze
    radius: int = 3  # 7 x 7 window, CorrNet and PWC-Net use 3-4
    dilation: int = 1
    readout: ReadOut = "soft_argmax"  # MotionSqueeze
    scan_backend: str = "recompute"

    def __post_init__(self) -> None:
        if unknown := set(self.modulate) - {"delta", "B", "C"}:
            raise ValueError(f"modulate: {sorted(unknown)} are not among 'delta', 'B', 'C'")
        for name, allowed in (
            ("direction", ("causal", "bidirectional")),
            ("modulation", ("additive", "multiplicative")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}")

    @property
    def has_priors(self) -> bool:
        """Whether any prior is computed and used."""
        return bool(self.modulate) and (self.correlation or self.difference)


class Scanner(nn.Module):
    """One direction of time: projections of delta, B, C, their modulation, and the scan."""

    def __init__(self, d: int, rank: int, options: Options) -> None:
        super().__init__()
        n = options.state
        self.d, self.rank, self.options = d, rank, options
        self.scan_backend = options.scan_backend
        self.x_proj = nn.Linear(d, rank + 2 * n, bias=False)
        self.dt_proj = nn.Linear(rank, d, bias=False)
        self.dt_bias = nn.Parameter(_inverse_softplus_of_log_uniform(d))
        self.A_log = nn.Parameter(torch.arange(1.0, n + 1).log().repeat(d, 1))
        self.D = nn.Parameter(torch.zeros(d))  # the residual carries the frame itself already
        sizes = {"delta": d, "B": n, "C": n}
        wanted = options.modulate if options.has_priors else ()
        self.prior_proj = nn.ModuleDict(
            {name: nn.Linear(options.prior_channels, sizes[name], bias=False) for name in wanted}
        )
        for projection in self.prior_proj.values():
            nn.init.zeros_(projection.weight)

    def forward(self, u: Tensor, priors: Tensor | None) -> Tensor:
        """Scan u (b, t, s, d) forward in time under priors (b, t, s, channels)."""
        n = self.options.state
        low, B, C = self.x_proj(u).split([self.rank, n, n], -1)
        delta = self.dt_proj(low)
        if "delta" in self.prior_proj:
            delta = delta + self.prior_proj["delta"](priors)
        B, C = self._modulate("B", B, priors), self._modulate("C", C, priors)
        A = -torch.exp(self.A_log)
        return scan_sites(u, delta, A, B, C, self.D, self.dt_bias, backend=self.scan_backend)

    def _modulate(self, name: str, x: Tensor, priors: Tensor | None) -> Tensor:
        if name not in self.prior_proj:
            return x
        change = self.prior_proj[name](priors)
        return x + change if self.options.modulation == "additive" else x * (1 + change)

    def macs(self, steps: int) -> int:
        """Closed form of the forward MACs for steps = b * t * s."""
        n, projections = self.options.state, self.prior_proj.values()
        total = linear_macs(steps, self.d, self.rank + 2 * n)
        total += linear_macs(steps, self.rank, self.d) + scan_macs(steps, self.d, n)
        return total + sum(linear_macs(steps, p.in_features, p.out_features) for p in projections)


class PKS4(nn.Module):
    """The plug-in module: features (b, t, h, w, d) -> features of the same shape.

    Args:
        dim: channels d of the features.
        options: see `Options`; keyword arguments of the same names are accepted instead.

    Raises ValueError for a wrong rank, a wrong d, or t = 0.
    """

    def __init__(self, dim: int, options: Options | None = None, **named) -> None:
        super().__init__()
        self.options = options = options or Options(**named)
        self.dim, self.inner = dim, max(1, round(options.expand * dim))
        rank = options.rank or -(-dim // 16)
        self.norm = nn.LayerNorm(dim)
        self.in_proj = nn.Linear(dim, 2 * self.inner, bias=False)
        directions = 2 if options.direction == "bidirectional" else 1
        self.scanners = nn.ModuleList(Scanner(self.inner, rank, options) for _ in range(directions))
        self.out_proj = nn.Linear(self.inner, dim, bias=False)
        self.gate = nn.Parameter(torch.zeros(dim))
        self.prior = None
        if options.has_priors:
            self.prior = KinematicPriorEncoder(
                dim,
                options.prior_channels,
                correlation=options.correlation,
                difference=options.difference,
                correlation_channels=options.correlation_channels,
                radius=options.radius,
                dilation=options.dilation,
                readout=options.readout,
            )

    def forward(self, x: Tensor) -> Tensor:
        """Mix features x (b, t, h, w, d) along time; same shape."""
        if x.ndim != 5 or x.shape[-1] != self.dim:
            raise ValueError(f"PKS4: x must be (b, t, h, w, {self.dim}), got {tuple(x.shape)}")
        if x.shape[1] == 0:
            raise ValueError("PKS4: x has no frames (t = 0)")
        normed = self.norm(x)
        priors = None if self.prior is None else self.prior(normed).flatten(2, 3)
        u, z = self.in_proj(normed).flatten(2, 3).chunk(2, -1)  # (b, t, s, inner)
        y = self._scan(u, priors) * F.silu(z)
        return x + GATE_GAIN * self.gate * self.out_proj(y).view_as(x)

    def _scan(self, u: Tensor, priors: Tensor | None) -> Tensor:
        y = self.scanners[0](u, priors)
        if len(self.scanners) == 2:
            back = None if priors is None else priors.flip(1)
            y = y + self.scanners[1](u.flip(1), back).flip(1)
        return y

    def macs(self, b: int, t: int, h: int, w: int) -> int:
        """Closed form of the forward MACs (rule macs/v1)."""
        steps = b * t * h * w
        total = linear_macs(steps, self.dim, 2 * self.inner)
        total += linear_macs(steps, self.inner, self.dim)
        total += sum(scanner.macs(steps) for scanner in self.scanners)
        return total + (self.prior.macs(b, t, h, w) if self.prior is not None else 0)


def _inverse_softplus_of_log_uniform(d: int, low: float = 0.01, high: float = 0.3) -> Tensor:
    """Biases whose softplus is log-uniform in [low, high], the start of delta.

    Mamba starts in [0.001, 0.1], for sequences of thousands of steps; a clip has a few frames.
    """
    step = torch.exp(torch.empty(d).uniform_(log(low), log(high)))
    return step + torch.log(-torch.expm1(-step))
