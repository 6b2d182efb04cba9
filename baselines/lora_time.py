"""LoRA over time (adapters): a frozen CLIP ViT that attends along time by low-rank updates; ours.

This model is unpublished, a simple and cheap floor for the adapters. As in AIM every block applies
its frozen norm and attention twice: first along time at every place, cls token included, then
within each frame. Along time, low-rank updates change its input and output projections, and a gate
for each channel, zero at the start, scales the result. Updates, gates, an embedding of time, the
last norm and the head train. n patches of a frame, r the rank.

Source: the low-rank update of LoRA (arXiv 2106.09685); the authors have no code for video. Queries,
keys and values share one update of rank r (one matrix down, one up).
"""

from math import sqrt

import torch
from timm.models.vision_transformer import Attention, Block, VisionTransformer
from torch import Tensor, nn

from pks4.checks import at_least_one
from pks4.macs import attention_macs, linear_macs
from pks4.models.attention import attend, declare_attention
from pks4.models.backbone import build_vit, check_video, vit_macs
from pks4.models.frozen_vit import FrozenTrunk, embed

FAMILY = "adapters"
PAPER = "https://arxiv.org/abs/2106.09685"
IMAGE_TWIN = "frame_mean"
OFFICIAL_CODE = None  # ours
PLACE = "in every block: attention along time before its layers"
TRAINED = "low-rank updates, gates, time embedding, last norm and head"
STAGES = {"temporal": ("updates",), "head": ("head",)}
VARIANTS = {
    "rank as at scale": {},
    "rank 1": {"rank": 1},
    "on CLIP": {"clip": True},
    "eager": {"attention": "eager"},
}
SCALES = {
    "paper": {
        "width": 768,
        "depth": 12,
        "heads": 12,
        "patch_size": 16,
        "image_size": 224,
        "rank": 16,
    },
    "tiny": {
        "width": 96,
        "depth": 4,
        "heads": 3,
        "patch_size": 8,
        "image_size": 64,
        "rank": 4,
        "clip": False,  # the tiny image model of all contestants
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
    rank: int = 16,
    alpha: float = 16.0,
    clip: bool = True,
    attention: str = "sdpa",
) -> "LoRATime":
    """LoRA over time for clips of exactly `frames` frames; updates are scaled by alpha / rank.

    `clip=False` takes the ImageNet-style ViT of the other contestants instead of CLIP's.
    """
    at_least_one(rank=rank)
    sizes = {"width": width, "depth": depth, "heads": heads, "patch_size": patch_size}
    trunk = build_vit(clip=clip, image_size=image_size, **sizes)
    declare_attention(trunk, attention)
    updates = [AlongTime(width, rank, alpha / rank, attention) for _ in range(depth)]
    return LoRATime(frames, num_classes, image_size, trunk, updates)


class LowRank(nn.Module):
    """x (..., d_in) -> scale * up(down(x)) (..., d_out); zero at the start, as LoRA's."""

    def __init__(self, d_in: int, d_out: int, rank: int, scale: float) -> None:
        super().__init__()
        self.down = nn.Linear(d_in, rank, bias=False)
        self.up = nn.Linear(rank, d_out, bias=False)
        self.scale = scale
        nn.init.kaiming_uniform_(self.down.weight, a=sqrt(5))
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        """The update, which is added to the output of the frozen layer."""
        return self.scale * self.up(self.down(x))

    def macs(self, vectors: int) -> int:
        """MACs for `vectors` input vectors."""
        r = self.down.out_features
        return linear_macs(vectors, self.down.in_features + self.up.out_features, r)


class AlongTime(nn.Module):
    """The updates and the gate by which one block's frozen attention attends along time."""

    def __init__(self, width: int, rank: int, scale: float, attention: str) -> None:
        super().__init__()
        self.qkv = LowRank(width, 3 * width, rank, scale)
        self.proj = LowRank(width, width, rank, scale)
        self.gate = nn.Parameter(torch.zeros(width))
        self.attention = attention

    def forward(self, x: Tensor, block: Block, frames: int) -> Tensor:
        """Gated attention over the frames at every token index; x (b*t, 1 + n, d)."""
        z = block.norm1(x).unflatten(0, (-1, frames)).transpose(1, 2)  # (b, 1 + n, t, d)
        y = self._attend(z.flatten(0, 1), block.attn).view_as(z)
        return x + self.gate * y.transpose(1, 2).flatten(0, 1)

    def _attend(self, z: Tensor, attn: Attention) -> Tensor:
        """The frozen attention with updated projections; z (b*(1 + n), t, d)."""
        qkv = attn.qkv(z) + self.qkv(z)
        q, k, v = qkv.unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
        out = attend(q, k, v, self.attention).transpose(1, 2).flatten(2)
        return attn.proj(out) + self.proj(out)

    def macs(self, sites: int, frames: int) -> int:
        """MACs of attending along time at `sites` token indices of all clips."""
        d = self.gate.numel()
        updates = self.qkv.macs(sites * frames) + self.proj.macs(sites * frames)
        frozen = linear_macs(sites * frames, d, 4 * d)
        return updates + frozen + attention_macs(sites, frames, frames, d)


class LoRATime(FrozenTrunk):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    def __init__(
        self,
        frames: int,
        num_classes: int,
        image_size: int,
        trunk: VisionTransformer,
        updates: list[AlongTime],
    ) -> None:
        super().__init__(trunk)
        self.frames, self.image_size = frames, image_size
        self.trunk.norm.requires_grad_(True)
        self.temporal_embedding = nn.Parameter(torch.zeros(1, frames, trunk.embed_dim))
        self.updates = nn.ModuleList(updates)
        self.head = nn.Linear(trunk.embed_dim, num_classes)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, video: Tensor) -> Tensor:
        """Logits of each clip: the normed cls tokens, mean over frames, linear layer."""
        check_video(video, self.image_size, self.frames)
        b, t = video.shape[:2]
        x = embed(self.trunk, video.flatten(0, 1), self.temporal_embedding)  # (b*t, 1 + n, d)
        for block, along_time in zip(self.trunk.blocks, self.updates, strict=True):
            x = block(along_time(x, block, t))
        return self.head(self.trunk.norm(x[:, 0]).unflatten(0, (b, t)).mean(1))

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage."""
        sites = batch * (1 + self.trunk.patch_embed.num_patches)
        return {
            "backbone": vit_macs(self.trunk, batch * self.frames),
            "temporal": sum(block.macs(sites, self.frames) for block in self.updates),
            "head": linear_macs(batch, self.head.in_features, self.head.out_features),
        }
