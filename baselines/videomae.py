"""VideoMAE (temporal attention): a plain ViT in which every tubelet of the clip attends to all.

Tubelets of two frames and one patch become the tokens, laid out (t h w), time slowest. A fixed sine
table over their flat index gives positions. There is no cls token: the head reads the mean of all
tokens. Queries and values have biases, keys have none. n tubelets in one step of time.

Source: arXiv 2203.12602 and the authors' code (MCG-NJU/VideoMAE, the model of fine-tuning), with
its parameter names. Every weight trains.

The authors start from masked pre-training on video. `load_image_weights` is ours: it spreads the
patch kernel evenly over the frames of a tubelet, turns the last norm into `fc_norm`, and drops cls
token and learned positions. It also drops the bias on keys, which has no effect on softmax.
`hf_videomae` starts by the same rule.
"""

from functools import partial

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from pks4.checks import check_sizes
from pks4.macs import attention_macs, linear_macs
from pks4.models.attention import declare_attention
from pks4.models.backbone import check_video
from pks4.models.frozen_vit import inflate_mean
from pks4.weights.files import IMAGE_PREFIX, load_part, under
from pks4.weights.official import Official

FAMILY = "temporal attention"
PAPER = "https://arxiv.org/abs/2203.12602"
IMAGE_TWIN = "frame_mean"
PLACE = "in every block: attention over all tokens of the clip"
TRAINED = "all"
STAGES = {"head": ("head",)}
FRAMES_STEP = 2
VARIANTS = {
    "tubelets of 2": {},
    "tubelets of 1": {"tubelet": 1},
    "tubelets of 4": {"tubelet": 4},
    "eager": {"attention": "eager"},
}
SCALES = {
    "paper": {"width": 768, "depth": 12, "heads": 12, "patch_size": 16, "image_size": 224},
    "tiny": {"width": 96, "depth": 4, "heads": 3, "patch_size": 8, "image_size": 64},
}
IMAGE_ONLY = ("cls_token", "pos_embed")  # weights of an image model that this model lacks


def build(
    *,
    frames: int,
    num_classes: int,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    patch_size: int = 16,
    image_size: int = 224,
    tubelet: int = 2,
    init_scale: float = 0.001,
    attention: str = "sdpa",
    drop_path: float = 0.0,
) -> "VideoMAE":
    """VideoMAE's ViT for clips of exactly `frames` frames, a multiple of `tubelet`.

    `init_scale` shrinks the fresh head. drop_path grows linearly by block; the paper trains with
    .1.
    """
    sizes = {"width": width, "depth": depth, "heads": heads, "patch_size": patch_size}
    check_sizes(image_size=image_size, frames=frames, tubelet=tubelet, **sizes)
    embed = TubeletEmbed(tubelet, patch_size, width)
    blocks = [_block(width, heads, drop_path * i / max(1, depth - 1)) for i in range(depth)]
    model = VideoMAE(frames, num_classes, image_size, embed, blocks, init_scale)
    declare_attention(model, attention)
    return model


class TubeletEmbed(nn.Module):
    """Tubelets as tokens: video (b, t, 3, h, w) -> (b, t/tubelet * n, d), time slowest."""

    def __init__(self, tubelet: int, patch_size: int, width: int) -> None:
        super().__init__()
        size = (tubelet, patch_size, patch_size)
        self.proj = nn.Conv3d(3, width, kernel_size=size, stride=size)

    def forward(self, video: Tensor) -> Tensor:
        """A linear layer on the pixels of each tubelet."""
        return self.proj(video.transpose(1, 2)).flatten(2).transpose(1, 2)


class QKV(nn.Linear):
    """Queries, keys and values from one matrix, with biases on queries and values alone."""

    def __init__(self, width: int) -> None:
        super().__init__(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """x (..., d) -> (..., 3*d)."""
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        return F.linear(x, self.weight, bias)


class VideoMAE(nn.Module):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    official = Official(renames=((".qkv.q_bias", ".q_bias"), (".qkv.v_bias", ".v_bias")))

    def __init__(
        self,
        frames: int,
        num_classes: int,
        image_size: int,
        patch_embed: TubeletEmbed,
        blocks: list[Block],
        init_scale: float,
    ) -> None:
        super().__init__()
        self.frames, self.image_size = frames, image_size
        self.patch_embed = patch_embed
        width, _, tubelet, side, _ = patch_embed.proj.weight.shape
        self.steps, self.n = frames // tubelet, (image_size // side) ** 2
        places = sine_table(self.steps * self.n, width)
        self.register_buffer("pos_embed", places, persistent=False)
        self.blocks = nn.Sequential(*blocks)
        self.fc_norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, num_classes)
        self._init_weights(init_scale)

    def _init_weights(self, init_scale: float) -> None:
        """As the authors: normal .02 and zero biases, the head smaller; tubelets as PyTorch."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        self.head.weight.data.mul_(init_scale)

    def forward(self, video: Tensor) -> Tensor:
        """Logits of each clip, read from the mean of its tokens."""
        check_video(video, self.image_size, self.frames)
        x = self.patch_embed(video)
        x = self.blocks(x + self.pos_embed.to(x.dtype))
        return self.head(self.fc_norm(x.mean(1)))

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage.

        temporal is the extra cost over attention within steps of time.
        """
        tokens, taps = self.steps * self.n, self.patch_embed.proj.weight[0].numel()
        d = self.head.in_features
        apart = attention_macs(batch * self.steps, self.n, self.n, d)
        together = attention_macs(batch, tokens, tokens, d)
        block = linear_macs(batch * tokens, d, 12 * d) + apart
        depth = len(self.blocks)
        return {
            "backbone": linear_macs(batch * tokens, taps, d) + depth * block,
            "temporal": depth * (together - apart),
            "head": linear_macs(batch, d, self.head.out_features),
        }

    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Load the ViT of the image twin, without the weights in `IMAGE_ONLY`.

        Raises ValueError that lists what does not fit; then nothing is loaded.
        """
        image = under(state, IMAGE_PREFIX)
        width, _, tubelet, _, _ = self.patch_embed.proj.weight.shape
        weights = {}
        for name, x in image.items():
            if name == "patch_embed.proj.weight":
                weights[name] = inflate_mean(x, tubelet)
            elif name.endswith(".attn.qkv.bias"):
                weights[name.replace(".bias", ".q_bias")] = x[:width]
                weights[name.replace(".bias", ".v_bias")] = x[2 * width :]
            else:
                weights["fc_" + name if name.startswith("norm.") else name] = x
        load_part(self, weights, prefix="", unused=IMAGE_ONLY, keep=("head.",))


def sine_table(n: int, d: int) -> Tensor:
    """Positions (1, n, d): sines of the index in even channels, cosines in odd ones.

    Channels 2i and 2i + 1 turn at 10000^(-2i/d) a step.
    """
    pace = 10000 ** (-2 * (torch.arange(d, dtype=torch.float64) // 2) / d)
    angle = torch.arange(n, dtype=torch.float64)[:, None] * pace
    even = torch.arange(d) % 2 == 0
    return torch.where(even, angle.sin(), angle.cos()).float()[None]


def _block(width: int, heads: int, drop_path: float) -> Block:
    """A pre-norm block without bias on the keys."""
    norm = partial(nn.LayerNorm, eps=1e-6)
    block = Block(width, heads, drop_path=drop_path, norm_layer=norm)
    block.attn.qkv = QKV(width)
    return block
