"""VPT (adapters): a frozen ViT with learned prompt tokens beside each frame's; order-blind.

Deep: every block has prompts of its own, whose outputs are replaced by those of the next block.
Shallow: one set before the first block stays through all of them. Prompts have no positions, and
attention does not depend on where they stand. A clip is the mean of its frames, whatever their
order. n patches of a frame, d channels, p prompts.

Source: arXiv 2203.12119; names of weights are those of its variant in the authors' code of
AdaptFormer (ShoufaChen/AdaptFormer). The mean over frames is ours.
"""

from math import sqrt

import torch
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from pks4.checks import at_least_one
from pks4.macs import linear_macs, vit_block_macs
from pks4.models.attention import declare_attention
from pks4.models.backbone import build_vit, check_video, vit_macs
from pks4.models.frozen_vit import FrozenTrunk, embed
from pks4.weights.official import Official
from pks4.weights.split_qkv import joined, split

FAMILY = "adapters"
PAPER = "https://arxiv.org/abs/2203.12119"
IMAGE_TWIN = "frame_mean"
PLACE = "in the attention of every block: prompt tokens beside those of the frame"
TRAINED = "prompts and head"
STAGES = {"head": ("head",)}
VARIANTS = {
    "deep": {},
    "shallow": {"shallow": True},
    "eager": {"attention": "eager"},
}
SCALES = {
    "paper": {
        "width": 768,
        "depth": 12,
        "heads": 12,
        "patch_size": 16,
        "image_size": 224,
        "prompts": 8,
    },
    "tiny": {
        "width": 96,
        "depth": 4,
        "heads": 3,
        "patch_size": 8,
        "image_size": 64,
        "prompts": 4,
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
    prompts: int = 8,
    shallow: bool = False,
    attention: str = "sdpa",
) -> "VPT":
    """VPT for clips of exactly `frames` frames; the authors search `prompts` for each data set."""
    at_least_one(prompts=prompts)
    sizes = {"width": width, "depth": depth, "heads": heads, "patch_size": patch_size}
    trunk = build_vit(image_size=image_size, **sizes)
    declare_attention(trunk, attention)
    return VPT(frames, num_classes, image_size, trunk, prompts, shallow)


class VPT(FrozenTrunk):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    official = Official(renames=(("trunk.", ""), (".mlp.", ".")), export=split, restore=joined)

    def __init__(
        self,
        frames: int,
        num_classes: int,
        image_size: int,
        trunk: VisionTransformer,
        prompts: int,
        shallow: bool,
    ) -> None:
        super().__init__(trunk)
        self.frames, self.image_size = frames, image_size
        d, p = trunk.embed_dim, trunk.patch_embed.patch_size[0]
        reach = sqrt(6 / (3 * p * p + d))
        self.embeddings = nn.ParameterList(
            nn.Parameter(torch.empty(1, prompts, d).uniform_(-reach, reach))
            for _ in range(1 if shallow else len(trunk.blocks))
        )
        self.head = nn.Linear(d, num_classes)

    def forward(self, video: Tensor) -> Tensor:
        """Logits of each clip: the normed cls tokens, mean over frames, linear layer."""
        check_video(video, self.image_size, self.frames)
        x = embed(self.trunk, video.flatten(0, 1))  # (b*t, 1 + n, d)
        for i, block in enumerate(self.trunk.blocks):
            x = self.run_block(x, block, self.embeddings[i] if i < len(self.embeddings) else None)
        return self.head(self.trunk.norm(x[:, 0]).unflatten(0, (-1, self.frames)).mean(1))

    def run_block(self, x: Tensor, block: Block, prompts: Tensor | None) -> Tensor:
        """One block with prompts of its own; x (b*t, tokens, d), prompts behind the others."""
        own = 1 + self.trunk.patch_embed.num_patches
        if prompts is not None:
            x = torch.cat([x[:, :own], prompts.expand(len(x), -1, -1)], 1)
        return block(x)

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage.

        temporal is the cost that the prompts add to the blocks.
        """
        images, trunk = batch * self.frames, self.trunk
        own, more = 1 + trunk.patch_embed.num_patches, self.embeddings[0].shape[1]
        added = vit_block_macs(images, own + more, trunk.embed_dim)
        added -= vit_block_macs(images, own, trunk.embed_dim)
        return {
            "backbone": vit_macs(trunk, images),
            "temporal": len(trunk.blocks) * added,
            "head": linear_macs(batch, self.head.in_features, self.head.out_features),
        }
