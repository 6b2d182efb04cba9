"""ViViT factorised encoder (temporal attention): a ViT on each frame, then a small one over time.

Tubelets of two frames and one patch become the tokens, n of them in one step of time. The spatial
encoder reads the tokens of one step after a cls token. The temporal encoder reads the cls tokens of
all steps after another cls token, which the head classifies. `spatial_only_baseline` takes the mean
over steps instead.

Source: arXiv 2103.15691 (model 2) and the authors' code (google-research/scenic, SpaceTimeViViT).
Their code is JAX, so the names of the weights are ours and its checkpoints do not load here. As
there, GELU is the tanh approximation and the initial head is zero. The patch kernel of an image
model goes to frame `tubelet // 2` of a tubelet, counted from 0. One deviation: the cls token of the
image model is loaded too; the authors' loader leaves it at zero, since its name differs. Every
weight trains.
"""

from functools import partial

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from pks4.checks import at_least_one, check_sizes
from pks4.macs import linear_macs, vit_block_macs
from pks4.models.attention import declare_attention
from pks4.models.backbone import check_video
from pks4.models.frozen_vit import inflate_centre
from pks4.weights.files import load_part
from pks4.weights.official import Official, along, on_square

FAMILY = "temporal attention"
PAPER = "https://arxiv.org/abs/2103.15691"
IMAGE_TWIN = "frame_mean"
OFFICIAL_CODE = None  # JAX; the names in `official` are ours
PLACE = "on top: a second encoder over the frames' cls tokens"
TRAINED = "all"
STAGES = {"temporal": ("temporal",), "head": ("head",)}
FRAMES_STEP = 2
VARIANTS = {
    "tubelets of 2": {},
    "tubelets of 1": {"tubelet": 1},
    "spatial only": {"spatial_only_baseline": True},
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
    },
    "tiny": {
        "width": 96,
        "depth": 4,
        "heads": 3,
        "patch_size": 8,
        "image_size": 64,
        "temporal_depth": 2,
    },
}
# (name in the image twin, our name)
IMAGE_NAMES = (
    ("backbone.net.patch_embed.proj.", "patch_embed."),
    ("backbone.net.cls_token", "cls_spatial"),
    ("backbone.net.pos_embed", "pos_spatial"),
    ("backbone.net.", "spatial."),
)
KERNEL = "patch_embed.weight"
NOT_IN_AN_IMAGE = ("cls_temporal", "pos_temporal", "temporal.", "head.")


def build(
    *,
    frames: int,
    num_classes: int,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    patch_size: int = 16,
    image_size: int = 224,
    temporal_depth: int = 4,
    tubelet: int = 2,
    spatial_only_baseline: bool = False,
    attention: str = "sdpa",
) -> "ViViT":
    """The factorised encoder for clips of exactly `frames` frames, a multiple of `tubelet`.

    The paper's base model trains without dropout or stochastic depth.
    """
    at_least_one(temporal_depth=temporal_depth)
    sizes = {"width": width, "depth": depth, "heads": heads, "patch_size": patch_size}
    check_sizes(image_size=image_size, frames=frames, tubelet=tubelet, **sizes)
    size = (tubelet, patch_size, patch_size)
    embed = nn.Conv3d(3, width, kernel_size=size, stride=size)
    spatial = Encoder(width, depth, heads)
    temporal = None if spatial_only_baseline else Encoder(width, temporal_depth, heads)
    model = ViViT(frames, num_classes, image_size, embed, spatial, temporal)
    declare_attention(model, attention)
    return model


