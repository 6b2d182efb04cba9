"""PKS4 in the middle of a per-frame 2D backbone, as a contestant: one module, silent at the start.

Backbone up to the insertion point -> PKS4 -> rest of the backbone -> mean over time and sites ->
linear head. `insert_after` says where the module sits. With `frozen=True` (the default) the layers
below the module keep no activations, and those above it pass the gradient on with weights that stay
as they are; with `frozen=False` the backbone trains too. This is a reconstruction from the abstract
of arXiv 2604.26461, which names neither the backbone, nor whether it is frozen, nor where the
module sits.

`build` makes the contestant from sizes; `plug_in` adds the module to any timm model.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pks4.checks import at_least_one
from pks4.macs import linear_macs
from pks4.method.module import PKS4, StreamState
from pks4.method.options import Options, options_from
from pks4.models.backbone import PerFrameBackbone
from pks4.models.timm_blocks import Place, stages_of
from pks4.weights.files import load_backbone, load_weights

FAMILY = "PKS4"
PAPER = "https://arxiv.org/abs/2604.26461"
IMAGE_TWIN = "frame_mean"
OFFICIAL_CODE = None  # none was published
PLACE = "one module, in the middle of the backbone (`insert_after`: anywhere, or on top)"
TRAINED = "the module and the head (backbone tuned: all)"
STAGES = {"temporal": ("temporal",), "head": ("head",)}
VARIANTS = {
    "frozen": {},
    "tuned": {"frozen": False},
    "on top": {"insert_after": "top"},
    "no priors": {"modulate": []},
    "both directions": {"direction": "bidirectional"},
    "eager": {"frozen": False, "attention": "eager"},
}
# The place is stated at each scale, so that it is in the options of every record: those made when
# the module stood on top by default have none, and are another case.
SCALES = {
    "paper": {
        "width": 768,
        "depth": 12,
        "heads": 12,
        "patch_size": 16,
        "image_size": 224,
        "insert_after": "middle",
    },
    "tiny": {
        "width": 96,
        "depth": 4,
        "heads": 3,
        "patch_size": 8,
        "image_size": 64,
        "insert_after": "middle",
        "expand": 1.0,
        "state": 8,
        "radius": 2,
    },
}
MORE_OPTIONS = (  # the fields of Options, a literal that the catalogue reads without torch
    "mixer",
    "state",
    "expand",
    "rank",
    "heads",
    "kernel",
    "direction",
    "modulation",
    "modulate",
    "correlation",
    "difference",
    "prior_channels",
    "correlation_channels",
    "radius",
    "dilation",
    "readout",
    "smooth",
    "reference_frame",
    "scan_backend",
    "checkpoint",
)


def build(
    *,
    frames: int,
    num_classes: int,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    patch_size: int = 16,
    image_size: int = 224,
    backbone: str = "vit",
    frozen: bool = True,
    insert_after: Place = "middle",
    frame_chunk: int = 64,
    attention: str = "sdpa",
    **module,
) -> "PKS4Video":
    """PKS4 for clips of any number of frames; `module` holds fields of `Options`.

    `insert_after`, `frame_chunk` and `attention` are those of `PerFrameBackbone`. `checkpoint`
    applies to the module and to every stage of the backbone that autograd records.
    """
    sizes = {"width": width, "depth": depth, "heads": heads, "patch_size": patch_size}
    place = {"insert_after": insert_after, "frame_chunk": frame_chunk, "image_size": image_size}
    mode = {"frozen": frozen, "attention": attention}
    options = options_from(module)
    return _with_module(backbone, num_classes, frames, options, **mode, **place, **sizes)


def _with_module(
    backbone: str, num_classes: int, frames: int | None, options: Options, **backbone_options
) -> "PKS4Video":
    """PKS4 on a backbone that `PerFrameBackbone` makes from `backbone_options`."""
    net = PerFrameBackbone(backbone, checkpoint=options.checkpoint, **backbone_options)
    return PKS4Video(net, num_classes, frames, options)


def plug_in(
    backbone_name: str,
    num_classes: int,
    *,
    frozen: bool = True,
    insert_after: Place = "middle",
    image_size: int | tuple[int, int] | None = None,
    weights: str | Path | None = None,
    frame_chunk: int = 64,
    **options,
) -> "PKS4Video":
    """A video model on any timm backbone: video (b, t, 3, h, w) -> logits, any t ≥ 1.

    Args:
        backbone_name: a timm model name, or "vit" and "vit_clip" (ViT-B/16).
        num_classes: logits.
        frozen, insert_after, frame_chunk: as in `PerFrameBackbone`.
        image_size: side or (h, w) of a frame in pixels; None: the backbone's default.
        weights: a local checkpoint of the image model, see `load_weights`; None: random ones.
        options: fields of `pks4.method.options.Options`.

    Downloads nothing. Raises ValueError for an unknown name or option, for an `insert_after` that
    the backbone lacks, and for weights that do not fit. A backbone whose blocks are not known takes
    `insert_after="top"` alone.
    """
    arguments = ("frozen", "insert_after", "image_size", "weights", "frame_chunk")
    module_options = options_from(options, also=arguments)
    place = {"insert_after": insert_after, "frame_chunk": frame_chunk, "image_size": image_size}
    model = _with_module(backbone_name, num_classes, None, module_options, frozen=frozen, **place)
    if weights is not None:
        load_weights(model.backbone.net, weights)
    return model


class VideoState(NamedTuple):
    """The state of a streaming video model; its size is constant."""

    temporal: StreamState
    total: Float[Tensor, "b d"]  # of all features so far: mean over sites, sum over frames


class PKS4Video(nn.Module):
    """Video (b, t, 3, h, w) -> logits (b, num_classes); any t ≥ 1."""

    def __init__(
        self, backbone: PerFrameBackbone, num_classes: int, frames: int | None, options: Options
    ) -> None:
        super().__init__()
        at_least_one(num_classes=num_classes)
        self.frames = frames
        self.backbone = backbone
        self.temporal = PKS4(backbone.insertion_shape[2], options)
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
        x, _ = self.backbone.above(self.temporal(x), prefix)
        return self.head(_pooled(x))

    def initial_state(self, b: int) -> VideoState:
        """The state before the first frame of b clips. Raises ValueError as `PKS4.step` does."""
        h, w, _ = self.backbone.insertion_shape
        total = self.head.weight.new_zeros(b, self.backbone.dim)
        return VideoState(self.temporal.initial_state(b, h, w), total)

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
        total = state.total + _pooled(x)
        return self.head(total / temporal.frames[:, None]), VideoState(temporal, total)

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
