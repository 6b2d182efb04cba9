"""AdaptFormer (adapters): a frozen ViT with a narrow ReLU branch beside each MLP; order-blind.

The branch reads every token before the norm of the MLP, in parallel with it, and its output is
scaled. It mixes no tokens. So on an image model (the default) a clip is the mean of its frames,
whatever their order. With `joint` the trunk is VideoMAE's, whose attention joins all frames, as in
the authors' model of video. n patches of a frame, d channels.

Source: arXiv 2205.13535 and the authors' code (ShoufaChen/AdaptFormer). Their head has a batch norm
without affine part before its linear layer; here it is the linear layer. The mean over frames of
the image model is ours. They train the image model with dropout .1 in the branch (0 here, as their
model of video).
"""

from math import sqrt

import torch.nn.functional as F
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from pks4.checks import at_least_one
from pks4.macs import linear_macs
from pks4.models.attention import declare_attention
from pks4.models.backbone import build_vit, check_video, vit_macs
from pks4.models.frozen_vit import FrozenTrunk, embed
from pks4.models.tubelet_vit import TubeletViT
from pks4.weights.official import Official
from pks4.weights.split_qkv import joined, split

FAMILY = "adapters"
PAPER = "https://arxiv.org/abs/2205.13535"
IMAGE_TWIN = "frame_mean"
PLACE = "beside the MLP of every block"
TRAINED = "adapters and head (joint: and the last norm)"
STAGES = {"temporal": ("adapters",), "head": ("head",)}
VARIANTS = {
    "parallel": {},
    "sequential": {"sequential": True},
    "joint over tubelets of 2": {"joint": True, "tubelet": 2},
    "eager": {"attention": "eager"},
}
SCALES = {
    "paper": {
        "width": 768,
        "depth": 12,
        "heads": 12,
        "patch_size": 16,
        "image_size": 224,
        "adapter_width": 64,
    },
    "tiny": {
        "width": 96,
        "depth": 4,
        "heads": 3,
        "patch_size": 8,
        "image_size": 64,
        "adapter_width": 8,
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
    adapter_width: int = 64,
    scale: float = 0.1,
    sequential: bool = False,
    joint: bool = False,
    tubelet: int = 1,
    attention: str = "sdpa",
) -> "AdaptFormer":
    """AdaptFormer for clips of exactly `frames` frames, a multiple of `tubelet`.

    `sequential` puts the branch behind the MLP, with a residual of its own. `joint` takes
    VideoMAE's trunk instead of an image model; only it takes a `tubelet` above 1.
    """
    at_least_one(adapter_width=adapter_width, tubelet=tubelet)
    if tubelet > 1 and not joint:
        raise ValueError(f"tubelet {tubelet}: an image model takes single frames; give joint=True")
    sizes = {"width": width, "depth": depth, "heads": heads, "patch_size": patch_size}
    if joint:
        trunk = TubeletViT(frames=frames, image_size=image_size, tubelet=tubelet, **sizes)
        trunk.init_weights()
    else:
        trunk = build_vit(image_size=image_size, **sizes)
    declare_attention(trunk, attention)
    adapters = [Adapter(width, adapter_width, scale, sequential) for _ in range(depth)]
    return AdaptFormer(frames, num_classes, image_size, trunk, adapters)


class Adapter(nn.Module):
    """x (..., d) -> (..., d) through a bottleneck with ReLU; zero at the start."""

    def __init__(self, width: int, adapter_width: int, scale: float, sequential: bool) -> None:
        super().__init__()
        self.scale, self.sequential = scale, sequential
        self.down_proj = nn.Linear(width, adapter_width)
        self.up_proj = nn.Linear(adapter_width, width)
        nn.init.kaiming_uniform_(self.down_proj.weight, a=sqrt(5))
        for silent in (self.down_proj.bias, self.up_proj.weight, self.up_proj.bias):
            nn.init.zeros_(silent)

    def forward(self, x: Tensor) -> Tensor:
        """What the branch adds."""
        return self.scale * self.up_proj(F.relu(self.down_proj(x)))

    def macs(self, tokens: int) -> int:
        """MACs for `tokens` vectors."""
        return 2 * linear_macs(tokens, self.down_proj.in_features, self.down_proj.out_features)


class AdaptFormer(FrozenTrunk):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    official = Official(
        renames=(
            ("trunk.", ""),
            ("adapters.", "blocks."),
            (".mlp.", "."),
            (".qkv.q_bias", ".q_bias"),
            (".qkv.v_bias", ".v_bias"),
        ),
        export=split,
        restore=joined,
    )

    def __init__(
        self,
        frames: int,
        num_classes: int,
        image_size: int,
        trunk: VisionTransformer | TubeletViT,
        adapters: list[Adapter],
    ) -> None:
        super().__init__(trunk)
        self.frames, self.image_size = frames, image_size
        self.joint = isinstance(trunk, TubeletViT)
        if self.joint:
            trunk.fc_norm.requires_grad_(True)
        self.adapters = nn.ModuleList(nn.ModuleDict({"adaptmlp": a}) for a in adapters)
        self.head = nn.Linear(adapters[0].down_proj.in_features, num_classes)
        nn.init.trunc_normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, video: Tensor) -> Tensor:
        """Logits of each clip: the normed cls tokens, mean over frames; joint: mean of tokens."""
        check_video(video, self.image_size, self.frames)
        trunk = self.trunk  # joint: x (b, t/tubelet * n, d); else: x (b*t, 1 + n, d)
        x = trunk.embed(video) if self.joint else embed(trunk, video.flatten(0, 1))
        for block, adapters in zip(trunk.blocks, self.adapters, strict=True):
            x = self.run_block(x, block, adapters["adaptmlp"])
        if self.joint:
            return self.head(trunk.fc_norm(x.mean(1)))
        return self.head(trunk.norm(x[:, 0]).unflatten(0, (-1, self.frames)).mean(1))

    def run_block(self, x: Tensor, block: Block, adapter: Adapter) -> Tensor:
        """One block with its branch; x (sequences, tokens, d) -> the same shape."""
        x = x + block.attn(block.norm1(x))
        y = block.mlp(block.norm2(x))
        return x + y + adapter(y if adapter.sequential else x)

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage."""
        images, trunk = batch * self.frames, self.trunk
        if self.joint:
            macs, tokens = trunk.trunk_macs(batch), batch * trunk.steps * trunk.n
        else:
            macs = {"backbone": vit_macs(trunk, images), "temporal": 0}
            tokens = images * (1 + trunk.patch_embed.num_patches)
        macs["temporal"] += sum(block["adaptmlp"].macs(tokens) for block in self.adapters)
        head = linear_macs(batch, self.head.in_features, self.head.out_features)
        return {**macs, "head": head}

    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Load the ViT of the image twin, without its head; joint: by VideoMAE's rule."""
        if self.joint:
            self.trunk.load_image_weights(state)
        else:
            super().load_image_weights(state)
