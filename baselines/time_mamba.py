"""TimeMamba (video Mamba): CLIP's ViT whose blocks scan along time before attention within frames.

A block of divided space-time attention, with a Mamba mixer for the attention along time: every
place of the image is a sequence over the frames for one bidirectional mixer. A factor tanh(alpha),
with alpha 0 at the start, scales its result. Then follow attention within each frame, with one cls
token for the clip, and the MLP. n = h*w patches of a frame; they lie (t h w), so the scan needs no
transpose.

Style "timesformer-div" keeps the temporal result in the residual stream. With "frozen-in-time" it
reaches only attention, whose result is added to the input of the block.

Source: arXiv 2403.09626 and the authors' code (OpenGVLab/video-mamba-suite, egocentric
understanding); `official` has its names, without the prefix `visual.`. All weights train.
Deviations: the trunk is CLIP's, with QuickGELU and eps 1e-5; their blocks run GELU and eps 1e-6 on
CLIP's weights. Their patches lie (h w t). The dropout before `fc_cls` in their configurations is 0
here by default. The step size of the forward scan starts as Mamba's, log-uniform in [.001, .1];
that of the backward scan, `dt_proj_b`, starts as any linear layer, as theirs. Positions are resized
to another grid by nearest neighbour. An embedding of time, 0 at the start, is added before
`ln_pre`, as in the TimeSformer of their repository; some versions of their TimeMamba have none
(`temporal_embedding=False`).
"""

import torch
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from pks4.errors import unknown_name
from pks4.macs import attention_macs, linear_macs
from pks4.models.attention import declare_attention
from pks4.models.backbone import build_vit, check_video
from pks4.models.bidirectional_mamba import Mixer, start_steps
from pks4.weights.files import load_part
from pks4.weights.official import Official, on_square

FAMILY = "video Mamba"
PAPER = "https://arxiv.org/abs/2403.09626"
IMAGE_TWIN = "frame_mean"
PLACE = "in every block, before attention within frames"
TRAINED = "all"
STAGES = {"temporal": ("times",), "head": ("fc_cls",)}
VARIANTS = {
    "timesformer-div": {},
    "frozen-in-time": {"style": "frozen-in-time"},
    "without an embedding of time": {"temporal_embedding": False},
    "on CLIP": {"clip": True},
    "eager": {"attention": "eager"},
}
SCALES = {
    "paper": {"width": 768, "depth": 12, "heads": 12, "patch_size": 16, "image_size": 224},
    "tiny": {
        "width": 96,
        "depth": 4,
        "heads": 3,
        "patch_size": 8,
        "image_size": 64,
        "state": 8,
        "clip": False,  # the tiny image model of all contestants
    },
}
STYLES = ("timesformer-div", "frozen-in-time")


def build(
    *,
    frames: int,
    num_classes: int,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    patch_size: int = 16,
    image_size: int = 224,
    style: str = "timesformer-div",
    temporal_embedding: bool = True,
    state: int = 16,
    expand: int = 1,
    conv_kernel: int = 4,
    scan_backend: str = "auto",
    clip: bool = True,
    attention: str = "sdpa",
    drop_path: float = 0.0,
    dropout: float = 0.0,
) -> "TimeMamba":
    """TimeMamba for clips of exactly `frames` frames; drop_path grows by block, on MLPs only.

    `clip=False` takes the ImageNet-style ViT of the other contestants instead of CLIP's.
    """
    if style not in STYLES:
        raise ValueError(unknown_name("style", style, STYLES))
    sizes = {"width": width, "depth": depth, "heads": heads, "patch_size": patch_size}
    trunk = build_vit(clip=clip, image_size=image_size, drop_path=drop_path, **sizes)
    declare_attention(trunk, attention)
    eps = trunk.norm.eps
    times = [
        Time(Mixer(width, state, expand, conv_kernel, scan_backend), eps) for _ in range(depth)
    ]
    return TimeMamba(
        frames, num_classes, image_size, trunk, times, style, temporal_embedding, dropout
    )


class Time(nn.Module):
    """The mixer of a block: patches (b, t, n, d) -> an update of them, zero at the start."""

    def __init__(self, mixer: Mixer, eps: float) -> None:
        super().__init__()
        self.time_mamba = mixer
        self.alpha_timeattn = nn.Parameter(torch.zeros(()))
        self.norm3 = nn.LayerNorm(mixer.out_proj.out_features, eps=eps)
        start_steps(mixer.dt_proj)

    def forward(self, patches: Tensor) -> Tensor:
        """The gated mixer along time, for every place separately."""
        return torch.tanh(self.alpha_timeattn) * self.time_mamba(self.norm3(patches))


