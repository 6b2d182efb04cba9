"""What every mixer along time has in common: its sizes, and how priors act on it.

A mixer takes a stream u (b, t, s, d) and mixes it along time; sites do not meet. Every mixer stands
between the same two linear layers of the plug-in module in `pks4.method`.

Priors act by one rule. A mixer with gates, values that depend on the input and steer the mixing,
has each gate changed before its activation: gate + W p, or gate * (1 + W p) for those that are
multiplicative. A mixer without gates has its input changed: u + W p. Each W starts at 0, so that a
fresh module is the one without priors.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pks4.checks import at_least_one
from pks4.scan.custom_op import working_dtype

Stream = Float[Tensor, "b t s d"]
Priors = Float[Tensor, "b t s p"] | None
INPUT = "input"  # what priors change in a mixer without gates


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of a mixer; each mixer reads those that it has."""

    d: int  # channels of the stream
    state: int = 16  # n, of a state-space model
    rank: int = 1  # of delta's projection
    heads: int = 4
    kernel: int = 4  # frames that a convolution reads
    reverse: bool = False  # from the last frame to the first
    scan_backend: str = "auto"
    prior_channels: int = 0  # p; 0: no priors
    modulate: Collection[str] | None = None  # the gates that priors change; None: all
    multiplicative: Collection[str] = ()  # those of them that are multiplied

    def head_width(self) -> int:
        """Channels of a head. Raises ValueError unless the heads divide d."""
        at_least_one(heads=self.heads)
        if self.d % self.heads:
            raise ValueError(f"heads must divide the width {self.d} of the mixer, got {self.heads}")
        return self.d // self.heads


class Mixer(nn.Module, ABC):
    """Mixes a stream u (b, t, s, d) along time, separately at each site; the result has u's shape.

    A subclass has `mix` and `macs`. One that streams has `initial_state` and `mix_frame`.
    """

    causal: ClassVar[bool] = True  # whether a frame's result depends on no later frame
    reverses: ClassVar[bool] = False  # whether `mix` runs in reverse where the sizes say so

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.d, self.sizes = sizes.d, sizes

    def take_priors(self, gates: Mapping[str, int]) -> None:
        """Add a projection of the priors for each modulated gate (name -> channels).

        A subclass calls it last in its `__init__`, with no gates if it has none.
        """
        self.prior_proj = nn.ModuleDict()
        if not self.sizes.prior_channels:
            return
        wanted = self.sizes.modulate
        chosen = {k: n for k, n in gates.items() if wanted is None or k in wanted}
        for name, channels in (chosen if gates else {INPUT: self.d}).items():
            self.prior_proj[name] = nn.Linear(self.sizes.prior_channels, channels, bias=False)
            nn.init.zeros_(self.prior_proj[name].weight)

    def modulated(self, name: str, gate: Tensor, priors: Tensor | None) -> Tensor:
        """The gate of this name, (..., channels), after the priors (..., p) acted on it."""
        if name not in self.prior_proj:
            return gate
        change = self.prior_proj[name](priors)
        return gate * (1 + change) if name in self.sizes.multiplicative else gate + change

    def forward(self, u: Stream, priors: Priors = None) -> Stream:
        """Mix u (b, t, s, d) under priors (b, t, s, p), in this mixer's direction of time."""
        u = self.modulated(INPUT, u, priors)
        if self.reverses or not self.sizes.reverse:
            return self.mix(u, priors)
        return self.mix(u.flip(1), None if priors is None else priors.flip(1)).flip(1)

    @abstractmethod
    def mix(self, u: Stream, priors: Priors) -> Stream:
        """Mix u from the first frame to the last; the result has u's dtype."""

    def initial_state(self, b: int, s: int) -> Any:
        """The state before the first frame, for `step`: a tensor or a tuple of tensors."""
        raise self._does_not_stream()

    def step(
        self, u: Float[Tensor, "b s d"], priors: Float[Tensor, "b s p"] | None, state: Any
    ) -> tuple[Float[Tensor, "b s d"], Any]:
        """Mix one frame under its priors: its result, equal to that of `forward`, and the state."""
        return self.mix_frame(self.modulated(INPUT, u, priors), priors, state)

    def mix_frame(
        self, u: Float[Tensor, "b s d"], priors: Float[Tensor, "b s p"] | None, state: Any
    ) -> tuple[Float[Tensor, "b s d"], Any]:
        """What `mix` does, for one frame: its result in u's dtype, and the new state."""
        raise self._does_not_stream()

    def _does_not_stream(self) -> ValueError:
        return ValueError(f"mixer {type(self).__name__} has no step, so it does not stream")

    @abstractmethod
    def macs(self, b: int, t: int, s: int) -> int:
        """Closed form of the forward MACs (rule macs/v1)."""

    def prior_macs(self, steps: int) -> int:
        """MACs of the priors' projections for steps = b * t * s."""
        return steps * sum(p.in_features * p.out_features for p in self.prior_proj.values())

    def _zeros(self, *shape: int) -> Tensor:
        """Zeros of a state: on the device of the weights, float32 at least."""
        weight = next(self.parameters(), torch.empty(0))
        return torch.zeros(shape, dtype=working_dtype(weight), device=weight.device)
