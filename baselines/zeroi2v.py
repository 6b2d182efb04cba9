"""ZeroI2V (adapters): a frozen CLIP ViT that sees time at no cost, with adapters that merge.

In the attention within frames, some channels of keys and values come from the previous and the next
frame. This shift is the only exchange over time, and it costs no arithmetic. The adapters before
and after the attention and the MLP are linear, without activation, so after training `merge` folds
each into the adjacent linear layer. The result is the plain ViT, as large and as fast as on single
frames. The adapters, an embedding of time, the last norm and the head train. n patches of a frame.

Source: arXiv 2310.01324 and the authors' code (MCG-NJU/ZeroI2V). Their Kinetics model is the
default; for Something-Something the scale is 1 and further channels come from two frames away
(`shift_reach` 2). At the ends of a clip a frame keeps its channels. They train with dropout .5
before the head and .1 inside the adapters (0 on Something-Something); the defaults here are 0. The
last norm runs only on the cls tokens, as theirs. Names of the merged model are CLIP's, as their
`weight_reparam` writes them. On the ImageNet-style ViT (`clip=False`, ours) all names are ours too:
CLIP's if it has one.
"""

import copy

import torch
from timm.models.vision_transformer import Attention, Block, VisionTransformer
from torch import Tensor, nn

from pks4.checks import at_least_one
from pks4.macs import linear_macs
from pks4.models.attention import attend, declare_attention
from pks4.models.backbone import build_vit, check_video, vit_macs
from pks4.models.frozen_vit import FrozenTrunk, embed
from pks4.models.temporal_shift import check_n_div
from pks4.weights.clip_names import CLIP_NAMES, CLIP_SQUEEZED
from pks4.weights.official import Official

