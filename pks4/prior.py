"""Kinematic Prior Encoder: what moved, and where its edges are, from pairs of frames.

Two cues for every site and frame, each against the frame before it, so that the encoder is causal:

- displacement: local correlation of normalised features, read out as the expected offset under a
  softmax over the window, (dy, dx) / reach, with the best match as confidence (3 channels), or as
  the squeezed volume (one linear layer over the window);
- motion boundary: difference of reduced features, smoothed by a depthwise 3x3 filter; the map is
  kept, not pooled.

Both are fused to `channels` values; the first frame, which has no frame before it, has the prior 0.
Offsets off the grid never win: they are -inf before the softmax.

Sources of the forms (the abstract of arXiv 2604.26461 names the cues, not the forms): MotionSqueeze
(arXiv 2007.09933) for correlation at 64 channels and soft-argmax with confidence; SELFY (arXiv
2102.07092) for the squeezed volume; TEA and TDN (arXiv 2004.01398, 2012.10071) for the difference
at channels / 16 with depthwise smoothing.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pks4.correlation import local_correlation, on_grid, window_offsets
from pks4.cost import correlation_macs, linear_macs

ReadOut = Literal["soft_argmax", "squeeze"]
SMOOTHING = 3  # side of the depthwise filter on the difference


class KinematicPriorEncoder(nn.Module):
    """Features (b, t, h, w, d) -> priors (b, t, h, w, channels).

    Args:
        dim: channels d of the features.
        channels: channels of the prior.
        correlation, difference: which cues are computed (at least one).
        correlation_channels: channels of the features that are compared.
        radius, dilation: the window reaches radius * dilation sites to each side.
        readout: "soft_argmax" (3 channels) or "squeeze" (16 channels).
    """

    def __init__(
        self,
        dim: int,
        channels: int = 32,
        *,
        correlation: bool = True,
        difference: bool = True,
        correlation_channels: int = 64,
        radius: int = 3,
        dilation: int = 1,
        readout: ReadOut = "soft_argmax",
    ) -> None:
        super().__init__()
        if not (correlation or difference):
            raise ValueError("KinematicPriorEncoder: correlation or difference must be on")
        if radius < 1 or dilation < 1:
            raise ValueError(f"radius and dilation must be 1 or more, got {radius} and {dilation}")
        if readout not in ("soft_argmax", "squeeze"):
            raise ValueError(f"readout must be 'soft_argmax' or 'squeeze', got {readout!r}")
        self.dim, self.channels, self.readout = dim, channels, readout
        self.radius, self.dilation = radius, dilation
        cues = 0
        if correlation:
            self.compare = nn.Linear(dim, correlation_channels, bias=False)
            self.log_temperature = nn.Parameter(torch.tensor(2.0))
            if readout == "squeeze":
                self.squeeze = nn.Linear((2 * radius + 1) ** 2, 16, bias=False)
            cues += 16 if readout == "squeeze" else 3
        if difference:
            self.reduced = max(4, dim // 16)
            self.reduce = nn.Linear(dim, self.reduced, bias=False)
            self.smooth = nn.Conv2d(
                self.reduced, self.reduced, SMOOTHING, padding=1, groups=self.reduced, bias=False
            )
            cues += self.reduced
        self.correlation, self.difference, self.cues = correlation, difference, cues
        self.fuse = nn.Linear(cues, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Priors of features x (b, t, h, w, d), each frame against the one before."""
        cues = []
        if self.correlation:
            cues.append(self.displacement(x))
        if self.difference:
            cues.append(self.boundary(x))
        priors = F.gelu(self.fuse(torch.cat(cues, -1)))  # (b, t - 1, h, w, channels)
        return F.pad(priors, (0, 0) * 3 + (1, 0))  # the first frame: 0

    def displacement(self, x: Tensor) -> Tensor:
        """Read-out of the correlation of frames 1 … t-1 with 0 … t-2: (b, t-1, h, w, 3 or 16)."""
        b, t, h, w, _ = x.shape
        features = F.normalize(self.compare(x), dim=-1)
        now, before = (f.flatten(0, 1) for f in (features[:, 1:], features[:, :-1]))
        volume = local_correlation(now, before, self.radius, self.dilation)
        read = self.squeeze(volume) if self.readout == "squeeze" else self._soft_argmax(volume)
        return read.view(b, t - 1, h, w, read.shape[-1])

    def _soft_argmax(self, volume: Tensor) -> Tensor:
        h, w = volume.shape[1:3]
        grid = on_grid(h, w, self.radius, self.dilation, volume.device)
        scaled = volume * self.log_temperature.exp()
        weights = torch.softmax(scaled.masked_fill(~grid, float("-inf")), -1)
        offsets = torch.tensor(
            window_offsets(self.radius, self.dilation), dtype=volume.dtype, device=volume.device
        )
        expected = weights @ (offsets / (self.radius * self.dilation))  # (p, h, w, 2)
        best = volume.masked_fill(~grid, -1.0).amax(-1, keepdim=True)  # of cosines
        return torch.cat([expected, best], -1)

    def boundary(self, x: Tensor) -> Tensor:
        """Smoothed difference of frames 1 … t-1 and 0 … t-2: (b, t-1, h, w, reduced)."""
        b, t, h, w, _ = x.shape
        reduced = self.reduce(x)
        difference = (reduced[:, 1:] - reduced[:, :-1]).flatten(0, 1).permute(0, 3, 1, 2)
        return self.smooth(difference).permute(0, 2, 3, 1).reshape(b, t - 1, h, w, self.reduced)

    def macs(self, b: int, t: int, h: int, w: int) -> int:
        """Closed form of the forward MACs (rule macs/v1)."""
        sites, total, offsets = h * w, 0, (2 * self.radius + 1) ** 2
        every, pairs = b * t * sites, b * (t - 1) * sites
        if self.correlation:
            d = self.compare.out_features
            total += linear_macs(every, self.dim, d)
            total += correlation_macs(b * (t - 1), sites, d, offsets)
            total += linear_macs(pairs, offsets, 16 if self.readout == "squeeze" else 2)
        if self.difference:
            total += linear_macs(every, self.dim, self.reduced)
            total += pairs * self.reduced * SMOOTHING**2
        return total + linear_macs(pairs, self.cues, self.channels)
