"""The temporal shift: some channels of a frame are those of the frames beside it.

Of the channels one n_div-th comes from the next frame, another from the frame before, the rest
stays; beyond the ends there are zeros. No weights, no multiplications.

Source: arXiv 1811.08383 and the authors' code (mit-han-lab/temporal-shift-module).
"""

import torch
from torch import Tensor


def temporal_shift(x: Tensor, n_div: int, dim: int) -> Tensor:
    """Shift x (b, t, ...), whose channels lie along `dim`; the same shape."""
    fold = x.shape[dim] // n_div
    following, preceding, staying = x.split([fold, fold, x.shape[dim] - 2 * fold], dim)
    following = torch.cat([following[:, 1:], torch.zeros_like(following[:, :1])], 1)
    preceding = torch.cat([torch.zeros_like(preceding[:, :1]), preceding[:, :-1]], 1)
    return torch.cat([following, preceding, staying], dim)


def check_n_div(n_div: int, channels: int, name: str = "n_div") -> None:
    """Raise ValueError unless one n_div-th of the channels is some of them, and half at most."""
    if not isinstance(n_div, int) or not 2 <= n_div <= channels:
        raise ValueError(
            f"{name} must be a whole number from 2 to the {channels} channels that are shifted, "
            f"got {n_div!r}"
        )