class Encoder(nn.Module):
    """Pre-norm blocks and a norm: x (b, 1 + tokens, d) -> its cls token (b, d)."""

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        norm, gelu = partial(nn.LayerNorm, eps=1e-6), partial(nn.GELU, approximate="tanh")
        self.blocks = nn.Sequential(
            *(
                Block(width, heads, qkv_bias=True, norm_layer=norm, act_layer=gelu)
                for _ in range(depth)
            )
        )
        self.norm = norm(width)
        self._init_weights()

    def _init_weights(self) -> None:
        """As the authors: Xavier, separately for q, k and v; tiny MLP biases."""
        for block in self.blocks:
            fc1, fc2 = block.mlp.fc1, block.mlp.fc2
            q_k_v = block.attn.qkv.weight.data.chunk(3)
            for weight in (*q_k_v, block.attn.proj.weight, fc1.weight, fc2.weight):
                nn.init.xavier_uniform_(weight)
            for bias in (block.attn.qkv.bias, block.attn.proj.bias):
                nn.init.zeros_(bias)
            for bias in (fc1.bias, fc2.bias):
                nn.init.normal_(bias, std=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """The cls token after all blocks and the norm."""
        return self.norm(self.blocks(x))[:, 0]

    def macs(self, sequences: int, tokens: int) -> int:
        """MACs of `sequences` sequences of `tokens` tokens, cls token included."""
        return len(self.blocks) * vit_block_macs(sequences, tokens, self.norm.weight.numel())


class ViViT(nn.Module):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    official = Official(
        resize={
            "pos_spatial": on_square("bilinear", prefix=1, align_corners=True),
            "pos_temporal": along("linear", prefix=1, align_corners=True),
        }
    )

    def __init__(
        self,
        frames: int,
        num_classes: int,
        image_size: int,
        patch_embed: nn.Conv3d,
        spatial: Encoder,
        temporal: Encoder | None,
    ) -> None:
        super().__init__()
        self.follows = {"temporal": "spatial"}
        self.frames, self.image_size = frames, image_size
        width, _, tubelet, side, _ = patch_embed.weight.shape
        self.steps, self.n = frames // tubelet, (image_size // side) ** 2
        self.patch_embed, self.spatial, self.temporal = patch_embed, spatial, temporal
        self.cls_spatial = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_spatial = nn.Parameter(0.02 * torch.randn(1, 1 + self.n, width))
        if temporal is not None:
            self.cls_temporal = nn.Parameter(torch.zeros(1, 1, width))
            self.pos_temporal = nn.Parameter(0.02 * torch.randn(1, 1 + self.steps, width))
        self.head = nn.Linear(width, num_classes)
        for silent in (self.head.weight, self.head.bias, patch_embed.bias):
            nn.init.zeros_(silent)
        _init_kernel(patch_embed.weight.data)

    def forward(self, video: Tensor) -> Tensor:
        """Logits of each clip."""
        check_video(video, self.image_size, self.frames)
        x = self.patch_embed(video.transpose(1, 2))  # (b, d, steps, h', w')
        x = x.flatten(3).permute(0, 2, 3, 1).flatten(0, 1)  # (b*steps, n, d)
        x = self.spatial(_behind(self.cls_spatial, x) + self.pos_spatial)
        x = x.unflatten(0, (-1, self.steps))  # (b, steps, d)
        if self.temporal is None:
            return self.head(x.mean(1))
        return self.head(self.temporal(_behind(self.cls_temporal, x) + self.pos_temporal))

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage."""
        images, d = batch * self.steps, self.head.in_features
        embed = linear_macs(images * self.n, self.patch_embed.weight[0].numel(), d)
        over_time = 0 if self.temporal is None else self.temporal.macs(batch, 1 + self.steps)
        return {
            "backbone": embed + self.spatial.macs(images, 1 + self.n),
            "temporal": over_time,
            "head": linear_macs(batch, d, self.head.out_features),
        }

    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Load the ViT of the image twin as the spatial encoder; temporal weights keep theirs.

        Raises ValueError that lists what does not fit; then nothing is loaded.
        """
        weights = {_ours(k): v for k, v in state.items() if k.startswith("backbone.net.")}
        if KERNEL in weights:
            weights[KERNEL] = inflate_centre(weights[KERNEL], self.patch_embed.weight.shape[2])
        load_part(self, weights, prefix="", keep=NOT_IN_AN_IMAGE)


def _behind(cls: Tensor, x: Tensor) -> Tensor:
    """The cls token (1, 1, d) before each sequence of x (b, tokens, d)."""
    return torch.cat([cls.expand(x.shape[0], -1, -1), x], 1)


def _ours(name: str) -> str:
    for theirs, ours in IMAGE_NAMES:
        name = name.replace(theirs, ours)
    return name


def _init_kernel(kernel: Tensor) -> None:
    """LeCun's normal, truncated at two deviations, for one frame of the tubelet; zeros elsewhere.

    Its variance is 1 / fan-in of the whole tubelet.
    """
    std = kernel[0].numel() ** -0.5 / 0.87962566  # the truncation scales the deviation by this
    nn.init.trunc_normal_(kernel, std=std, a=-2 * std, b=2 * std)
    middle = kernel.shape[2] // 2
    kernel[:, :, :middle] = 0
    kernel[:, :, middle + 1 :] = 0