FAMILY = "adapters"
PAPER = "https://arxiv.org/abs/2310.01324"
IMAGE_TWIN = "frame_mean"
PLACE = "in every block: keys and values shifted in time, adapters around attention and MLP"
TRAINED = "adapters, time embedding, last norm and head"
STAGES = {"temporal": ("adapters",), "head": ("fc_cls",)}
VARIANTS = {
    "Kinetics": {},
    "Something-Something": {"scale": 1.0, "shift_reach": 2},
    "three adapters": {"adapters_per_block": 3},
    "merged": {"merged": True},
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
# Each adapter with its side of a linear layer of a timm block.
PLACES = {
    "T_Adapter_in": ("before", "attn.qkv"),
    "S_Adapter": ("after", "attn.proj"),
    "MLP_Adapter": ("before", "mlp.fc1"),
    "MLP_Adapter_out": ("after", "mlp.fc2"),
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
    adapter_width: int = 192,
    adapters_per_block: int = 4,
    scale: float = 0.5,
    shift_div: int = 12,
    shift_reach: int = 1,
    merged: bool = False,
    clip: bool = True,
    adapter_dropout: float = 0.0,
    dropout: float = 0.0,
    attention: str = "sdpa",
) -> "ZeroI2V":
    """ZeroI2V for clips of exactly `frames` frames; `merged` gives the model after `merge`.

    For each distance up to `shift_reach`, width // shift_div channels of keys and values come from
    that many frames before and as many from after. `adapters_per_block=3` leaves out the one after
    the MLP. `clip=False` takes the ImageNet-style ViT of the other contestants.
    """
    if adapters_per_block not in (3, 4):
        raise ValueError(f"adapters_per_block must be 3 or 4, got {adapters_per_block}")
    at_least_one(shift_reach=shift_reach)
    check_n_div(shift_div, width, name="shift_div")
    if 2 * shift_reach * (width // shift_div) > width:
        raise ValueError(
            f"shift_div {shift_div} is too small to shift channels {shift_reach} frames both ways; "
            f"take at least {2 * shift_reach}"
        )
    sizes = {"width": width, "depth": depth, "heads": heads, "patch_size": patch_size}
    trunk = build_vit(clip=clip, image_size=image_size, **sizes)
    declare_attention(trunk, attention)
    places = () if merged else tuple(PLACES)[:adapters_per_block]
    adapters = [
        nn.ModuleDict(
            {
                place: LinearAdapter(width, adapter_width, scale, adapter_dropout)
                if place in places
                else nn.Identity()
                for place in PLACES
            }
        )
        for _ in range(depth)
    ]
    shift = (width // shift_div, shift_reach)
    return ZeroI2V(frames, num_classes, image_size, trunk, adapters, shift, dropout, attention)


class LinearAdapter(nn.Module):
    """x (..., d) -> x plus a low-rank linear map of it; the identity at the start."""

    def __init__(self, width: int, adapter_width: int, scale: float, dropout: float) -> None:
        super().__init__()
        self.D_fc1 = nn.Linear(width, adapter_width)
        self.dropout = nn.Dropout(dropout)
        self.D_fc2 = nn.Linear(adapter_width, width)
        self.scale = scale
        nn.init.trunc_normal_(self.D_fc1.weight, std=0.02)
        for silent in (self.D_fc1.bias, self.D_fc2.weight, self.D_fc2.bias):
            nn.init.zeros_(silent)

    def forward(self, x: Tensor) -> Tensor:
        """The input plus its projection down and up."""
        return x + self.scale * self.D_fc2(self.dropout(self.D_fc1(x)))

    def matrix(self) -> tuple[Tensor, Tensor]:
        """A (d, d) and c (d,) in float64 such that the adapter is A x + c."""
        down, up = self.D_fc1, self.D_fc2
        A = self.scale * (up.weight.double() @ down.weight.double())
        c = self.scale * (up.weight.double() @ down.bias.double() + up.bias.double())
        return A + torch.eye(len(c), dtype=c.dtype, device=c.device), c

    def macs(self, vectors: int) -> int:
        """MACs for `vectors` input vectors."""
        return 2 * linear_macs(vectors, self.D_fc1.in_features, self.D_fc1.out_features)


def shift(x: Tensor, fold: int, reach: int) -> Tensor:
    """Shift x (b, t, ..., d): `fold` channels from each of t-1, t+1, t-2, t+2, ...; the rest stays.

    A frame without that neighbour in the clip keeps its channels.
    """
    parts = []
    for k in range(1, reach + 1):
        early, late = x[..., (2 * k - 2) * fold : 2 * k * fold].chunk(2, -1)
        parts.append(torch.cat([early[:, :k], early[:, :-k]], 1))
        parts.append(torch.cat([late[:, k:], late[:, -k:]], 1))
    return torch.cat([*parts, x[..., 2 * reach * fold :]], -1)


class ZeroI2V(FrozenTrunk):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    official = Official(
        renames=(
            ("trunk.", "backbone.trunk."),
            *CLIP_NAMES,
            ("adapters.", "backbone.transformer.resblocks."),
            ("temporal_embedding", "backbone.temporal_embedding"),
            ("fc_cls.", "cls_head.fc_cls."),
        ),
        squeezed=tuple(f"backbone.{name}" for name in CLIP_SQUEEZED),
    )

    def __init__(
        self,
        frames: int,
        num_classes: int,
        image_size: int,
        trunk: VisionTransformer,
        adapters: list[nn.ModuleDict],
        shift: tuple[int, int],  # channels in each direction, frames
        dropout: float,
        attention: str,
    ) -> None:
        super().__init__(trunk)
        self.frames, self.image_size = frames, image_size
        self.shift, self.attention = shift, attention
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
            x = self.run_block(x, block, adapters)
        return self.trunk.norm(x[:, 0]).unflatten(0, (b, t)).mean(1)

    def run_block(self, x: Tensor, block: Block, adapters: nn.ModuleDict) -> Tensor:
        """Attention within frames with shifted keys and values, then the MLP."""
        z = adapters["T_Adapter_in"](block.norm1(x))
        x = x + adapters["S_Adapter"](self._attend(z, block.attn))
        z = adapters["MLP_Adapter"](block.norm2(x))
        return x + adapters["MLP_Adapter_out"](block.mlp(z))

    def _attend(self, z: Tensor, attn: Attention) -> Tensor:
        """Attention with shifted keys and values; heads are split after the shift."""
        qkv = attn.qkv(z).unflatten(-1, (3, -1)).unflatten(0, (-1, self.frames))
        q, kv = qkv[..., :1, :], shift(qkv[..., 1:, :], *self.shift)  # (b, t, 1 + n, 1 or 2, d)
        heads = [
            part.flatten(0, 1).unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)
            for part in (q[..., 0, :], kv[..., 0, :], kv[..., 1, :])
        ]
        return attn.proj(attend(*heads, self.attention).transpose(1, 2).flatten(2))

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage; the shift costs none."""
        images = batch * self.frames
        tokens = images * (1 + self.trunk.patch_embed.num_patches)
        adapters = [layer for layer in self.adapters.modules() if isinstance(layer, LinearAdapter)]
        return {
            "backbone": vit_macs(self.trunk, images),
            "temporal": sum(adapter.macs(tokens) for adapter in adapters),
            "head": linear_macs(batch, self.fc_cls.in_features, self.fc_cls.out_features),
        }


@torch.no_grad()
def merge(model: ZeroI2V) -> ZeroI2V:
    """A copy of the model with every adapter folded into its linear layer, for inference.

    It equals `build(merged=True)` in structure and the model in eval mode in its outputs.
    """
    plain = copy.deepcopy(model)
    for block, adapters in zip(plain.trunk.blocks, plain.adapters, strict=True):
        for place, (side, name) in PLACES.items():
            if isinstance(adapters[place], LinearAdapter):
                _fold(adapters[place], block.get_submodule(name), side)
                adapters[place] = nn.Identity()
    return plain


def _fold(adapter: LinearAdapter, layer: nn.Linear, side: str) -> None:
    """Fold the adapter into the layer, in float64."""
    (A, c), W, b = adapter.matrix(), layer.weight.double(), layer.bias.double()
    weight, bias = (W @ A, W @ c + b) if side == "before" else (A @ W, A @ b + c)
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
