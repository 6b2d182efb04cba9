"""TSM ViT (2D floor): a ViT on each frame, with channels shifted to neighbours before attention.

In every block, the patches of a frame enter attention with one eighth of their channels from the
next
frame and one eighth from the previous frame: x += attention(shift(norm x)). The cls token and the
residual stream do not shift, as in TSM's `blockres` form of a ResNet. Each frame is classified from
its cls token; the clip's logits are the mean of its frames' logits. n patches of a frame.

Source: arXiv 1811.08383 for the shift. The rest is ours: the authors have no code for a ViT.
"""

import torch
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from pks4.macs import linear_macs
from pks4.models.attention import declare_attention
from pks4.models.backbone import build_vit, check_video, vit_macs
from pks4.models.frozen_vit import embed
from pks4.models.temporal_shift import check_n_div, temporal_shift
from pks4.weights.files import load_part

FAMILY = "2D floor"
PAPER = "https://arxiv.org/abs/1811.08383"
IMAGE_TWIN = "frame_mean"
OFFICIAL_CODE = None  # the authors shift in ResNets and MobileNets
PLACE = "before the attention of every block, but not in the residual stream"
TRAINED = "all"
STAGES = {"head": ("head",)}
VARIANTS = {"an eighth each way": {}, "a quarter": {"n_div": 4}, "eager": {"attention": "eager"}}
SCALES = {
    "paper": {"width": 768, "depth": 12, "heads": 12, "patch_size": 16, "image_size": 224},
    "tiny": {"width": 96, "depth": 4, "heads": 3, "patch_size": 8, "image_size": 64},
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
    n_div: int = 8,
    dropout: float = 0.0,
    attention: str = "sdpa",
) -> "TSMViT":
    """TSM on a ViT for clips of exactly `frames` frames; TSM's authors train with dropout .5."""
    check_n_div(n_div, width)
    sizes = {"width": width, "depth": depth, "heads": heads, "patch_size": patch_size}
    trunk = build_vit(image_size=image_size, **sizes)
    declare_attention(trunk, attention)
    return TSMViT(frames, num_classes, image_size, trunk, n_div, dropout)


class TSMViT(nn.Module):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    def __init__(
        self,
        frames: int,
        num_classes: int,
        image_size: int,
        trunk: VisionTransformer,
        n_div: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.frames, self.image_size, self.n_div = frames, image_size, n_div
        self.trunk = trunk
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(trunk.embed_dim, num_classes)
        nn.init.normal_(self.head.weight, std=0.001)
        nn.init.zeros_(self.head.bias)

    def forward(self, video: Tensor) -> Tensor:
        """Logits of each clip: the mean of its frames' logits."""
        check_video(video, self.image_size, self.frames)
        x = embed(self.trunk, video.flatten(0, 1))  # (b*t, 1 + n, d)
        for block in self.trunk.blocks:
            x = self.run_block(x, block)
        cls = self.dropout(self.trunk.norm(x[:, 0]))
        return self.head(cls).unflatten(0, (-1, self.frames)).mean(1)

    def run_block(self, x: Tensor, block: Block) -> Tensor:
        """One block, its attention on shifted tokens; x (b*t, 1 + n, d) -> the same shape."""
        x = x + block.attn(self._shift(block.norm1(x)))
        return x + block.mlp(block.norm2(x))

    def _shift(self, x: Tensor) -> Tensor:
        """Tokens x (b*t, 1 + n, d) with the patches' channels shifted in time."""
        patches = x[:, 1:].unflatten(0, (-1, self.frames))  # (b, t, n, d)
        shifted = temporal_shift(patches, self.n_div, dim=3).flatten(0, 1)
        return torch.cat([x[:, :1], shifted], 1)

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage."""
        images = batch * self.frames
        return {
            "backbone": vit_macs(self.trunk, images),
            "temporal": 0,
            "head": linear_macs(images, self.head.in_features, self.head.out_features),
        }

    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Load the whole ViT of the image twin, but not the head."""
        load_part(self.trunk, state)
