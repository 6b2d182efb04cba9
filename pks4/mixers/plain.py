"""Mixers without weights: the temporal shift, and the identity as the control of all others.

shift      an eighth of the channels comes from the next frame, an eighth from the one before
identity   y = u: the slot's layers on each frame alone, no time at all
"""

from torch import Tensor

from pks4.mixers.base import Mixer, Sizes, Stream
from pks4.models.temporal_shift import check_n_div, temporal_shift

SHARE = 8  # one part in eight each way, as TSM (arXiv 1811.08383)


class Shift(Mixer):
    """The temporal shift of TSM; it has no gates."""

    causal = False

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        check_n_div(SHARE, sizes.d)
        self.take_priors({})

    def mix(self, u: Stream, priors: Tensor | None) -> Stream:
        """Shift channels by one frame, both ways."""
        return temporal_shift(u, SHARE, -1)

    def macs(self, b: int, t: int, s: int) -> int:
        """None but those of the priors."""
        return self.prior_macs(b * t * s)


class Identity(Mixer):
    """Leaves each frame as it is; priors, if any, are added to it."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.take_priors({})

    def mix(self, u: Stream, priors: Tensor | None) -> Stream:
        """The stream itself."""
        return u

    def initial_state(self, b: int, s: int) -> tuple[()]:
        """No state."""
        return ()

    def mix_frame(
        self, u: Tensor, priors: Tensor | None, state: tuple[()]
    ) -> tuple[Tensor, tuple[()]]:
        """The frame u (b, s, d) itself."""
        return u, state

    def macs(self, b: int, t: int, s: int) -> int:
        """None but those of the priors."""
        return self.prior_macs(b * t * s)
