"""AIM (adapters): a frozen image ViT whose attention also runs along time, between adapters.

Every block applies its frozen norm and attention twice: first along time at every place, cls token
included, then within each frame. Small bottleneck adapters distinguish the two: after (and for
Something-Something also before) the attention along time, after the attention within frames, and
parallel to the MLP. The adapters, an embedding of time, the last norm and the head train. n patches
of a frame.

Source: arXiv 2302.03024 and the authors' code (taoyang1122/adapt-image-models). Their Kinetics
model has one adapter around the attention along time and scale .5, their Something-Something model
two and scale 1. They train with drop_path .2 and dropout .5; the defaults here are 0. On CLIP their
drop_path drops a token index in all frames of all clips at once, as here; on the ImageNet ViT
(`clip=False`, their second model, with its names) it drops frames. Here the last norm runs only on
the cls tokens, theirs on all tokens: equal outputs.
"""

import torch
import torch.nn.functional as F
from timm.layers import DropPath
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from pks4.macs import attention_macs, linear_macs, stage
from pks4.models.attention import declare_attention
from pks4.models.backbone import build_vit, check_video, vit_macs
from pks4.models.frozen_vit import FrozenTrunk, embed
from pks4.weights.clip_names import CLIP_NAMES, CLIP_SQUEEZED
from pks4.weights.official import Official

FAMILY = "adapters"
PAPER = "https://arxiv.org/abs/2302.03024"
IMAGE_TWIN = "frame_mean"
PLACE = "in every block: attention along time first, adapters after and parallel to its layers"
TRAINED = "adapters, time embedding, last norm and head"
STAGES = {
    "temporal": ("T_Adapter_in", "T_Adapter", "S_Adapter", "MLP_Adapter"),
    "head": ("fc_cls",),
}
VARIANTS = {
    "Kinetics": {},
    "Something-Something": {"temporal_adapters": 2, "scale": 1.0},
    "on CLIP": {"clip": True},
    "two on CLIP": {"clip": True, "temporal_adapters": 2, "scale": 1.0},
    "eager": {"attention": "eager"},
}
SCALES = {
    "paper": {
        "width": 768,
        "depth": 12,
        "heads": 12,
        "patch_size": 16,
        "image_size": 224,
        "adapter_width": 192,
    },
    "tiny": {
        "width": 96,
        "depth": 4,
        "heads": 3,
        "patch_size": 8,
        "image_size": 64,
        "adapter_width": 24,
        "clip": False,  # the tiny image model of all contestants
    },
}
CLIP_OFFICIAL = Official(
    renames=(
        ("trunk.", "backbone.trunk."),
        *CLIP_NAMES,
        ("adapters.", "backbone.transformer.resblocks."),
        ("temporal_embedding", "backbone.temporal_embedding"),
        ("fc_cls.", "cls_head.fc_cls."),
    ),
    squeezed=tuple(f"backbone.{name}" for name in CLIP_SQUEEZED),
)
IMAGENET_OFFICIAL = Official(
    renames=(
        ("trunk.norm.", "trunk.ln_post."),
        ("trunk.", "backbone."),
        ("adapters.", "backbone.blocks."),
        ("temporal_embedding", "backbone.temporal_embedding"),
        ("fc_cls.", "cls_head.fc_cls."),
    )
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
    adapter_width: int = 192,
    temporal_adapters: int = 1,
    scale: float = 0.5,
    clip: bool = True,
    drop_path: float = 0.0,
    dropout: float = 0.0,
    attention: str = "sdpa",
) -> "AIM":
    """AIM for clips of exactly `frames` frames; drop_path grows linearly by block.

    `clip=False` takes the ImageNet-style ViT of the other contestants instead of CLIP's.
    """
    if temporal_adapters not in (1, 2):
        raise ValueError(f"temporal_adapters must be 1 or 2, got {temporal_adapters}")
    sizes = {"width": width, "depth": depth, "heads": heads, "patch_size": patch_size}
    trunk = build_vit(clip=clip, image_size=image_size, **sizes)
    declare_attention(trunk, attention)
    rates = [drop_path * i / max(1, depth - 1) for i in range(depth)]
    adapters = [
        Adapters(width, adapter_width, temporal_adapters, scale, rate, drops_tokens=clip)
        for rate in rates
    ]
    return AIM(frames, num_classes, image_size, trunk, adapters, dropout, clip)


class Adapter(nn.Module):
    """x (..., d) -> (..., d) through a bottleneck with GELU; zero at the start."""

    def __init__(self, width: int, adapter_width: int) -> None:
        super().__init__()
        self.D_fc1 = nn.Linear(width, adapter_width)
        self.D_fc2 = nn.Linear(adapter_width, width)
        nn.init.trunc_normal_(self.D_fc1.weight, std=0.02)
        for silent in (self.D_fc1.bias, self.D_fc2.weight, self.D_fc2.bias):
            nn.init.zeros_(silent)

    def forward(self, x: Tensor) -> Tensor:
        """The output of the adapter, which a block adds or takes instead of its input."""
        return self.D_fc2(F.gelu(self.D_fc1(x)))

    def macs(self, vectors: int) -> int:
        """MACs for `vectors` input vectors."""
        return 2 * linear_macs(vectors, self.D_fc1.in_features, self.D_fc1.out_features)


