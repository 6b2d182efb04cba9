"""Side4Video (adapters): a narrow video network in parallel to a frozen CLIP ViT, block by block.

The trunk runs on every frame without gradients. It keeps only the blocks' outputs, which trained
norms take as input. The side network starts with a convolution over three frames. After each block
of the trunk, its state becomes the mean of itself and of that block's patches, projected to its
width. Then a side block convolves along time at every place, lets the patches of a frame attend to
themselves and to a cls token, and ends with an MLP. That cls token is the trunk's, shifted in time:
half of its channels from the next frame, half from the previous one. The head classifies the mean
of the last state over the clip. n patches of a frame, s channels of the side network.

Source: arXiv 2311.15769 and the authors' code for recognition (HJYao00/Side4Video); the side
network has its parameter names. As there, the trunk lacks the final norm. Deviations: their linear
layers start rounded to half precision, here they are not rounded; drop path and head dropout, zero
in their configurations, are left out. On the ImageNet-style ViT (`clip=False`, ours) the names in
`official`
are ours: CLIP's if it has one.
"""

import torch
import torch.nn.functional as F
from timm.layers import Mlp
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from pks4.macs import attention_macs, linear_macs
from pks4.models.attention import attend, declare_attention
from pks4.models.backbone import build_vit, check_video, vit_macs
from pks4.models.frozen_vit import FrozenTrunk, embed
from pks4.weights.clip_names import CLIP_NAMES, CLIP_SQUEEZED
from pks4.weights.official import Official

FAMILY = "adapters"
PAPER = "https://arxiv.org/abs/2311.15769"
IMAGE_TWIN = "frame_mean"
PLACE = "parallel to every block: a side network that reads its tokens"
TRAINED = "side network and head"
STAGES = {
    "temporal": (
        "side_conv1",
        "side_pre_bn3d",
        "side_lns",
        "side_linears",
        "side_transformer",
        "side_post_bn",
    ),
    "head": ("fc",),
}
VARIANTS = {"frozen ViT": {}, "on CLIP": {"clip": True}, "eager": {"attention": "eager"}}
SCALES = {
    "paper": {
        "width": 768,
        "depth": 12,
        "heads": 12,
        "patch_size": 16,
        "image_size": 224,
        "side_width": 320,
    },
    "tiny": {
        "width": 96,
        "depth": 4,
        "heads": 3,
        "patch_size": 8,
        "image_size": 64,
        "side_width": 64,
        "clip": False,  # the tiny image model of all contestants
    },
}
HEAD_WIDTH = 64
TRANSFORMER = (
    "side_lns.",
    "side_linears.",
    "side_transformer.",
    "side_spatial_position_embeddings",
)
OUTSIDE = ("side_conv1.", "side_pre_bn3d.", "side_post_bn.")


def build(
    *,
    frames: int,
    num_classes: int,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    patch_size: int = 16,
    image_size: int = 224,
    side_width: int = 320,
    clip: bool = True,
    attention: str = "sdpa",
) -> "Side4Video":
    """Side4Video for clips of exactly `frames` frames; side blocks have side_width // 64 heads.

    `clip=False` takes the ImageNet-style ViT of the other contestants instead of CLIP's.
    """
    side_heads = side_width // HEAD_WIDTH
    if not side_heads or side_width % side_heads:
        raise ValueError(
            f"side_width {side_width} does not divide into {side_width} // {HEAD_WIDTH} heads; "
            f"take a multiple of {HEAD_WIDTH}"
        )
    sizes = {"width": width, "depth": depth, "heads": heads, "patch_size": patch_size}
    trunk = build_vit(clip=clip, image_size=image_size, **sizes)
    declare_attention(trunk, attention)
    blocks = [SideBlock(side_width, side_heads, attention) for _ in range(depth)]
    return Side4Video(frames, num_classes, image_size, trunk, blocks)


class Attention(nn.Module):
    """z (1 + n, b*t, s) -> (n, b*t, s): queries from patches, keys and values from all tokens.

    Tokens come first, so that the patches are a view.
    """

    def __init__(self, width: int, heads: int, attention: str) -> None:
        super().__init__()
        self.heads, self.attention = heads, attention
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, z: Tensor) -> Tensor:
        """Multi-head attention of the patches."""
        s = z.shape[-1]
        q = F.linear(z[1:], self.in_proj_weight[:s], self.in_proj_bias[:s])
        kv = F.linear(z, self.in_proj_weight[s:], self.in_proj_bias[s:])
        q, k, v = (
            x.unflatten(-1, (self.heads, -1)).permute(1, 2, 0, 3) for x in (q, *kv.chunk(2, -1))
        )
        mixed = attend(q, k, v, self.attention)  # (b*t, heads, n, s / heads)
        return self.out_proj(mixed.permute(2, 0, 1, 3).flatten(2))


