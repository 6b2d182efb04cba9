"""Attentive probe (probes): attention over all frozen tokens of a clip; order-blind by default.

Blocks over the tokens, then one learned query that reads them. By default the probe has no
positions, as published. On features of single frames, such as here, it is then blind to the order
of frames: within a pair of a class and its reverse it can only guess. `positions="sincos"` adds a
fixed table, which the authors' code has and their configurations leave off. The cls token of an
image model is left out. b clips, t frames, n patches of a frame, d channels, q queries.

Source: V-JEPA 2 (arXiv 2506.09985) and the authors' code (facebookresearch/vjepa2). Depth 4 is
three blocks and the cross-attention; depth 1 is the cross-attention alone, the probe of V-JEPA 1.
Deviations: their encoder is a video model, with order in its tokens; their table takes the raw
numbers of every second frame, here rows 0 to t - 1. `official` names one probe of a checkpoint;
theirs hold a list of twenty, `classifiers`.
"""

from functools import partial
from math import sqrt

import torch
from timm.models.vision_transformer import Block, Mlp
from torch import Tensor, nn

from pks4.checks import at_least_one
from pks4.errors import unknown_name
from pks4.macs import attention_macs, linear_macs, vit_block_macs
from pks4.models.attention import attend, declare_attention
from pks4.models.backbone import PerFrameBackbone
from pks4.models.probe import Probe, frozen_backbone
from pks4.weights.official import Official

FAMILY = "probes"
PAPER = "https://arxiv.org/abs/2506.09985"
IMAGE_TWIN = "frame_mean"
PLACE = "on top: attention over all tokens of the clip"
TRAINED = "probe and head"
STAGES = {"temporal": ("pooler",), "head": ("linear",)}
VARIANTS = {
    "depth 4": {},
    "depth 4 with positions": {"positions": "sincos"},
    "depth 1": {"probe_depth": 1},
    "depth 1 with positions": {"probe_depth": 1, "positions": "sincos"},
    "on a CNN": {"backbone": "mobilenetv2_035", "probe_heads": 4},
    "eager": {"attention": "eager"},
}
SCALES = {
    "paper": {
        "width": 768,
        "depth": 12,
        "heads": 12,
        "patch_size": 16,
        "image_size": 224,
        "probe_depth": 4,
        "probe_heads": 16,
    },
    "tiny": {
        "width": 96,
        "depth": 4,
        "heads": 3,
        "patch_size": 8,
        "image_size": 64,
        "probe_depth": 4,
        "probe_heads": 3,
    },
}
POSITIONS = ("none", "sincos")
LayerNorm = partial(nn.LayerNorm, eps=1e-5)  # of the probe; its encoder has 1e-6
STD = 0.02


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
    probe_depth: int = 4,
    probe_heads: int = 16,
    positions: str = "none",
    attention: str = "sdpa",
) -> "AttentiveProbe":
    """An attentive probe of clips of exactly `frames` frames.

    `probe_heads` must divide the channels of the backbone.
    """
    at_least_one(probe_depth=probe_depth, probe_heads=probe_heads)
    if positions not in POSITIONS:
        raise ValueError(unknown_name("positions", positions, POSITIONS))
    sizes = {"width": width, "depth": depth, "heads": heads, "patch_size": patch_size}
    net = frozen_backbone(backbone, image_size=image_size, attention=attention, **sizes)
    if net.dim % probe_heads:
        raise ValueError(f"probe_heads must divide the {net.dim} channels, got {probe_heads}")
    pooler = AttentivePooler(net.dim, probe_heads, probe_depth, attention=attention)
    return AttentiveProbe(net, frames, num_classes, pooler, positions == "sincos")


