"""Attention on top (temporal attention): a small transformer over time on frames' features.

Each frame becomes one vector, the mean of the backbone's features over its places. A transformer
with learned positions reads a cls token and these vectors. This is the simplest way to add
attention in time to any image model, CNN or ViT, frozen or tuned.

Source: ours; it is the late fusion of ViViT's factorised encoder (arXiv 2103.15691) on another
backbone.
"""

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from pks4.checks import at_least_one
from pks4.macs import linear_macs, vit_block_macs
from pks4.models.attention import declare_attention
from pks4.models.backbone import PerFrameBackbone, check_video
from pks4.weights.files import load_backbone

FAMILY = "temporal attention"
PAPER = "https://arxiv.org/abs/2103.15691"
IMAGE_TWIN = "frame_mean"
OFFICIAL_CODE = None  # ours
PLACE = "on top: a transformer over the frames' mean features"
TRAINED = "all (backbone frozen: transformer and head)"
STAGES = {"temporal": ("embed", "temporal"), "head": ("head",)}
VARIANTS = {
    "tuned": {},
    "frozen": {"frozen": True},
    "on a CNN": {"backbone": "mobilenetv2_035", "temporal_heads": 4},
    "eager": {"attention": "eager"},
}
SCALES = {
    "paper": {
        "width": 768,
        "depth": 12,
        "heads": 12,
        "patch_size": 16,
        "image_size": 224,
        "temporal_depth": 4,
        "temporal_heads": 12,
    },
    "tiny": {
        "width": 96,
        "depth": 4,
        "heads": 3,
        "patch_size": 8,
        "image_size": 64,
        "temporal_depth": 2,
        "temporal_heads": 3,
    },
}


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
    frozen: bool = False,
    temporal_depth: int = 4,
    temporal_heads: int = 12,
    temporal_width: int | None = None,
    attention: str = "sdpa",
) -> "AttentionOnTop":
    """Attention over exactly `frames` frames.

    `temporal_width` is the width of the transformer, behind a linear layer; None: that of the
    features.
    """
    at_least_one(temporal_depth=temporal_depth, temporal_heads=temporal_heads)
    sizes = {"width": width, "depth": depth, "heads": heads, "patch_size": patch_size}
    kernel = {} if backbone not in ("vit", "vit_clip") else {"attention": attention}
    net = PerFrameBackbone(backbone, image_size=image_size, frozen=frozen, **kernel, **sizes)
    d = temporal_width or net.dim
    if d % temporal_heads:
        raise ValueError(f"temporal_heads must divide the width {d}, got {temporal_heads}")
    model = AttentionOnTop(net, num_classes, frames, d, temporal_depth, temporal_heads)
    declare_attention(model.temporal, attention)
    return model


class AttentionOnTop(nn.Module):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    def __init__(
        self,
        backbone: PerFrameBackbone,
        num_classes: int,
        frames: int,
        d: int,
        depth: int,
        heads: int,
    ) -> None:
        super().__init__()
        self.follows = {"temporal": "backbone"}
        self.frames, self.backbone = frames, backbone
        self.embed = nn.Identity() if d == backbone.dim else nn.Linear(backbone.dim, d)
        self.cls = nn.Parameter(torch.zeros(1, 1, d))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 1 + frames, d))
        self.temporal = nn.Sequential(*(Block(d, heads, qkv_bias=True) for _ in range(depth)))
        self.norm = nn.LayerNorm(d)
        self.head = nn.Linear(d, num_classes)

    def forward(self, video: Tensor) -> Tensor:
        """Logits of each clip."""
        check_video(video, self.backbone.image_size, self.frames)
        return self.from_features(self.backbone.features(video))

    @property
    def frozen_part(self) -> PerFrameBackbone | None:
        """The backbone if it is frozen."""
        return self.backbone if self.backbone.frozen else None

    def from_features(self, features: Tensor) -> Tensor:
        """Logits from the backbone's `features` of each clip."""
        x = self.embed(self.backbone.unpacked(features)[0].mean((2, 3)))  # (b, t, d)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.positions
        return self.head(self.norm(self.temporal(x)[:, 0]))

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage."""
        d, dim = self.head.in_features, self.backbone.dim
        embed = 0 if isinstance(self.embed, nn.Identity) else linear_macs(self.frames, dim, d)
        over_time = len(self.temporal) * vit_block_macs(1, 1 + self.frames, d)
        return {
            "backbone": self.backbone.macs(batch * self.frames),
            "temporal": batch * (embed + over_time),
            "head": linear_macs(batch, d, self.head.out_features),
        }

    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Load the backbone of the image twin; the transformer keeps its initial weights."""
        load_backbone(self.backbone, state)
