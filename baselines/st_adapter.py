"""ST-Adapter (adapters): a frozen CLIP ViT with a small temporal convolution before each MLP.

An adapter projects to fewer channels, mixes three neighbouring frames at every place with a
depth-wise convolution, and projects back; the cls token skips it. Only adapters and `fc` train.
n patches of a frame, a channels of the adapter.

Source: arXiv 2206.13559 and the authors' code (linziyi96/st-adapter). One adapter a block is their
Kinetics model (12x384), two their Something-Something model (24x384). They train with dropout .5
before `fc` (0 here) and keep the frozen weights in half precision (float32 here). On the
ImageNet-style ViT (`clip=False`, ours) the names in `official` are ours: CLIP's if it has one. The
adapter before the last MLP cannot affect the cls token of the head; it is there as in their code.
"""

import torch
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from pks4.macs import linear_macs
from pks4.models.attention import declare_attention
from pks4.models.backbone import build_vit, check_video, vit_macs
from pks4.models.frozen_vit import FrozenTrunk, embed
from pks4.weights.clip_names import CLIP_NAMES, CLIP_SQUEEZED, CLIP_TEXT
from pks4.weights.official import Official

FAMILY = "adapters"
PAPER = "https://arxiv.org/abs/2206.13559"
IMAGE_TWIN = "frame_mean"
PLACE = "before the MLP of every block (12x384), and before its attention (24x384)"
TRAINED = "adapters and head"
STAGES = {"temporal": ("adapters",), "head": ("fc",)}
VARIANTS = {
    "one a block": {},
    "two a block": {"adapters_per_block": 2},
    "in the last two blocks": {"adapter_layers": 2},
    "on CLIP": {"clip": True},
    "eager": {"attention": "eager"},
}
SILENT = ("adapters.3.pre_mlp.",)  # after it no patch reaches the cls token
SCALES = {
    "paper": {
        "width": 768,
        "depth": 12,
        "heads": 12,
        "patch_size": 16,
        "image_size": 224,
        "adapter_width": 384,
    },
    "tiny": {
        "width": 96,
        "depth": 4,
        "heads": 3,
        "patch_size": 8,
        "image_size": 64,
        "adapter_width": 64,
        "clip": False,  # the tiny image model of all contestants
    },
}
PLACES = {1: ("pre_mlp",), 2: ("pre_attn", "pre_mlp")}


def build(
    *,
    frames: int,
    num_classes: int,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    patch_size: int = 16,
    image_size: int = 224,
    adapter_width: int = 384,
    adapters_per_block: int = 1,
    adapter_layers: int | None = None,
    clip: bool = True,
    dropout: float = 0.0,
    attention: str = "sdpa",
) -> "STAdapter":
    """ST-Adapter for clips of exactly `frames` frames.

    The last `adapter_layers` blocks have adapters; None means all blocks, as in the paper.
    `clip=False` takes the ImageNet-style ViT of the other contestants instead of CLIP's.
    """
    if adapters_per_block not in PLACES:
        raise ValueError(f"adapters_per_block must be 1 or 2, got {adapters_per_block}")
    adapter_layers = depth if adapter_layers is None else adapter_layers
    if adapter_layers not in range(1, depth + 1):
        raise ValueError(f"adapter_layers must be from 1 to depth {depth}, got {adapter_layers}")
    sizes = {"width": width, "depth": depth, "heads": heads, "patch_size": patch_size}
    trunk = build_vit(clip=clip, image_size=image_size, **sizes)
    declare_attention(trunk, attention)
    places = [()] * (depth - adapter_layers) + [PLACES[adapters_per_block]] * adapter_layers
    adapters = [
        nn.ModuleDict({place: Adapter(width, adapter_width) for place in block}) for block in places
    ]
    return STAdapter(frames, num_classes, image_size, trunk, adapters, dropout)


class Adapter(nn.Module):
    """x (b*t, 1 + n, d) -> x plus a mix of neighbouring frames; the identity at the start."""

    def __init__(self, width: int, adapter_width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, adapter_width)
        self.conv = nn.Conv3d(
            adapter_width,
            adapter_width,
            kernel_size=(3, 1, 1),
            padding=(1, 0, 0),
            groups=adapter_width,
        )
        self.fc2 = nn.Linear(adapter_width, width)
        for silent in (self.conv.weight, self.conv.bias, self.fc1.bias, self.fc2.bias):
            nn.init.zeros_(silent)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Add the adapter's output to the patches of every frame."""
        cls, patches = x[:, :1], x[:, 1:]
        y = self.fc1(patches).unflatten(0, (-1, frames))  # (b, t, n, a)
        y = self.conv(y.permute(0, 3, 1, 2)[..., None])[..., 0]  # (b, a, t, n)
        y = self.fc2(y.permute(0, 2, 3, 1).flatten(0, 1))  # (b*t, n, d)
        return torch.cat([cls, patches + y], 1)

    def macs(self, patches: int) -> int:
        """MACs for `patches` patch vectors."""
        d, a = self.fc1.in_features, self.fc1.out_features
        return 2 * linear_macs(patches, d, a) + linear_macs(patches, 3, a)


class STAdapter(FrozenTrunk):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    official = Official(
        renames=(*CLIP_NAMES, ("adapters.", "transformer.resblocks."), (".pre_", ".adapter_pre_")),
        squeezed=CLIP_SQUEEZED,
        ignored=("proj", *CLIP_TEXT),
        trained_only=True,
        prefixes=("visual.",),
        first="visual.",  # the text tower has the same names without this prefix
    )

    def __init__(
        self,
        frames: int,
        num_classes: int,
        image_size: int,
        trunk: VisionTransformer,
        adapters: list[nn.ModuleDict],
        dropout: float,
    ) -> None:
        super().__init__(trunk)
        self.frames, self.image_size = frames, image_size
        self.adapters = nn.ModuleList(adapters)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(trunk.embed_dim, num_classes)
        nn.init.normal_(self.fc.weight, std=0.02)
        nn.init.zeros_(self.fc.bias)

    def forward(self, video: Tensor) -> Tensor:
        """Logits of each clip: mean of the frames' cls tokens, norm, dropout, linear layer."""
        check_video(video, self.image_size, self.frames)
        b, t = video.shape[:2]
        x = embed(self.trunk, video.flatten(0, 1))  # (b*t, 1 + n, d)
        for block, adapters in zip(self.trunk.blocks, self.adapters, strict=True):
            x = self.run_block(x, block, adapters)
        cls = x[:, 0].unflatten(0, (b, t)).mean(1)
        return self.fc(self.dropout(self.trunk.norm(cls)))

    def run_block(self, x: Tensor, block: Block, adapters: nn.ModuleDict) -> Tensor:
        """One block with its adapters; x (b*t, 1 + n, d) -> the same shape."""
        if "pre_attn" in adapters:
            x = adapters["pre_attn"](x, self.frames)
        x = x + block.attn(block.norm1(x))
        if "pre_mlp" in adapters:
            x = adapters["pre_mlp"](x, self.frames)
        return x + block.mlp(block.norm2(x))

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage."""
        images = batch * self.frames
        patches = images * self.trunk.patch_embed.num_patches
        return {
            "backbone": vit_macs(self.trunk, images),
            "temporal": sum(a.macs(patches) for block in self.adapters for a in block.values()),
            "head": linear_macs(batch, self.fc.in_features, self.fc.out_features),
        }
