"""Kinematic Prior Encoder: what moved, and where its edges are, from pairs of frames.

Every site and frame gives two cues. Each compares the frame with a reference frame: the previous
one, which keeps the encoder causal, or the next one (`reference_frame`):

- displacement: local correlation of normalised features, read out as the expected offset under a
  softmax over the window, (dy, dx) / reach, with the best match as confidence (3 channels), or as
  the squeezed volume (one linear layer over the window);
- motion boundary: this frame minus the reference frame in reduced features, smoothed by a depthwise
  3x3 filter if `smooth`; the map keeps its resolution.

A linear layer fuses both to `channels` values. A frame without a reference frame, the first or the
last one, has the prior 0. Offsets off the grid never win: they are -inf before the softmax.

Sources of the forms (the abstract of arXiv 2604.26461 names the cues, not the forms): MotionSqueeze
(arXiv 2007.09933) for correlation at 64 channels and soft-argmax with confidence; SELFY (arXiv
2102.07092) for the squeezed volume; TEA and TDN (arXiv 2004.01398, 2012.10071) for the difference
at channels / 16 with depthwise smoothing.
"""

from typing import NamedTuple, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pks4.checks import at_least_one, one_of
from pks4.macs import correlation_macs, linear_macs
from pks4.method.options import ReadOut, ReferenceFrame
from pks4.models.correlation import local_correlation, on_grid, window_offsets

SMOOTHING = 3  # side of the depthwise filter on the difference
SQUEEZED = 16  # channels of the squeezed volume


Features = Float[Tensor, "b t h w d"]


class FrameFeatures(NamedTuple):
    """The features of frames that the two cues compare; None for a cue that is off."""

    compared: Float[Tensor, "*lead h w c"] | None  # for displacement: unit vectors
    reduced: Float[Tensor, "*lead h w r"] | None  # for the motion boundary


