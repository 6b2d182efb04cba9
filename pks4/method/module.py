"""PKS4: one plug-in module that gives a per-frame 2D backbone a sense of time.

    p      = KinematicPriorEncoder(norm(x))                what moves, where its edges are
    u, z   = in(norm(x))                                   the scanned stream and its gate
    delta  = dt(x_dt(u)) + W_delta p                       how fast each scanner updates
    B, C   = x_B(u) + W_B p,  x_C(u) + W_C p               what it writes and what it reads
    y      = scan over time, one scanner per site          linear in t, sites independent
    x      = x + gate * out(y * silu(z))                   gate starts at 0: the identity

Each W starts at 0, so the module starts as an unmodulated SSM. `modulation="multiplicative"` gives
B and C the form x_B(u) * (1 + W_B p). The abstract of arXiv 2604.26461 says that the priors drive
delta, B and C. It gives neither the form, nor sizes, nor the direction of the scan. Each of these
is an option in `pks4.method.options`, which names the source of its default.

`PKS4.forward` takes a whole clip. A causal module also streams: `PKS4.step` takes one frame at a
time, with the same result and a state of constant size.
"""

from math import log
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pks4.checks import at_least_one
from pks4.macs import linear_macs, scan_macs
from pks4.method.options import Options, options_from
from pks4.method.prior import FrameFeatures, KinematicPriorEncoder
from pks4.scan import inverse_softplus, scan_sites
from pks4.scan.reference import advance

Features = Float[Tensor, "b t h w d"]
GATE_GAIN = 10.0  # Adam's steps have a fixed size; with this gain the gate opens in tens of steps


class StreamState(NamedTuple):
    """The state of a causal module after some frames; its size is constant."""

    frames: Int[Tensor, " b"]  # number of frames so far
    last_frame: FrameFeatures  # each (b, h, w, its channels)
    scan: Float[Tensor, "b s inner n"]  # float32 at least