class TimeMamba(nn.Module):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    official = Official(
        renames=(
            ("trunk.norm_pre.", "ln_pre."),
            ("trunk.", ""),
            ("times.", "blocks."),
            (".attn.qkv.", ".attn.Wqkv."),
            (".attn.proj.", ".attn.out_proj."),
        ),
        prefixes=("visual.",),
        resize={"pos_embed": on_square("nearest", prefix=1)},
    )

    def __init__(
        self,
        frames: int,
        num_classes: int,
        image_size: int,
        trunk: VisionTransformer,
        times: list[Time],
        style: str,
        temporal_embedding: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.frames, self.image_size, self.style = frames, image_size, style
        self.trunk = trunk
        self.times = nn.ModuleList(times)
        self.temporal_embed = None
        if temporal_embedding:
            self.temporal_embed = nn.Parameter(torch.zeros(1, frames, trunk.embed_dim))
        self.dropout = nn.Dropout(dropout)
        self.fc_cls = nn.Linear(trunk.embed_dim, num_classes)
        nn.init.normal_(self.fc_cls.weight, std=0.01)
        nn.init.zeros_(self.fc_cls.bias)

    def forward(self, video: Tensor) -> Tensor:
        """Logits of each clip, read from the cls token."""
        check_video(video, self.image_size, self.frames)
        x = self._embed(video)
        for block, time in zip(self.trunk.blocks, self.times, strict=True):
            x = self._block(x, block, time)
        return self.fc_cls(self.dropout(self.trunk.norm(x[:, 0])))

    def _embed(self, video: Tensor) -> Tensor:
        """The input of the first block: one cls token and t*n patches, (b, 1 + t*n, d)."""
        b, t = video.shape[:2]
        place = self.trunk.pos_embed
        patches = self.trunk.patch_embed(video.flatten(0, 1)).unflatten(0, (b, t))
        patches = patches + place[:, None, 1:]  # (b, t, n, d)
        if self.temporal_embed is not None:
            patches = patches + self.temporal_embed[:, :, None]
        cls = (self.trunk.cls_token + place[:, :1]).expand(b, -1, -1)
        return self.trunk.norm_pre(torch.cat([cls, patches.flatten(1, 2)], 1))

    def _block(self, x: Tensor, block: Block, time: Time) -> Tensor:
        """One block: x (b, 1 + t*n, d) -> the same shape.

        The cls token skips time, sees every frame alone, and takes the mean over frames.
        """
        b, t = x.shape[0], self.frames
        cls, entered = x[:, :1], x[:, 1:].unflatten(1, (t, -1))  # (b, 1, d), (b, t, n, d)
        patches = entered + time(entered)
        z = torch.cat([cls[:, None].expand(-1, t, -1, -1), patches], 2)
        r = block.attn(block.norm1(z.flatten(0, 1))).unflatten(0, (b, t))  # (b, t, 1 + n, d)
        cls = cls + r[:, :, 0].mean(1, keepdim=True)
        residual = patches if self.style == "timesformer-div" else entered
        x = torch.cat([cls, (residual + r[:, :, 1:]).flatten(1, 2)], 1)
        return x + block.drop_path2(block.mlp(block.norm2(x)))

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1); temporal is all of the mixers."""
        t, n, d = self.frames, self.trunk.patch_embed.num_patches, self.trunk.embed_dim
        side = self.trunk.patch_embed.patch_size[0]
        block = linear_macs(batch * t * (1 + n), d, 4 * d)
        block += attention_macs(batch * t, 1 + n, 1 + n, d)
        block += linear_macs(batch * (1 + n * t), d, 8 * d)
        return {
            "backbone": linear_macs(batch * t * n, 3 * side * side, d) + len(self.times) * block,
            "temporal": sum(sum(time.time_mamba.macs(batch * n, t)) for time in self.times),
            "head": linear_macs(batch, d, self.fc_cls.out_features),
        }

    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Load the whole ViT of the image twin; the mixers keep their initial weights."""
        load_part(self.trunk, state)