class CrossAttention(nn.Module):
    """Queries (b, q, d) attend to x (b, n, d) -> (b, q, d); no projection of the output."""

    def __init__(self, d: int, heads: int, attention: str) -> None:
        super().__init__()
        self.heads, self.attention = heads, attention
        self.q = nn.Linear(d, d)
        self.kv = nn.Linear(d, 2 * d)

    def forward(self, queries: Tensor, x: Tensor) -> Tensor:
        """What each query finds in x."""
        q = self._split(self.q(queries))
        k, v = map(self._split, self.kv(x).chunk(2, -1))
        return attend(q, k, v, self.attention).transpose(1, 2).flatten(2)

    def _split(self, x: Tensor) -> Tensor:
        """(b, n, d) -> (b, heads, n, d / heads)."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class CrossBlock(nn.Module):
    """Cross-attention and an MLP, each with its residual; the queries have no norm."""

    def __init__(self, d: int, heads: int, attention: str) -> None:
        super().__init__()
        self.norm1 = LayerNorm(d)
        self.xattn = CrossAttention(d, heads, attention)
        self.norm2 = LayerNorm(d)
        self.mlp = Mlp(d, 4 * d)

    def forward(self, queries: Tensor, x: Tensor) -> Tensor:
        """Queries (b, q, d) after reading x (b, n, d)."""
        y = queries + self.xattn(queries, self.norm1(x))
        return y + self.mlp(self.norm2(y))


class AttentivePooler(nn.Module):
    """Tokens (b, n, d) -> one vector for each learned query (b, q, d)."""

    def __init__(
        self, d: int, heads: int, depth: int, queries: int = 1, attention: str = "sdpa"
    ) -> None:
        super().__init__()
        self.query_tokens = nn.Parameter(torch.empty(1, queries, d))
        self.blocks = nn.ModuleList(
            Block(d, heads, qkv_bias=True, norm_layer=LayerNorm) for _ in range(depth - 1)
        )
        self.cross_attention_block = CrossBlock(d, heads, attention)
        declare_attention(self.blocks, attention)
        self._init_weights()

    def _init_weights(self) -> None:
        """As the authors: normal .02, biases zero, the end of each residual branch smaller.

        The cross-attention has the factor of the last block before it.
        """
        nn.init.trunc_normal_(self.query_tokens, std=STD)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=STD)
                nn.init.zeros_(layer.bias)
        for i, block in enumerate(self.blocks, 1):
            block.attn.proj.weight.data.div_(sqrt(2 * i))
            block.mlp.fc2.weight.data.div_(sqrt(2 * i))
        last = max(1, len(self.blocks))
        self.cross_attention_block.mlp.fc2.weight.data.div_(sqrt(2 * last))

    def forward(self, x: Tensor) -> Tensor:
        """The queries after attention to the tokens."""
        for block in self.blocks:
            x = block(x)
        return self.cross_attention_block(self.query_tokens.repeat(len(x), 1, 1), x)

    def macs(self, batch: int, tokens: int) -> int:
        """MACs of `batch` clips of so many tokens."""
        q, d = self.query_tokens.shape[1:]
        reading = linear_macs(q, d, 9 * d) + linear_macs(tokens, d, 2 * d)
        reading += attention_macs(1, q, tokens, d)
        return batch * (len(self.blocks) * vit_block_macs(1, tokens, d) + reading)


class AttentiveProbe(Probe):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    official = Official(only_ours=("backbone.",))

    def __init__(
        self,
        backbone: PerFrameBackbone,
        frames: int,
        num_classes: int,
        pooler: AttentivePooler,
        has_positions: bool,
    ) -> None:
        super().__init__(backbone, frames)
        self.follows = {"pooler": "backbone"}
        table = sincos_table(frames, backbone.dim) if has_positions else None
        self.register_buffer("positions", table, persistent=False)
        self.pooler = pooler
        self.linear = nn.Linear(backbone.dim, num_classes)

    def from_features(self, features: Tensor) -> Tensor:
        """Logits from the backbone's `features` of each clip."""
        x = self.frame_tokens(features)
        if self.positions is not None:
            x = x + self.positions.to(x.dtype)
        return self.linear(self.pooler(x.flatten(1, 2))[:, 0])

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage."""
        return {
            "backbone": self.backbone.macs(batch * self.frames),
            "temporal": self.pooler.macs(batch, self.tokens),
            "head": linear_macs(batch, self.linear.in_features, self.linear.out_features),
        }


def sincos_table(t: int, d: int) -> Tensor:
    """Positions (t, 1, d) of frames: all sines first, then all cosines; d is even.

    Channel j of either half turns at 10000^(-j / (d/2)) a frame.
    """
    pace = 10000 ** (-torch.arange(d // 2, dtype=torch.float64) / (d // 2))
    angle = torch.arange(t, dtype=torch.float64)[:, None] * pace
    return torch.cat([angle.sin(), angle.cos()], 1).float()[:, None]
