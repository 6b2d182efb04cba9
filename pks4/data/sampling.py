"""Which frames and which crops of a video a model sees, as published.

Frames: *segments* cut the video into t equal parts and take one frame of each, a random one in
training and the middle one in testing (TSN, Wang et al. 2016, arXiv 1608.00859).  *Dense* takes t
frames with stride s, from a random start in training, and in testing from the middle or from
several evenly spread starts (Non-local, Wang et al. 2018, arXiv 1711.07971; SlowFast, arXiv
1812.03982).  A video shorter than the span repeats its last frame, and the record says so;
published recipes do the same or wrap around.

Crops: training draws the short side between two sizes and cuts a random square (SlowFast: 256 to
320, 224), or resizes a part of random area and shape (Inception's crop, arXiv 1409.4842).  Testing
resizes the short side and takes one centre square, or three squares along the long side.  Views are
clips x crops, and their softmax outputs are averaged (SlowFast: 10 x 3; TSM and SSv2 recipes: 2 x
3).

Letters: v views, t frames, h w rows and columns.
"""

from itertools import pairwise
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import RandomResizedCrop
from torchvision.transforms.v2 import functional as F

from pks4.data.errors import DataError


class Sampling(BaseModel):
    """The settings of one split; `describe` gives them for a record.

    `frames` of a clip; `stride` in frames, for dense; `clips` and `crops` of an evaluation; `size`
    of the square in pixels; `short_side` the range to draw from in training (testing takes its
    lower end); `crop` the kind of crop in training; `flip` the probability of a mirror in training.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: Literal["segments", "dense"]
    frames: int = Field(ge=1)
    stride: int = Field(default=1, ge=1)
    clips: int = Field(default=1, ge=1)
    crops: Literal[1, 3] = 1
    size: int = Field(default=224, ge=1)
    short_side: tuple[int, int] = (256, 320)
    crop: Literal["jitter", "area"] = "jitter"
    area: tuple[float, float] = (0.08, 1.0)
    flip: float = Field(default=0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _sane(self) -> "Sampling":
        low, high = self.short_side
        if not self.size <= low <= high:
            raise ValueError(f"short_side {self.short_side} must rise, from size {self.size} on")
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise ValueError(f"area {self.area} must rise within (0, 1]")
        return self

    @property
    def views(self) -> int:
        """Views of a clip in evaluation."""
        return self.clips * self.crops

    @property
    def fixed_side(self) -> int | None:
        """The short side to which every training clip is resized; None if it is drawn."""
        low, high = self.short_side
        return low if self.crop == "jitter" and low == high else None

    def describe(self) -> dict[str, Any]:
        """All settings, and the rules by name, for a record."""
        return {**self.model_dump(mode="json"), "views": self.views, "short_video": "last frame"}


def train_frames(sampling: Sampling, num_frames: int, generator: torch.Generator) -> list[int]:
    """Frames of one training clip."""
    if sampling.rule == "segments":
        edges = [k * num_frames // sampling.frames for k in range(sampling.frames + 1)]
        return [
            low + _draw(max(high - low, 1), generator) for low, high in pairwise(edges)
        ]  # an empty segment takes the frame at its start
    return _dense(sampling, num_frames, _draw(_starts(sampling, num_frames), generator))


def eval_frames(sampling: Sampling, num_frames: int) -> list[list[int]]:
    """Frames of each clip of an evaluation.

    Segments: clip k of n takes the point (2k + 1) / 2n of each segment; one clip takes the middle.
    Dense: one clip starts in the middle, several start from the first to the last possible frame.
    """
    t, n = sampling.frames, sampling.clips
    if sampling.rule == "segments":
        return [
            [(2 * n * j + 2 * k + 1) * num_frames // (2 * n * t) for j in range(t)]
            for k in range(n)
        ]
    last = _starts(sampling, num_frames) - 1
    starts = [last // 2] if n == 1 else [round(k * last / (n - 1)) for k in range(n)]
    return [_dense(sampling, num_frames, start) for start in starts]


def train_picture(
    sampling: Sampling, video: torch.Tensor, generator: torch.Generator, *, may_flip: bool
) -> torch.Tensor:
    """A clip (t, 3, h, w) uint8 cropped to (t, 3, size, size), the same crop in all frames."""
    if sampling.crop == "area":
        top, left, height, width = _area(sampling, video, generator)
        video = F.resized_crop(
            video, top, left, height, width, [sampling.size, sampling.size],
            interpolation=InterpolationMode.BILINEAR, antialias=True,
        )  # fmt: skip
    else:
        low, high = sampling.short_side
        video = resize(video, low + _draw(high - low + 1, generator))
        top, left = (_draw(side - sampling.size + 1, generator) for side in video.shape[-2:])
        video = F.crop(video, top, left, sampling.size, sampling.size)
    mirrored = float(torch.rand((), generator=generator)) < sampling.flip
    return F.horizontal_flip(video) if may_flip and mirrored else video


def eval_pictures(sampling: Sampling, video: torch.Tensor) -> torch.Tensor:
    """A clip (t, 3, h, w) uint8 as its crops (crops, t, 3, size, size).

    One crop is the centre. Three crops lie at the start, middle and end of the long side, with the
    short side resized to the square (as SlowFast and its successors do).
    """
    size = sampling.size
    if sampling.crops == 1:
        return F.center_crop(resize(video, sampling.short_side[0]), [size, size])[None]
    video = resize(video, size)
    height, width = video.shape[-2:]
    slack = (height - size, width - size)
    corners = [(0, 0), (slack[0] // 2, slack[1] // 2), slack]
    return torch.stack([F.crop(video, top, left, size, size) for top, left in corners])


def resize(video: torch.Tensor, short_side: int) -> torch.Tensor:
    """Frames resized to a short side of `short_side` pixels; keeps the proportions."""
    return F.resize(video, [short_side], interpolation=InterpolationMode.BILINEAR, antialias=True)


def mean_over_views(logits: torch.Tensor) -> torch.Tensor:
    """Class probabilities (b, classes): the mean over views of the softmax of (b, v, classes)."""
    if logits.ndim != 3:
        raise DataError(f"logits are {tuple(logits.shape)}; give (b, v, classes)")
    return logits.float().softmax(-1).mean(1)


def _starts(sampling: Sampling, num_frames: int) -> int:
    """Number of possible first frames of a dense clip, at least one."""
    return max(num_frames - (sampling.frames - 1) * sampling.stride, 1)


def _dense(sampling: Sampling, num_frames: int, start: int) -> list[int]:
    return [min(start + k * sampling.stride, num_frames - 1) for k in range(sampling.frames)]


def _draw(below: int, generator: torch.Generator) -> int:
    return int(torch.randint(below, (), generator=generator))


def _area(sampling: Sampling, video: torch.Tensor, generator: torch.Generator) -> list[int]:
    """torchvision's random crop, seeded by `generator` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_draw(2**31, generator))
        part = RandomResizedCrop(sampling.size, scale=sampling.area).make_params([video])
    return [part[name] for name in ("top", "left", "height", "width")]
