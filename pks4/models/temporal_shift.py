"""The temporal shift: some channels of a frame come from its neighbours in time.

One n_div-th of the channels comes from the next frame, another n_div-th from the previous frame,
and the rest stays. A frame beyond the ends of the clip counts as zeros. The shift has no weights
and no multiplications. Convolutions, attention and ViT blocks may follow it: see `tsm`,
`tsm_mobile`, `tsm_vit` and, for another way to treat the ends, `zeroi2v`.

Source: arXiv 1811.08383 and the authors' code (mit-han-lab/temporal-shift-module).
"""

import torch
from torch import Tensor, nn


def temporal_shift(x: Tensor, n_div: int, dim: int) -> Tensor:
    """Shift x (b, t, ...) along time, with channels along `dim`; the shape stays."""
    fold = x.shape[dim] // n_div
    following, preceding, staying = x.split([fold, fold, x.shape[dim] - 2 * fold], dim)
    following = torch.cat([following[:, 1:], torch.zeros_like(following[:, :1])], 1)
    preceding = torch.cat([torch.zeros_like(preceding[:, :1]), preceding[:, :-1]], 1)
    return torch.cat([following, preceding, staying], dim)


class Shifted(nn.Module):
    """A layer `net` on frames x (b*t, c, h, w) after a temporal shift."""

    def __init__(self, net: nn.Module, frames: int, n_div: int) -> None:
        super().__init__()
        self.net, self.frames, self.n_div = net, frames, n_div

    def forward(self, x: Tensor) -> Tensor:
        """Shift, then the layer."""
        clips = x.unflatten(0, (-1, self.frames))  # (b, t, c, h, w)
        return self.net(temporal_shift(clips, self.n_div, dim=2).flatten(0, 1))


def check_n_div(n_div: int, channels: int, name: str = "n_div") -> None:
    """Raise ValueError unless one n_div-th of the channels is at least one and at most half."""
    if not isinstance(n_div, int) or not 2 <= n_div <= channels:
        raise ValueError(
            f"{name} must be a whole number from 2 to the {channels} channels that are shifted, "
            f"got {n_div!r}"
        )
