"""PKS4: one plug-in module that gives a per-frame 2D backbone a sense of time.

    p      = KinematicPriorEncoder(norm(x))                what moves, where its edges are
    u, z   = in(norm(x))                                   the scanned stream and its gate
    delta  = dt(x_dt(u)) + W_delta p                       how fast each scanner updates
    B, C   = x_B(u) + W_B p,  x_C(u) + W_C p               what it writes and what it reads
    y      = scan over time, one scanner per site          linear in t, sites independent
             (or another mixer of `pks4.mixers` in its place)
    x      = x + gate * out(y * silu(z))                   gate starts at 0: the identity

Each W starts at 0, so the module starts as an unmodulated SSM. `modulation="multiplicative"` gives
B and C the form x_B(u) * (1 + W_B p). The abstract of arXiv 2604.26461 says that the priors drive
delta, B and C. It gives neither the form, nor sizes, nor the direction of the scan. Each of these
is an option in `pks4.method.options`, which names the source of its default.

`PKS4.forward` takes a whole clip. A causal module also streams: `PKS4.step` takes one frame at a
time, with the same result and a state of constant size.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pks4.checks import at_least_one
from pks4.macs import linear_macs
from pks4.method.options import Options, options_from
from pks4.method.prior import FrameFeatures, KinematicPriorEncoder
from pks4.mixers import create_mixer

Features = Float[Tensor, "b t h w d"]
GATE_GAIN = 10.0  # Adam's steps have a fixed size; with this gain the gate opens in tens of steps


class StreamState(NamedTuple):
    """The state of a causal module after some frames; its size is the mixer's, constant for S6."""

    frames: Int[Tensor, " b"]  # number of frames so far
    sites: int  # of a frame
    last_frame: FrameFeatures  # each (b, h, w, its channels)
    mixer: Any  # of S6: (b, s, inner, n), float32 at least


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
        self.mixers = _mixers(self.inner, dim, options)
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
        return self._gated(self._mixed(u, priors), z).view_as(x)

    def _mixed(self, u: Tensor, priors: Tensor | None) -> Tensor:
        if self.options.direction == "halves":
            parts = u.chunk(2, -1)
            return torch.cat([f(x, priors) for f, x in zip(self.mixers, parts, strict=True)], -1)
        y = self.mixers[0](u, priors)
        return y if len(self.mixers) == 1 else y + self.mixers[1](u, priors)

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
        mixer = self.mixers[0].initial_state(b, h * w)
        frames = zeros(b, dtype=torch.int64)
        return StreamState(frames, h * w, FrameFeatures(compared, reduced), mixer)

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
        b, sites = state.frames.shape[0], state.sites
        if x.ndim != 4 or x.shape[::3] != (b, self.dim) or x.shape[1] * x.shape[2] != sites:
            shape = f"({b}, h, w, {self.dim}) with h * w = {sites}"
            raise ValueError(f"PKS4.step: x must be {shape}, got {tuple(x.shape)}")
        normed, priors, features = self.norm(x), None, state.last_frame
        if self.prior is not None:
            features = self.prior.frame_features(normed)
            priors = self.prior.between(features, state.last_frame).flatten(1, 2)  # (b, s, p)
            priors = priors * (state.frames > 0)[:, None, None]  # the first frame has prior 0
        u, z = self.in_proj(normed).flatten(1, 2).chunk(2, -1)  # (b, s, inner)
        y, mixer = self.mixers[0].step(u, priors, state.mixer)
        change = self._gated(y, z).view_as(x)
        return x + change.to(x.dtype), StreamState(state.frames + 1, sites, features, mixer)

    def _check_causal(self) -> None:
        """Raise ValueError if a frame's result depends on later frames."""
        if option := self.options.looks_forward:
            raise ValueError(
                f"streaming needs every frame's result to be final, but with {option} it depends on"
                " later frames; build with direction='causal', reference_frame='previous' and a"
                " causal mixer"
            )

    def macs(self, b: int, t: int, h: int, w: int) -> int:
        """Closed form of the forward MACs (rule macs/v1)."""
        total = 3 * linear_macs(b * t * h * w, self.dim, self.inner)  # in, gate and out
        total += sum(mixer.macs(b, t, h * w) for mixer in self.mixers)
        return total + (self.prior.macs(b, t, h, w) if self.prior is not None else 0)


def _mixers(inner: int, dim: int, options: Options) -> nn.ModuleList:
    """One mixer forward in time, and one backward unless the module is causal."""
    width = inner // 2 if options.direction == "halves" else inner
    backward = () if options.direction == "causal" else (True,)
    sizes = (options.sizes(width, dim, reverse=r) for r in (False, *backward))
    return nn.ModuleList(create_mixer(options.mixer, each) for each in sizes)