class KinematicPriorEncoder(nn.Module):
    """Features (b, t, h, w, d) -> priors (b, t, h, w, channels).

    Args:
        dim: channels d of the features.
        channels: channels of the prior.
        correlation, difference: whether to compute each cue; at least one.
        correlation_channels: channels of the features that the correlation compares.
        radius, dilation: the window reaches radius * dilation sites to each side.
        readout: "soft_argmax" (3 channels) or "squeeze" (16 channels).
        smooth: whether to smooth the difference by the depthwise filter.
        reference_frame: "previous" or "next".

    Raises ValueError for values out of range.
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
        smooth: bool = True,
        reference_frame: ReferenceFrame = "previous",
    ) -> None:
        super().__init__()
        if not (correlation or difference):
            raise ValueError("KinematicPriorEncoder: correlation or difference must be on")
        at_least_one(dim=dim, channels=channels, correlation_channels=correlation_channels)
        at_least_one(radius=radius, dilation=dilation)
        one_of("readout", readout, get_args(ReadOut))
        one_of("reference_frame", reference_frame, get_args(ReferenceFrame))
        self.dim, self.channels, self.readout = dim, channels, readout
        self.radius, self.dilation, self.reference_frame = radius, dilation, reference_frame
        cues = 0
        if correlation:
            self.compare = nn.Linear(dim, correlation_channels, bias=False)
            self.log_temperature = nn.Parameter(torch.tensor(2.0))
            if readout == "squeeze":
                self.squeeze = nn.Linear((2 * radius + 1) ** 2, SQUEEZED, bias=False)
            cues += SQUEEZED if readout == "squeeze" else 3
        if difference:
            self.reduced = max(4, dim // 16)
            self.reduce = nn.Linear(dim, self.reduced, bias=False)
            self.smooth = _smoothing(self.reduced) if smooth else nn.Identity()
            cues += self.reduced
        self.correlation, self.difference, self.cues = correlation, difference, cues
        self.fuse = nn.Linear(cues, channels, bias=False)

    def forward(self, x: Features) -> Float[Tensor, "b t h w p"]:
        """Priors of features x (b, t, h, w, d), each frame against its reference frame."""
        priors = self.between(*self._pairs(self.frame_features(x)))  # (b, t - 1, h, w, channels)
        missing = (1, 0) if self.reference_frame == "previous" else (0, 1)
        return F.pad(priors, (0, 0) * 3 + missing)

    def frame_features(self, x: Float[Tensor, "*lead h w d"]) -> FrameFeatures:
        """The features of frames x (..., h, w, d) that the cues compare."""
        compared = F.normalize(self.compare(x), dim=-1) if self.correlation else None
        return FrameFeatures(compared, self.reduce(x) if self.difference else None)

    def between(
        self, frames: FrameFeatures, references: FrameFeatures
    ) -> Float[Tensor, "*lead h w p"]:
        """Priors (..., h, w, channels) of frames, each against its reference frame."""
        cues = []
        if self.correlation:
            cues.append(self._displacement(frames.compared, references.compared))
        if self.difference:
            cues.append(self._boundary(frames.reduced, references.reduced))
        return F.gelu(self.fuse(torch.cat(cues, -1)))

    def displacement(self, x: Features) -> Float[Tensor, "b t-1 h w c"]:
        """Read-out of each frame's correlation with its reference: (b, t-1, h, w, 3 or 16)."""
        frames, references = self._pairs(self.frame_features(x))
        return self._displacement(frames.compared, references.compared)

    def boundary(self, x: Features) -> Float[Tensor, "b t-1 h w r"]:
        """Difference of each frame and its reference: (b, t-1, h, w, reduced)."""
        frames, references = self._pairs(self.frame_features(x))
        return self._boundary(frames.reduced, references.reduced)

    def _pairs(self, features: FrameFeatures) -> tuple[FrameFeatures, FrameFeatures]:
        """The t - 1 frames that have a reference frame, and those reference frames."""
        early = FrameFeatures(*(x if x is None else x[:, :-1] for x in features))
        late = FrameFeatures(*(x if x is None else x[:, 1:] for x in features))
        return (late, early) if self.reference_frame == "previous" else (early, late)

    def _displacement(
        self, frames: Float[Tensor, "*lead h w c"], references: Float[Tensor, "*lead h w c"]
    ) -> Float[Tensor, "*lead h w out"]:
        lead = frames.shape[:-3]
        a, b = (x.reshape(-1, *x.shape[-3:]) for x in (frames, references))
        volume = local_correlation(a, b.to(a.dtype), self.radius, self.dilation)
        out = self.squeeze(volume) if self.readout == "squeeze" else self._soft_argmax(volume)
        return out.view(*lead, *out.shape[1:])

    def _soft_argmax(self, volume: Float[Tensor, "p h w k"]) -> Float[Tensor, "p h w 3"]:
        h, w = volume.shape[1:3]
        grid = on_grid(h, w, self.radius, self.dilation, volume.device).flatten(0, 1)
        # Sites are one dimension here. With two, PyTorch 2.14's compiler takes the tensor for an
        # image, and the code that it writes for amax writes beyond the end of its result.
        volume = volume.flatten(1, 2)  # (p, sites, k)
        scaled = volume * self.log_temperature.exp()
        weights = torch.softmax(scaled.masked_fill(~grid, float("-inf")), -1)
        offsets = torch.tensor(
            window_offsets(self.radius, self.dilation), dtype=volume.dtype, device=volume.device
        )
        expected = weights @ (offsets / (self.radius * self.dilation))  # (p, sites, 2)
        best = volume.masked_fill(~grid, -1.0).amax(-1, keepdim=True)  # a cosine
        return torch.cat([expected, best], -1).unflatten(1, (h, w))

    def _boundary(
        self, frames: Float[Tensor, "*lead h w r"], references: Float[Tensor, "*lead h w r"]
    ) -> Float[Tensor, "*lead h w r"]:
        difference = frames - references  # (..., h, w, reduced)
        maps = difference.reshape(-1, *difference.shape[-3:]).permute(0, 3, 1, 2)
        return self.smooth(maps).permute(0, 2, 3, 1).reshape(difference.shape)

    def macs(self, b: int, t: int, h: int, w: int) -> int:
        """Closed form of the forward MACs (rule macs/v1)."""
        sites, total, offsets = h * w, 0, (2 * self.radius + 1) ** 2
        all_sites, pairs = b * t * sites, b * (t - 1) * sites
        if self.correlation:
            d = self.compare.out_features
            total += linear_macs(all_sites, self.dim, d)
            total += correlation_macs(b * (t - 1), sites, d, offsets)
            total += linear_macs(pairs, offsets, SQUEEZED if self.readout == "squeeze" else 2)
        if self.difference:
            total += linear_macs(all_sites, self.dim, self.reduced)
            if isinstance(self.smooth, nn.Conv2d):
                total += pairs * self.reduced * SMOOTHING**2
        return total + linear_macs(pairs, self.cues, self.channels)


def _smoothing(d: int) -> nn.Conv2d:
    return nn.Conv2d(d, d, SMOOTHING, padding=SMOOTHING // 2, groups=d, bias=False)
