"""TimeSformer (temporal attention): a ViT whose blocks attend along time and then within frames.

`divided` is the paper's model: attention along time at every place, through a linear layer that
starts at zero, then attention within each frame. `joint` is its dense rival: one attention over all
tokens of the clip. Tokens lie (h w t), time fastest, after one cls token; n = h*w. `space_only` is
its floor: the ViT on each frame alone, with a cls token a frame and no embedding of time; tokens
are averaged over frames before the last norm.

Source: arXiv 2102.05095 and the authors' code (facebookresearch/TimeSformer), with its parameter
names. Every weight trains.
"""

import torch
from timm.layers import DropPath, Mlp, PatchEmbed
from timm.models.vision_transformer import Attention
from torch import Tensor, nn

from pks4.checks import check_sizes
from pks4.errors import unknown_name
from pks4.macs import attention_macs, linear_macs
from pks4.models.attention import declare_attention
from pks4.models.backbone import check_video
from pks4.weights.files import IMAGE_PREFIX, load_part, under
from pks4.weights.official import Official, along

FAMILY = "temporal attention"
PAPER = "https://arxiv.org/abs/2102.05095"
IMAGE_TWIN = "frame_mean"
PLACE = "in every block, before attention within frames"
TRAINED = "all"
STAGES = {"temporal": ("temporal_norm1", "temporal_attn", "temporal_fc"), "head": ("head",)}
VARIANTS = {
    "divided": {},
    "joint": {"attention_type": "joint"},
    "space only": {"attention_type": "space_only"},
    "divided eager": {"attention": "eager"},
}
SCALES = {
    "paper": {"width": 768, "depth": 12, "heads": 12, "patch_size": 16, "image_size": 224},
    "tiny": {"width": 96, "depth": 4, "heads": 3, "patch_size": 8, "image_size": 64},
}
ATTENTION_TYPES = ("divided", "joint", "space_only")


def build(
    *,
    frames: int,
    num_classes: int,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    patch_size: int = 16,
    image_size: int = 224,
    attention_type: str = "divided",
    attention: str = "sdpa",
    drop_path: float = 0.0,
) -> "TimeSformer":
    """TimeSformer for clips of exactly `frames` frames.

    drop_path grows linearly by block; the paper trains with .1.
    """
    if attention_type not in ATTENTION_TYPES:
        raise ValueError(unknown_name("attention_type", attention_type, ATTENTION_TYPES))
    sizes = {"width": width, "depth": depth, "heads": heads, "patch_size": patch_size}
    check_sizes(image_size=image_size, frames=frames, **sizes)
    embed = PatchEmbed(image_size, patch_size, embed_dim=width)
    kind = Divided if attention_type == "divided" else Joint
    apart = attention_type == "space_only"
    joined = 1 if apart else frames  # frames of a sequence
    blocks = [kind(joined, width, heads, drop_path * i / max(1, depth - 1)) for i in range(depth)]
    model = TimeSformer(frames, num_classes, image_size, embed, blocks, apart)
    declare_attention(model, attention)
    return model


class Joint(nn.Module):
    """A plain pre-norm block over all tokens of t frames: x (b, 1 + n*t, d) -> the same shape."""

    def __init__(self, frames: int, width: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.frames, self.width = frames, width
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, qkv_bias=True)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, 4 * width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Attention over space and time at once, then the MLP."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def macs(self, batch: int, n: int) -> tuple[int, int]:
        """MACs as (backbone, temporal); temporal is the extra cost over attention within frames."""
        t, d = self.frames, self.width
        linears = linear_macs(batch * (1 + n * t), d, 12 * d)
        apart = attention_macs(batch * t, 1 + n, 1 + n, d)
        together = attention_macs(batch, 1 + n * t, 1 + n * t, d)
        return linears + apart, together - apart