class Adapters(nn.Module):
    """The adapters of one block, and how the block runs with them."""

    def __init__(
        self,
        width: int,
        adapter_width: int,
        temporal_adapters: int,
        scale: float,
        drop_path: float,
        drops_tokens: bool,
    ) -> None:
        super().__init__()
        self.T_Adapter_in = Adapter(width, adapter_width) if temporal_adapters == 2 else None
        self.T_Adapter = Adapter(width, adapter_width)
        self.S_Adapter = Adapter(width, adapter_width)
        self.MLP_Adapter = Adapter(width, adapter_width)
        self.drop_path, self.drops_tokens = DropPath(drop_path), drops_tokens
        self.scale = scale

    def forward(self, x: Tensor, block: Block, frames: int) -> Tensor:
        """Along time, within frames, MLP; x (b*t, 1 + n, d) -> the same shape."""
        with stage("temporal"):
            x = x + self._drop(self._along_time(x, block, frames))
        within = block.attn(block.norm1(x))
        x = x + within + self.S_Adapter(within)
        z = block.norm2(x)
        return x + block.mlp(z) + self._drop(self.scale * self.MLP_Adapter(z))

    def _along_time(self, x: Tensor, block: Block, frames: int) -> Tensor:
        """Attention over the frames at every token index."""
        z = block.norm1(x).unflatten(0, (-1, frames)).transpose(1, 2)  # (b, 1 + n, t, d)
        sequences = z.flatten(0, 1)
        if self.T_Adapter_in is not None:
            sequences = sequences + self.T_Adapter_in(sequences)
        y = self.T_Adapter(block.attn(sequences)).view_as(z)
        return y.transpose(1, 2).flatten(0, 1)

    def _drop(self, y: Tensor) -> Tensor:
        """Stochastic depth of y (b*t, 1 + n, d), by token index or by frame."""
        if self.drops_tokens:
            return self.drop_path(y.transpose(0, 1)).transpose(0, 1)
        return self.drop_path(y)

    def macs(self, sites: int, frames: int) -> int:
        """MACs added to the block, at `sites` token indices of all clips."""
        d = self.T_Adapter.D_fc1.in_features
        along_time = linear_macs(sites * frames, d, 4 * d) + attention_macs(
            sites, frames, frames, d
        )
        adapters = [layer for layer in self.children() if isinstance(layer, Adapter)]
        return along_time + sum(adapter.macs(sites * frames) for adapter in adapters)


class AIM(FrozenTrunk):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    def __init__(
        self,
        frames: int,
        num_classes: int,
        image_size: int,
        trunk: VisionTransformer,
        adapters: list[Adapters],
        dropout: float,
        clip: bool,
    ) -> None:
        super().__init__(trunk)
        self.frames, self.image_size = frames, image_size
        self.official = CLIP_OFFICIAL if clip else IMAGENET_OFFICIAL
        self.trunk.norm.requires_grad_(True)
        self.temporal_embedding = nn.Parameter(torch.zeros(1, frames, trunk.embed_dim))
        self.adapters = nn.ModuleList(adapters)
        self.dropout = nn.Dropout(dropout)
        self.fc_cls = nn.Linear(trunk.embed_dim, num_classes)
        nn.init.normal_(self.fc_cls.weight, std=0.01)
        nn.init.zeros_(self.fc_cls.bias)

    def forward(self, video: Tensor) -> Tensor:
        """Logits of each clip."""
        return self.fc_cls(self.dropout(self.features(video)))

    def features(self, video: Tensor) -> Tensor:
        """The normed cls tokens, mean over frames: (b, t, 3, h, w) -> (b, d)."""
        check_video(video, self.image_size, self.frames)
        b, t = video.shape[:2]
        x = embed(self.trunk, video.flatten(0, 1), self.temporal_embedding)  # (b*t, 1 + n, d)
        for block, adapters in zip(self.trunk.blocks, self.adapters, strict=True):
            x = adapters(x, block, t)
        return self.trunk.norm(x[:, 0]).unflatten(0, (b, t)).mean(1)

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage."""
        sites = batch * (1 + self.trunk.patch_embed.num_patches)
        return {
            "backbone": vit_macs(self.trunk, batch * self.frames),
            "temporal": sum(block.macs(sites, self.frames) for block in self.adapters),
            "head": linear_macs(batch, self.fc_cls.in_features, self.fc_cls.out_features),
        }
