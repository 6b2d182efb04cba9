"""STEP probe (probes): one cls token attends to all frozen tokens, each with its frame's position.

A sketch of ours, not a reproduction: only the abstract of the paper could be read, and its code is
not published. The abstract has a learned position for each frame, one cls token for the clip, and
an attention with about a third of the parameters of an attentive probe, which this layer has too.
Only the row of the cls token is computed. b clips, t frames, n patches of a frame, d channels.

Source: the abstract of arXiv 2503.24298.
"""

import torch
from torch import Tensor, nn

from pks4.checks import at_least_one
from pks4.macs import attention_macs, linear_macs
from pks4.models.attention import attend
from pks4.models.backbone import PerFrameBackbone
from pks4.models.probe import Probe, frozen_backbone

FAMILY = "probes"
PAPER = "https://arxiv.org/abs/2503.24298"
IMAGE_TWIN = "frame_mean"
OFFICIAL_CODE = None  # the repository that the paper names holds no code
PLACE = "on top: one attention of a cls token over all tokens of the clip"
TRAINED = "probe and head"
STAGES = {"temporal": ("pooler",), "head": ("head",)}
VARIANTS = {"sketch": {}, "eager": {"attention": "eager"}}
SCALES = {
    "paper": {
        "width": 768,
        "depth": 12,
        "heads": 12,
        "patch_size": 16,
        "image_size": 224,
        "probe_heads": 12,
    },
    "tiny": {
        "width": 96,
        "depth": 4,
        "heads": 3,
        "patch_size": 8,
        "image_size": 64,
        "probe_heads": 3,
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
    probe_heads: int = 12,
    attention: str = "sdpa",
) -> "StepProbe":
    """The sketch for clips of exactly `frames` frames; `probe_heads` must divide the channels."""
    at_least_one(probe_heads=probe_heads)
    sizes = {"width": width, "depth": depth, "heads": heads, "patch_size": patch_size}
    net = frozen_backbone(backbone, image_size=image_size, attention=attention, **sizes)
    if net.dim % probe_heads:
        raise ValueError(f"probe_heads must divide the {net.dim} channels, got {probe_heads}")
    return StepProbe(net, num_classes, ClipToken(net.dim, frames, probe_heads, attention))


class ClipToken(nn.Module):
    """Tokens (b, t, n, d) -> the clip's cls token (b, d) after one pre-norm attention."""

    def __init__(self, d: int, frames: int, heads: int, attention: str) -> None:
        super().__init__()
        self.frames, self.heads, self.attention = frames, heads, attention
        self.positions = nn.Parameter(0.02 * torch.randn(frames, 1, d))
        self.cls = nn.Parameter(0.02 * torch.randn(1, 1, d))
        self.norm = nn.LayerNorm(d)
        self.q = nn.Linear(d, d)
        self.kv = nn.Linear(d, 2 * d)
        self.proj = nn.Linear(d, d)
        self.last_norm = nn.LayerNorm(d)

    def forward(self, x: Tensor) -> Tensor:
        """The cls token, and what it finds among all tokens and itself."""
        cls = self.cls.expand(len(x), -1, -1)
        z = self.norm(torch.cat([cls, (x + self.positions).flatten(1, 2)], 1))  # (b, 1 + t*n, d)
        q = self._split(self.q(z[:, :1]))
        k, v = map(self._split, self.kv(z).chunk(2, -1))
        found = attend(q, k, v, self.attention).transpose(1, 2).flatten(2)
        return self.last_norm(cls + self.proj(found))[:, 0]

    def _split(self, x: Tensor) -> Tensor:
        """(b, n, d) -> (b, heads, n, d / heads)."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def macs(self, batch: int, tokens: int) -> int:
        """MACs of `batch` clips of so many tokens besides the cls token."""
        d = self.cls.shape[-1]
        linears = linear_macs(1, d, 2 * d) + linear_macs(1 + tokens, d, 2 * d)
        return batch * (linears + attention_macs(1, 1, 1 + tokens, d))


class StepProbe(Probe):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    def __init__(self, backbone: PerFrameBackbone, num_classes: int, pooler: ClipToken) -> None:
        super().__init__(backbone, pooler.frames)
        self.follows = {"pooler": "backbone"}
        self.pooler = pooler
        self.head = nn.Linear(backbone.dim, num_classes)

    def from_features(self, features: Tensor) -> Tensor:
        """Logits from the backbone's `features` of each clip."""
        return self.head(self.pooler(self.frame_tokens(features)))

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage."""
        return {
            "backbone": self.backbone.macs(batch * self.frames),
            "temporal": self.pooler.macs(batch, self.tokens),
            "head": linear_macs(batch, self.head.in_features, self.head.out_features),
        }
