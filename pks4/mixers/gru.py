"""GRU (arXiv 1406.1078), as `torch.nn.GRU` computes it, one cell per site.

r, z = sigmoid(W u + U h)                              the gates: reset and update
n    = tanh(W_n u + r * (U_n h))
h    = (1 - z) n + z h
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pks4.macs import linear_macs
from pks4.mixers.base import Mixer, Sizes, Stream


class GRU(Mixer):
    """A recurrent layer with d values of state."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        d = sizes.d
        self.from_input = nn.Linear(d, 3 * d)
        self.from_state = nn.Linear(d, 3 * d)
        self.take_priors({"reset_gate": d, "update_gate": d})

    def mix(self, u: Stream, priors: Tensor | None) -> Stream:
        """Frame after frame; the projections of the input are made at once."""
        h, states = torch.zeros_like(u[:, 0]), []
        for driven in zip(*(x.unbind(1) for x in self._drive(u, priors)), strict=True):
            h = self._cell(driven, h)
            states.append(h)
        return torch.stack(states, 1).to(u.dtype)

    def _drive(self, u: Tensor, priors: Tensor | None) -> tuple[Tensor, ...]:
        """What the input says of reset, update and candidate, each (..., d)."""
        reset, update, candidate = self.from_input(u).chunk(3, -1)
        reset = self.modulated("reset_gate", reset, priors)
        return reset, self.modulated("update_gate", update, priors), candidate

    def _cell(self, driven: tuple[Tensor, ...], h: Tensor) -> Tensor:
        reset, update, candidate = driven
        r, z, n = F.linear(h, self.from_state.weight, self.from_state.bias).chunk(3, -1)
        z = (update + z).sigmoid()
        n = torch.tanh(candidate + (reset + r).sigmoid() * n)
        return n + z * (h - n)

    def initial_state(self, b: int, s: int) -> Tensor:
        """The state (b, s, d) before the first frame."""
        return self._zeros(b, s, self.d)

    def mix_frame(self, u: Tensor, priors: Tensor | None, state: Tensor) -> tuple[Tensor, Tensor]:
        """One frame u (b, s, d) from the state (b, s, d)."""
        state = self._cell(self._drive(u, priors), state)
        return state.to(u.dtype), state

    def macs(self, b: int, t: int, s: int) -> int:
        """Closed form: three projections of the input and three of the state."""
        steps = b * t * s
        return 2 * linear_macs(steps, self.d, 3 * self.d) + self.prior_macs(steps)