class SideBlock(nn.Module):
    """State x (b, t, n, s) -> the same: along time, within frames with cls, MLP."""

    def __init__(self, width: int, heads: int, attention: str) -> None:
        super().__init__()
        self.bn_1, self.bn_2 = nn.BatchNorm3d(width), nn.BatchNorm3d(width)
        self.conv = nn.Sequential(
            nn.Conv3d(width, width, 1),
            nn.Conv3d(width, width, (3, 1, 1), padding=(1, 0, 0), groups=width),
            nn.Conv3d(width, width, 1),
        )
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads, attention)
        self.ffn = Mlp(width, 4 * width)
        out_std = (width * 2 * 12) ** -0.5  # 12 whatever the depth
        nn.init.normal_(self.attn.in_proj_weight, std=width**-0.5)
        nn.init.normal_(self.attn.out_proj.weight, std=out_std)
        nn.init.normal_(self.ffn.fc1.weight, std=(2 * width) ** -0.5)
        nn.init.normal_(self.ffn.fc2.weight, std=out_std)

    def forward(self, x: Tensor, cls: Tensor, place: Tensor) -> Tensor:
        """The next state, from the trunk's cls (b, t, s) and the embedding of places (n, s)."""
        x = x + _as_tokens(self.conv(self.bn_1(_as_video(x))))
        z = torch.cat([shifted(cls)[None], (x + place).permute(2, 0, 1, 3)])  # (1 + n, b, t, s)
        mixed = self.attn(self.ln_1(z).flatten(1, 2)).unflatten(1, x.shape[:2])
        x = x + mixed.permute(1, 2, 0, 3)
        return x + self.ffn(_as_tokens(self.bn_2(_as_video(x))))

    def macs(self, frames: int, n: int) -> int:
        """MACs on `frames` frames of n patches."""
        s, patches = self.ln_1.normalized_shape[0], frames * n
        conv = linear_macs(patches, s, 2 * s) + linear_macs(patches, 3, s)
        attention = linear_macs(patches, s, 2 * s) + linear_macs(patches + frames, s, 2 * s)
        attention += attention_macs(frames, n, 1 + n, s)
        return conv + attention + linear_macs(patches, s, 8 * s)


def shifted(cls: Tensor) -> Tensor:
    """cls (b, t, s): the first half of the channels from t + 1, the rest from t - 1, else zero."""
    fold = cls.shape[-1] // 2
    after, before = cls[:, 1:, :fold], cls[:, :-1, fold:]
    return torch.cat([F.pad(after, (0, 0, 0, 1)), F.pad(before, (0, 0, 1, 0))], -1)


def _as_video(x: Tensor) -> Tensor:
    """(b, t, n, s) -> (b, s, t, n, 1), the layout of the 3D layers; no layer mixes places."""
    return x.permute(0, 3, 1, 2)[..., None]


def _as_tokens(x: Tensor) -> Tensor:
    """(b, s, t, n, 1) -> (b, t, n, s)."""
    return x[..., 0].permute(0, 2, 3, 1)


class Side4Video(FrozenTrunk):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    official = Official(
        renames=(
            *(
                (ours, f"visual.{theirs}" if ours.startswith("trunk.") else theirs)
                for ours, theirs in CLIP_NAMES
            ),
            *((name, f"visual.transformer.{name}") for name in TRANSFORMER),
            *((name, f"visual.{name}") for name in OUTSIDE),
            (".ffn.", ".mlp."),
        ),
        squeezed=tuple(f"visual.{name}" for name in CLIP_SQUEEZED),
        ignored=("logit_scale",),
    )

    def __init__(
        self,
        frames: int,
        num_classes: int,
        image_size: int,
        trunk: VisionTransformer,
        blocks: list[SideBlock],
    ) -> None:
        super().__init__(trunk)
        self.frames, self.image_size = frames, image_size
        trunk.norm = nn.Identity()  # the side network reads blocks, not the end
        width, side = trunk.embed_dim, blocks[0].ln_1.normalized_shape[0]
        p = trunk.patch_embed.patch_size[0]
        self.side_conv1 = nn.Conv3d(3, side, (3, p, p), (1, p, p), (1, 0, 0))
        self.side_pre_bn3d = nn.BatchNorm3d(side)
        self.side_lns = nn.ModuleList(nn.LayerNorm(width) for _ in blocks)
        self.side_linears = nn.ModuleList(nn.Linear(width, side) for _ in blocks)
        self.side_transformer = nn.ModuleList(blocks)
        self.side_spatial_position_embeddings = nn.Parameter(
            0.01 * torch.randn(trunk.patch_embed.num_patches, side)
        )
        self.side_post_bn = nn.BatchNorm3d(side)
        self.fc = nn.Linear(side, num_classes)

    def forward(self, video: Tensor) -> Tensor:
        """Logits of each clip, from the mean of the side network's last state."""
        check_video(video, self.image_size, self.frames)
        with torch.no_grad():
            x = embed(self.trunk, video.flatten(0, 1))  # (b*t, 1 + n, d)
        state = self.side_pre_bn3d(self.side_conv1(video.transpose(1, 2)))  # (b, s, t, h, w)
        state = _as_tokens(state.flatten(3)[..., None])  # (b, t, n, s)
        layers = zip(
            self.trunk.blocks, self.side_lns, self.side_linears, self.side_transformer, strict=True
        )
        for block, norm, down, side_block in layers:
            with torch.no_grad():
                x = block(x)
            seen = down(norm(x)).unflatten(0, video.shape[:2])  # (b, t, 1 + n, s)
            state = 0.5 * (state + seen[:, :, 1:])
            state = side_block(state, seen[:, :, 0], self.side_spatial_position_embeddings)
        return self.fc(self.side_post_bn(_as_video(state)).mean((2, 3, 4)))

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage."""
        images, n = batch * self.frames, self.trunk.patch_embed.num_patches
        d, s = self.trunk.embed_dim, self.fc.in_features
        stem = linear_macs(images * n, self.side_conv1.weight[0].numel(), s)
        down = len(self.side_linears) * linear_macs(images * (1 + n), d, s)
        blocks = sum(block.macs(images, n) for block in self.side_transformer)
        return {
            "backbone": vit_macs(self.trunk, images),
            "temporal": stem + down + blocks,
            "head": linear_macs(batch, s, self.fc.out_features),
        }
