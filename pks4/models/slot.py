"""A video model with a slot in the middle of a per-frame 2D backbone, for any module along time.

Backbone up to the insertion point -> module -> rest of the backbone -> mean over time and sites ->
linear head. The module takes features (b, t, h, w, d) and gives features of the same shape and
dtype. PKS4 stands in this slot, and so does a module of the user's own, so that only the module
differs.

Methods that a module may have, and what the model then has:

    macs(b, t, h, w) -> int                        macs, the closed form by stage
    initial_state(b, h, w), step(x, state)         initial_state, step: frame after frame
"""

from collections.abc import Callable
from types import MethodType
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pks4.checks import at_least_one
from pks4.macs import linear_macs
from pks4.models.backbone import PerFrameBackbone
from pks4.models.timm_blocks import stages_of
from pks4.weights.files import load_backbone


def with_module(
    make: Callable[[int], nn.Module],
    *,
    num_classes: int,
    backbone: str,
    frames: int | None = None,
    **backbone_options,
) -> "SlotModel":
    """The module that `make` gives for d channels, in the slot of a backbone.

    `backbone` and `backbone_options` are those of `PerFrameBackbone`; `frames` are those that
    `macs` counts by default.
    """
    net = PerFrameBackbone(backbone, **backbone_options)
    return SlotModel(net, make(net.insertion_shape[2]), num_classes, frames)


class VideoState(NamedTuple):
    """The state of a streaming video model; its size is that of the module's state."""

    temporal: Any  # of the module
    total: Float[Tensor, "b d"]  # of all features so far: mean over sites, sum over frames
    frames: int  # so far


class _IfModuleHasIt:
    """A method that the model has only if its module has one of the same name."""

    def __init__(self, method: Callable) -> None:
        self.method = method

    def __get__(self, model: "SlotModel | None", _: type) -> Callable:
        if model is None:
            return self.method
        name = self.method.__name__
        if not hasattr(model.temporal, name):
            raise AttributeError(f"{type(model.temporal).__name__} has no {name}")
        return MethodType(self.method, model)


class SlotModel(nn.Module):
    """Video (b, t, 3, h, w) -> logits (b, num_classes); any t ≥ 1 that the module takes."""

    def __init__(
        self, backbone: PerFrameBackbone, module: nn.Module, num_classes: int, frames: int | None
    ) -> None:
        super().__init__()
        at_least_one(num_classes=num_classes)
        self.frames = frames
        self.backbone = backbone
        self.temporal = module
        self.head = nn.Linear(backbone.dim, num_classes)

    @property
    def place(self) -> str:
        """Where the module stands, such as "after block 6 of 12"."""
        return self.backbone.place

    @property
    def follows(self) -> dict[str, str]:
        """The module and the block that it stands after, or the backbone, for layer decay."""
        below = stages_of(self.backbone.net)[self.backbone.cut - 1]
        return {"temporal": next((n for n, m in self.named_modules() if m is below), "backbone")}

    def forward(self, video: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b classes"]:
        """Logits of each clip."""
        return self.from_features(self.backbone.features(video))

    @property
    def frozen_part(self) -> PerFrameBackbone | None:
        """The backbone if it is frozen; its features are the same in every epoch."""
        return self.backbone if self.backbone.frozen else None

    def from_features(self, features: Float[Tensor, "b t ..."]) -> Float[Tensor, "b classes"]:
        """Logits from the backbone's `features` of each clip."""
        x, prefix = self.backbone.unpacked(features)  # (b, t, h', w', d)
        y = self.temporal(x)
        if y.shape != x.shape:
            name, shapes = type(self.temporal).__name__, (tuple(x.shape), tuple(y.shape))
            raise ValueError(f"{name}: must keep the shape {shapes[0]}, but gives {shapes[1]}")
        x, _ = self.backbone.above(y, prefix)
        return self.head(_pooled(x))

    @_IfModuleHasIt
    def initial_state(self, b: int) -> VideoState:
        """The state before the first frame of b clips. Raises ValueError as the module does."""
        h, w, _ = self.backbone.insertion_shape
        total = self.head.weight.new_zeros(b, self.backbone.dim)
        return VideoState(self.temporal.initial_state(b, h, w), total, 0)

    @_IfModuleHasIt
    @torch.no_grad()
    def step(
        self, frame: Float[Tensor, "b 3 h w"], state: VideoState
    ) -> tuple[Float[Tensor, "b classes"], VideoState]:
        """Process one frame (b, 3, h, w): logits of the clips so far, and the new state.

        In eval mode the logits equal those of `forward` on all frames so far, up to rounding.
        """
        x, prefix = self.backbone.below(frame[:, None])
        y, temporal = self.temporal.step(x[:, 0], state.temporal)
        x, _ = self.backbone.above(y[:, None], prefix)
        total, frames = state.total + _pooled(x), state.frames + 1
        return self.head(total / frames), VideoState(temporal, total, frames)

    @_IfModuleHasIt
    def macs(self, batch: int = 1, frames: int | None = None) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage, at `frames` or as built."""
        frames = frames or self.frames
        if frames is None:
            raise ValueError("macs: this model takes any number of frames; give macs(frames=…)")
        h, w, _ = self.backbone.insertion_shape
        return {
            "backbone": self.backbone.macs(batch * frames),
            "temporal": self.temporal.macs(batch, frames, h, w),
            "head": linear_macs(batch, self.head.in_features, self.head.out_features),
        }

    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Load the backbone of the image twin, without its head."""
        load_backbone(self.backbone, state)


def _pooled(x: Float[Tensor, "b t h w d"]) -> Float[Tensor, "b d"]:
    """Mean over time and sites: (b, t, h, w, d) -> (b, d).

    The last bit of a sum depends on the memory layout of x. A contiguous x makes it the same for
    all.
    """
    return x.contiguous().mean((1, 2, 3))
