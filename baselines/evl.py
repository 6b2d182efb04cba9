"""EVL (adapters): a decoder with one query reads the last blocks of a frozen CLIP ViT.

The trunk runs on every frame without gradients and keeps no activations. The decoder takes the
output tokens of each of its last blocks, and the queries and keys of the attention. A decoder layer
adds three kinds of temporal information to those tokens: a depth-wise convolution over neighbouring
frames, an embedding of time, and, for patches, their match with the patches of the previous and the
next frame. That match is the attention map between the trunk's queries and keys, averaged over
heads, in which each offset on the grid has a learned vector. Then one query token attends to all
tokens of the clip. Tokens lie (t, 1 + n), every frame's cls first; n = side*side patches, e
channels of a head.

Source: arXiv 2208.03550 and the authors' code (OpenGVLab/efficient-video-recognition). Deviations:
their frozen trunk computes in half precision and is not in the model's state dict. Here it has the
model's precision and is in the state dict as `backbone.`, which a checkpoint may lack, or hold as
OpenAI's `visual.`. The decoder has width and heads of the trunk, as in all their published models.
The layer needs the maps between frames themselves, so these are always eager; `attention` sets the
kernel of trunk and decoder.
"""

import torch
import torch.nn.functional as F
from timm.layers import Mlp, QuickGELU
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from pks4.macs import attention_macs, linear_macs
from pks4.models.attention import attend, declare_attention
from pks4.models.backbone import build_vit, check_video, vit_macs
from pks4.models.frozen_vit import FrozenTrunk, embed
from pks4.weights.clip_names import CLIP_TEXT, image_tower
from pks4.weights.files import IMAGE_PREFIX
from pks4.weights.official import Official

FAMILY = "adapters"
PAPER = "https://arxiv.org/abs/2208.03550"
IMAGE_TWIN = "frame_mean"
PLACE = "parallel to the last blocks: a decoder reads their tokens, queries and keys"
TRAINED = "decoder and head"
STAGES = {"temporal": ("decoder",), "head": ("proj",)}
VARIANTS = {"frozen ViT": {}, "on CLIP": {"clip": True}, "eager": {"attention": "eager"}}
SILENT = (".attn.k_proj.bias",)  # adds the same to all scores of a query, which softmax cancels
SCALES = {
    "paper": {"width": 768, "depth": 12, "heads": 12, "patch_size": 16, "image_size": 224},
    "tiny": {
        "width": 96,
        "depth": 4,
        "heads": 3,
        "patch_size": 8,
        "image_size": 64,
        "decoder_layers": 2,
        "clip": False,  # the tiny image model of all contestants
    },
}
KERNEL, BIAS = "patch_embed.proj.weight", "patch_embed.proj.bias"
Features = tuple[Tensor, Tensor, Tensor]  # tokens (b, t, 1 + n, d); q and k (b, t, heads, n, e)