class Scanner(nn.Module):
    """One direction of time: projections to delta, B, C, their modulation, and the scan."""

    def __init__(self, d: int, rank: int, options: Options, *, reverse: bool = False) -> None:
        super().__init__()
        n = options.state
        self.d, self.rank, self.options, self.reverse = d, rank, options, reverse
        self.scan_backend = options.scan_backend
        self.x_proj = nn.Linear(d, rank + 2 * n, bias=False)
        self.dt_proj = nn.Linear(rank, d, bias=False)
        self.dt_bias = nn.Parameter(_inverse_softplus_of_log_uniform(d))
        self.A_log = nn.Parameter(torch.arange(1.0, n + 1).log().repeat(d, 1))
        self.D = nn.Parameter(torch.zeros(d))  # the residual connection already carries the frame
        sizes = {"delta": d, "B": n, "C": n}
        modulated = options.modulate if options.has_priors else ()
        self.prior_proj = nn.ModuleDict(
            {name: nn.Linear(options.prior_channels, sizes[name], bias=False) for name in modulated}
        )
        for projection in self.prior_proj.values():
            nn.init.zeros_(projection.weight)

    def forward(
        self, u: Float[Tensor, "b t s d"], priors: Float[Tensor, "b t s p"] | None
    ) -> Float[Tensor, "b t s d"]:
        """Scan u (b, t, s, d) under priors (b, t, s, channels), in this scanner's direction."""
        return scan_sites(
            *self._drive(u, priors),
            self.D,
            self.dt_bias,
            reverse=self.reverse,
            backend=self.scan_backend,
        )

    def step(
        self,
        u: Float[Tensor, "b s d"],
        priors: Float[Tensor, "b s p"] | None,
        state: Float[Tensor, "b s d n"],
    ) -> tuple[Float[Tensor, "b s d"], Float[Tensor, "b s d n"]]:
        """Scan one frame u (b, s, d) from the state (b, s, d, n): y (b, s, d) and the new state.

        Computes in the state's precision.
        """
        x, delta, A, B, C = (v.to(state.dtype) for v in self._drive(u, priors))
        step = F.softplus(delta + self.dt_bias)
        state, y = advance(state, x, step, A, B, C)
        return (y + self.D * x).to(u.dtype), state

    def _drive(self, u: Tensor, priors: Tensor | None) -> tuple[Tensor, ...]:
        """The scan's arguments u, delta, A, B, C after modulation; all but A have u's dtype."""
        n = self.options.state
        low, B, C = self.x_proj(u).split([self.rank, n, n], -1)
        delta = self.dt_proj(low)
        if "delta" in self.prior_proj:
            delta = delta + self.prior_proj["delta"](priors)
        B, C = self._modulate("B", B, priors), self._modulate("C", C, priors)
        A = -torch.exp(self.A_log)
        return u, delta.to(u.dtype), A, B.to(u.dtype), C.to(u.dtype)

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
    """The plug-in module: features (b, t, h, w, d) -> features of the same shape and dtype.

    Args:
        dim: channels d of the features.
        options: see `Options`; its fields may be given as keyword arguments instead.

    Under autocast the module computes in the lower precision, but keeps the scan's state in
    float32. The result has x's dtype.

    Raises ValueError for an unknown option, a value out of range, a wrong shape, or t = 0.
    """

    def __init__(self, dim: int, options: Options | None = None, **named) -> None:
        super().__init__()
        if options is not None and named:
            raise ValueError(f"PKS4: give {sorted(named)} in `options` or by name, not both")
        self.options = options = options or options_from(named)
        at_least_one(dim=dim)
        self.dim, self.inner = dim, max(1, round(options.expand * dim))
        if options.direction == "halves" and self.inner % 2:
            raise ValueError(
                f"direction='halves' needs an even width, got {self.inner} (expand {options.expand}"
                f" of {dim} channels); change expand"
            )
        self.norm = nn.LayerNorm(dim)
        self.in_proj = nn.Linear(dim, 2 * self.inner, bias=False)
        self.scanners = _scanners(self.inner, options.rank or -(-dim // 16), options)
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
                smooth=options.smooth,
                reference_frame=options.reference_frame,
            )

    def forward(self, x: Features) -> Features:
        """Mix features x (b, t, h, w, d) along time; the result has the same shape."""
        if x.ndim != 5 or x.shape[-1] != self.dim:
            raise ValueError(f"PKS4: x must be (b, t, h, w, {self.dim}), got {tuple(x.shape)}")
        if x.shape[1] == 0:
            raise ValueError("PKS4: x has no frames (t = 0)")
        if self.options.checkpoint and torch.is_grad_enabled():
            change = checkpoint(self._change, x, use_reentrant=False, preserve_rng_state=False)
        else:
            change = self._change(x)
        return x + change.to(x.dtype)

    def _change(self, x: Features) -> Features:
        normed = self.norm(x)
        priors = None if self.prior is None else self.prior(normed).flatten(2, 3)
        u, z = self.in_proj(normed).flatten(2, 3).chunk(2, -1)  # (b, t, s, inner)
        return self._gated(self._scan(u, priors), z).view_as(x)

    def _scan(self, u: Tensor, priors: Tensor | None) -> Tensor:
        if self.options.direction == "halves":
            parts = u.chunk(2, -1)
            return torch.cat([f(x, priors) for f, x in zip(self.scanners, parts, strict=True)], -1)
        y = self.scanners[0](u, priors)
        return y if len(self.scanners) == 1 else y + self.scanners[1](u, priors)

    def _gated(self, y: Tensor, z: Tensor) -> Tensor:
        return GATE_GAIN * self.gate * self.out_proj(y * F.silu(z))

    def initial_state(self, b: int, h: int, w: int) -> StreamState:
        """The state before the first frame of b clips on a grid (h, w), for `step`.

        Raises ValueError for a module that is not causal.
        """
        self._check_causal()
        zeros, sites = self.gate.new_zeros, (b, h, w)
        compared = reduced = None
        if self.prior is not None and self.prior.correlation:
            compared = zeros(*sites, self.options.correlation_channels)
        if self.prior is not None and self.prior.difference:
            reduced = zeros(*sites, self.prior.reduced)
        dtype = torch.promote_types(self.gate.dtype, torch.float32)
        scan = zeros(b, h * w, self.inner, self.options.state, dtype=dtype)
        return StreamState(zeros(b, dtype=torch.int64), FrameFeatures(compared, reduced), scan)

    @torch.no_grad()
    def step(
        self, x: Float[Tensor, "b h w d"], state: StreamState
    ) -> tuple[Float[Tensor, "b h w d"], StreamState]:
        """Process one frame x (b, h, w, d): its result and the new state.

        The result equals that of `forward` for the same frame, up to rounding. For inference only:
        no gradient flows.

        Raises ValueError for a module that is not causal and for a frame of another shape.
        """
        self._check_causal()
        b, sites, *_ = state.scan.shape
        if x.ndim != 4 or x.shape[::3] != (b, self.dim) or x.shape[1] * x.shape[2] != sites:
            shape = f"({b}, h, w, {self.dim}) with h * w = {sites}"
            raise ValueError(f"PKS4.step: x must be {shape}, got {tuple(x.shape)}")
        normed, priors, features = self.norm(x), None, state.last_frame
        if self.prior is not None:
            features = self.prior.frame_features(normed)
            priors = self.prior.between(features, state.last_frame).flatten(1, 2)  # (b, s, p)
            priors = priors * (state.frames > 0)[:, None, None]  # the first frame has prior 0
        u, z = self.in_proj(normed).flatten(1, 2).chunk(2, -1)  # (b, s, inner)
        y, scan = self.scanners[0].step(u, priors, state.scan)
        change = self._gated(y, z).view_as(x)
        return x + change.to(x.dtype), StreamState(state.frames + 1, features, scan)

    def _check_causal(self) -> None:
        """Raise ValueError if a frame's result depends on later frames."""
        if option := self.options.looks_forward:
            raise ValueError(
                f"streaming needs every frame's result to be final, but with {option} it depends on"
                " later frames; build with direction='causal' and reference_frame='previous'"
            )

    def macs(self, b: int, t: int, h: int, w: int) -> int:
        """Closed form of the forward MACs (rule macs/v1)."""
        steps = b * t * h * w
        total = linear_macs(steps, self.dim, 2 * self.inner)
        total += linear_macs(steps, self.inner, self.dim)
        total += sum(scanner.macs(steps) for scanner in self.scanners)
        return total + (self.prior.macs(b, t, h, w) if self.prior is not None else 0)


def _scanners(inner: int, rank: int, options: Options) -> nn.ModuleList:
    """One scanner forward in time, and one backward unless the module is causal."""
    width = inner // 2 if options.direction == "halves" else inner
    backward = () if options.direction == "causal" else (True,)
    return nn.ModuleList(Scanner(width, rank, options, reverse=r) for r in (False, *backward))


def _inverse_softplus_of_log_uniform(d: int, low: float = 0.01, high: float = 0.3) -> Tensor:
    """Biases whose softplus, the first delta, is log-uniform in [low, high].

    Mamba starts in [0.001, 0.1], for sequences of thousands of steps; a clip has a few frames.
    """
    return inverse_softplus(torch.exp(torch.empty(d).uniform_(log(low), log(high))))