class Divided(Joint):
    """Attention along time, then within frames, then the MLP; x (b, 1 + n*t, d) -> the same."""

    def __init__(self, frames: int, width: int, heads: int, drop_path: float) -> None:
        super().__init__(frames, width, heads, drop_path)
        self.temporal_norm1 = nn.LayerNorm(width, eps=1e-6)
        self.temporal_attn = Attention(width, heads, qkv_bias=True)
        self.temporal_fc = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """The cls token skips time, sees every frame alone, and takes the mean over frames."""
        b, t = x.shape[0], self.frames
        cls, patches = x[:, :1], x[:, 1:].unflatten(1, (-1, t))  # (b, 1, d), (b, n, t, d)
        r = self.temporal_attn(self.temporal_norm1(patches).flatten(0, 1))  # (b*n, t, d)
        patches = patches + self.temporal_fc(self.drop_path(r)).view_as(patches)
        z = torch.cat([cls[:, None].expand(-1, t, -1, -1), patches.transpose(1, 2)], 2)
        r = self.drop_path(self.attn(self.norm1(z.flatten(0, 1))))  # (b*t, 1 + n, d)
        r = r.unflatten(0, (b, t))
        cls = cls + r[:, :, 0].mean(1, keepdim=True)
        patches = patches + r[:, :, 1:].transpose(1, 2)
        x = torch.cat([cls, patches.flatten(1, 2)], 1)
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def macs(self, batch: int, n: int) -> tuple[int, int]:
        """MACs as (backbone: within frames and MLP, temporal: along time and temporal_fc)."""
        t, d = self.frames, self.width
        space = linear_macs(batch * t * (1 + n), d, 4 * d)
        space += attention_macs(batch * t, 1 + n, 1 + n, d)
        mlp = linear_macs(batch * (1 + n * t), d, 8 * d)
        time = linear_macs(batch * n * t, d, 5 * d) + attention_macs(batch * n, t, t, d)
        return space + mlp, time


class TimeSformer(nn.Module):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    official = Official(
        resize={"pos_embed": along("nearest", prefix=1), "time_embed": along("nearest")}
    )

    def __init__(
        self,
        frames: int,
        num_classes: int,
        image_size: int,
        patch_embed: PatchEmbed,
        blocks: list[Joint],
        apart: bool,
    ) -> None:
        super().__init__()
        self.frames, self.image_size, width = frames, image_size, blocks[0].width
        self.patch_embed = patch_embed
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + patch_embed.num_patches, width))
        self.time_embed = None if apart else nn.Parameter(torch.zeros(1, frames, width))
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, num_classes)
        self._init_weights()

    def _init_weights(self) -> None:
        """As the authors: normal .02, biases zero, and temporal_fc zero in every block."""
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
            if name.endswith("temporal_fc"):
                nn.init.zeros_(layer.weight)
        for embedding in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(embedding, std=0.02)

    def forward(self, video: Tensor) -> Tensor:
        """Logits of each clip, read from the cls token."""
        check_video(video, self.image_size, self.frames)
        x = self.patch_embed(video.flatten(0, 1)) + self.pos_embed[:, 1:]  # (b*t, n, d)
        if self.time_embed is None:
            x = self.blocks(self._behind_cls(x))  # (b*t, 1 + n, d)
            x = x.unflatten(0, (-1, self.frames)).mean(1)
        else:
            x = x.unflatten(0, (-1, self.frames)) + self.time_embed[:, :, None]
            x = self._behind_cls(x.transpose(1, 2).flatten(1, 2))  # (b, 1 + n*t, d)
            x = self.blocks(x)
        return self.head(self.norm(x)[:, 0])

    def _behind_cls(self, patches: Tensor) -> Tensor:
        """Put the cls token with its position before the patches of each sequence."""
        cls = self.cls_token + self.pos_embed[:, :1]
        return torch.cat([cls.expand(patches.shape[0], -1, -1), patches], 1)

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage."""
        n, d = self.patch_embed.num_patches, self.norm.normalized_shape[0]
        taps = self.patch_embed.proj.weight[0].numel()
        clips = batch * self.frames // self.blocks[0].frames  # sequences of the blocks
        backbone, temporal = zip(*(block.macs(clips, n) for block in self.blocks), strict=True)
        return {
            "backbone": linear_macs(batch * self.frames * n, taps, d) + sum(backbone),
            "temporal": sum(temporal),
            "head": linear_macs(batch, d, self.head.out_features),
        }

    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Load the ViT of the image twin; attn also starts temporal_attn, as the authors do.

        The head, time_embed and temporal_fc keep their values. Raises ValueError if a weight is
        missing or unknown; then nothing is loaded.
        """
        image = under(state, IMAGE_PREFIX)
        if isinstance(self.blocks[0], Divided):
            for name in list(image):
                temporal = name.replace(".attn.", ".temporal_attn.")
                temporal = temporal.replace(".norm1.", ".temporal_norm1.")
                image.setdefault(temporal, image[name])
        load_part(self, image, prefix="", keep=("head.", "time_embed", ".temporal_fc."))