def build(
    *,
    frames: int,
    num_classes: int,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    patch_size: int = 16,
    image_size: int = 224,
    decoder_layers: int = 4,
    clip: bool = True,
    dropout: float = 0.0,
    mlp_dropout: float = 0.0,
    attention: str = "sdpa",
) -> "EVL":
    """EVL for clips of exactly `frames` frames; the paper trains with both dropouts at .5.

    `dropout` applies before the last linear layer, `mlp_dropout` inside the decoder's MLPs.
    `clip=False` takes the ImageNet-style ViT of the other contestants instead of CLIP's.
    """
    if not 1 <= decoder_layers <= depth:
        raise ValueError(f"decoder_layers must be from 1 to depth {depth}, got {decoder_layers}")
    sizes = {"width": width, "depth": depth, "heads": heads, "patch_size": patch_size}
    trunk = build_vit(clip=clip, image_size=image_size, **sizes)
    declare_attention(trunk, attention)
    layers = [DecoderLayer(width, heads, mlp_dropout, attention) for _ in range(decoder_layers)]
    decoder = Decoder(frames, image_size // patch_size, width, layers)
    return EVL(num_classes, image_size, trunk, decoder, dropout)


class Attention(nn.Module):
    """Queries from x (b, l, d), keys and values from y (b, m, d), to (b, l, d)."""

    def __init__(self, width: int, heads: int, attention: str) -> None:
        super().__init__()
        self.heads, self.attention = heads, attention
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            layer = nn.Linear(width, width)
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
            setattr(self, name, layer)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Multi-head attention from x to y."""
        q, k, v = (
            z.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for z in (self.q_proj(x), self.k_proj(y), self.v_proj(y))
        )
        return self.out_proj(attend(q, k, v, self.attention).transpose(1, 2).flatten(2))


class DecoderLayer(nn.Module):
    """Query x (b, 1, d) reads y (b, m, d): attention, then the MLP."""

    def __init__(self, width: int, heads: int, mlp_dropout: float, attention: str) -> None:
        super().__init__()
        self.attn = Attention(width, heads, attention)
        self.mlp = Mlp(width, 4 * width, act_layer=QuickGELU, drop=(mlp_dropout, 0.0))
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        for layer in (self.mlp.fc1, self.mlp.fc2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The query after this layer, (b, 1, d)."""
        x = x + self.attn(self.norm1(x), self.norm3(y))
        return x + self.mlp(self.norm2(x))


class CrossFrames(nn.Module):
    """Where the patches of a frame are in the neighbouring frames, as vectors (b, t, n, d)."""

    def __init__(self, side: int, width: int) -> None:
        super().__init__()
        offsets = (2 * side - 1) ** 2
        self.w1 = nn.Parameter(torch.zeros(offsets, width))  # for the frame before
        self.w2 = nn.Parameter(torch.zeros(offsets, width))  # for the frame after
        place = torch.arange(side * side)
        row, column = (z[:, None] - z + side - 1 for z in (place // side, place % side))
        self.register_buffer("offset", row * (2 * side - 1) + column, persistent=False)  # (n, n)

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        """q and k (b, t, heads, n, e), before scaling; without a neighbour: zeros."""
        before = self._read(q[:, 1:], k[:, :-1], self.w1)
        after = self._read(q[:, :-1], k[:, 1:], self.w2)
        return F.pad(before, (0, 0, 0, 0, 1, 0)) + F.pad(after, (0, 0, 0, 0, 0, 1))

    def _read(self, q: Tensor, k: Tensor, w: Tensor) -> Tensor:
        """The vectors of the offsets, weighted by the mean of the heads' maps."""
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        maps = scores.softmax(-1).mean(2)  # (b, t - 1, n, n)
        return torch.einsum("btqk,qkd->btqd", maps, F.embedding(self.offset, w))


class Decoder(nn.Module):
    """Features of as many blocks as it has layers, shallow to deep, to the query (b, 1, d)."""

    def __init__(self, frames: int, side: int, width: int, layers: list[DecoderLayer]) -> None:
        super().__init__()
        self.frames, self.patches, self.width, depth = frames, side * side, width, len(layers)
        self.decoder_layers = nn.ModuleList(layers)
        self.temporal_conv = nn.ModuleList(
            nn.Conv1d(width, width, 3, padding=1, groups=width) for _ in range(depth)
        )
        self.temporal_pos_embed = nn.ParameterList(torch.zeros(frames, width) for _ in range(depth))
        self.cross_attention = nn.ModuleList(CrossFrames(side, width) for _ in range(depth))
        self.cls_token = nn.Parameter(torch.zeros(width))

    def forward(self, features: list[Features]) -> Tensor:
        """The query after the last layer."""
        x = self.cls_token.repeat(features[0][0].shape[0], 1, 1)
        for i, layer in enumerate(self.decoder_layers):
            x = layer(x, self._with_time(i, *features[i]).flatten(1, 2))
        return x

    def _with_time(self, i: int, tokens: Tensor, q: Tensor, k: Tensor) -> Tensor:
        """Tokens (b, t, 1 + n, d) plus the three kinds of temporal information of layer i."""
        sites = tokens.permute(0, 2, 3, 1)  # (b, 1 + n, d, t)
        moved = self.temporal_conv[i](sites.flatten(0, 1)).unflatten(0, sites.shape[:2])
        y = tokens + moved.permute(0, 3, 1, 2) + self.temporal_pos_embed[i][:, None]
        return y + F.pad(self.cross_attention[i](q, k), (0, 0, 1, 0))  # zeros for cls

    def macs(self, batch: int) -> int:
        """MACs of all layers."""
        t, n, d = self.frames, self.patches, self.width
        tokens = t * (1 + n)
        conv = linear_macs(batch * tokens, 3, d)
        maps = attention_macs(2 * batch * (t - 1), n, n, d)
        read = linear_macs(batch * tokens, d, 2 * d) + attention_macs(batch, 1, tokens, d)
        query = linear_macs(batch, d, 10 * d)
        return len(self.decoder_layers) * (conv + maps + read + query)


def _as_theirs(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """To the authors' trunk: separate q, k and v, and flattened patches."""
    theirs = {}
    for name, x in state.items():
        if ".attn.qkv." in name:
            thirds = zip("qkv", x.chunk(3), strict=True)
            theirs |= {name.replace(".qkv.", f".{part}_proj."): third for part, third in thirds}
        else:
            theirs[name] = x.flatten(1) if name.endswith(KERNEL) else x
    return theirs


def _as_ours(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `_as_theirs`, except for shapes."""
    first, joined = ".attn.q_proj.", {}
    for name in theirs:
        if name.startswith("backbone.") and first in name:
            thirds = [theirs[name.replace(first, f".attn.{part}_proj.")] for part in "qkv"]
            joined[name.replace(first, ".attn.qkv.")] = torch.cat(thirds)
    return {**theirs, **joined}


def _from_clip(given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Translate OpenAI's `visual.` to the authors' names, as their loader does."""
    tower = image_tower(given)
    tower = {EVL.official.name(k): x for k, x in tower.items() if not k.startswith("trunk.norm.")}
    if "backbone." + KERNEL in tower:
        tower["backbone." + BIAS] = torch.zeros(len(tower["backbone." + KERNEL]))
    rest = {k: x for k, x in given.items() if not k.startswith("visual.")}
    return {**rest, **_as_theirs(tower)}


class EVL(FrozenTrunk):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    official = Official(
        renames=(
            ("trunk.norm_pre.", "trunk.ln_pre."),
            (".attn.proj.", ".attn.out_proj."),
            ("trunk.", "backbone."),
        ),
        squeezed=("backbone.cls_token", "backbone.pos_embed"),
        ignored=(*CLIP_TEXT, "transformer.", "positional_embedding"),
        trained_only=True,
        accept=_from_clip,
        export=_as_theirs,
        restore=_as_ours,
    )

    def __init__(
        self,
        num_classes: int,
        image_size: int,
        trunk: VisionTransformer,
        decoder: Decoder,
        dropout: float,
    ) -> None:
        width = decoder.width
        trunk.norm = nn.Identity()  # the decoder reads blocks, not the end
        if trunk.patch_embed.proj.bias is None:  # CLIP has none, the authors' copy of it zeros
            trunk.patch_embed.proj.bias = nn.Parameter(torch.zeros(width))
        super().__init__(trunk)
        self.frames, self.image_size, self.decoder = decoder.frames, image_size, decoder
        self.proj = nn.Sequential(
            nn.LayerNorm(width), nn.Dropout(dropout), nn.Linear(width, num_classes)
        )

    def forward(self, video: Tensor) -> Tensor:
        """Logits of each clip, read from the decoder's query."""
        check_video(video, self.image_size, self.frames)
        return self.proj(self.decoder(self._features(video))[:, 0])

    @torch.no_grad()
    def _features(self, video: Tensor) -> list[Features]:
        """The features of the last blocks, one entry for each layer of the decoder."""
        x = embed(self.trunk, video.flatten(0, 1))
        features, skipped = [], len(self.trunk.blocks) - len(self.decoder.decoder_layers)
        for i, block in enumerate(self.trunk.blocks):
            x, q, k = _through(block, x)
            if i >= skipped:
                by_clip = (z.unflatten(0, video.shape[:2]) for z in (x, q[:, :, 1:], k[:, :, 1:]))
                features.append(tuple(by_clip))
        return features

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage."""
        last = self.proj[-1]
        return {
            "backbone": vit_macs(self.trunk, batch * self.frames),
            "temporal": self.decoder.macs(batch),
            "head": linear_macs(batch, last.in_features, last.out_features),
        }

    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Load the ViT of the image twin; CLIP's missing bias of the patches is zero."""
        if not isinstance(self.trunk.norm_pre, nn.Identity):
            zeros = torch.zeros_like(self.trunk.patch_embed.proj.bias)
            state = {IMAGE_PREFIX + BIAS: zeros, **state}
        super().load_image_weights(state)


def _through(block: Block, x: Tensor) -> Features:
    """Run a block of the trunk: x (b*t, 1 + n, d) after it, and q and k by head."""
    attn = block.attn
    qkv = attn.qkv(block.norm1(x)).unflatten(-1, (3, attn.num_heads, -1))
    q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (b*t, heads, 1 + n, e)
    mixed = attend(q, k, v, "sdpa" if attn.fused_attn else "eager")
    x = x + attn.proj(mixed.transpose(1, 2).flatten(2))
    return x + block.mlp(block.norm2(x)), q, k
