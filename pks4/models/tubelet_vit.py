"""VideoMAE's ViT without its head: tubelets of a clip are the tokens, and all attend to all.

Tubelets of some frames and one patch become the tokens, laid out (t h w), time slowest. A fixed
sine table over their flat index gives positions. There is no cls token. Queries and values have
biases, keys have none. n tubelets in one step of time, d channels.

Source: arXiv 2203.12602 and the authors' code (MCG-NJU/VideoMAE), with its parameter names.
"""

from functools import partial

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from pks4.checks import check_sizes
from pks4.macs import attention_macs, linear_macs
from pks4.models.attention import declare_attention
from pks4.models.frozen_vit import inflate_mean
from pks4.weights.files import IMAGE_PREFIX, load_part, under

IMAGE_ONLY = ("cls_token", "pos_embed")  # weights of an image model that this one lacks


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


class TubeletViT(nn.Module):
    """Video (b, t, 3, h, w) -> tokens (b, t/tubelet * n, d) before the last norm, `fc_norm`.

    Exactly `frames` frames, a multiple of `tubelet`. drop_path grows linearly by block. Whoever
    builds it calls `init_weights`, after the head if there is one.
    """

    def __init__(
        self,
        *,
        frames: int,
        width: int,
        depth: int,
        heads: int,
        patch_size: int,
        image_size: int,
        tubelet: int,
        drop_path: float = 0.0,
        attention: str = "sdpa",
    ) -> None:
        super().__init__()
        sizes = {"width": width, "depth": depth, "heads": heads, "patch_size": patch_size}
        check_sizes(image_size=image_size, frames=frames, tubelet=tubelet, **sizes)
        self.frames, self.image_size = frames, image_size
        self.patch_embed = TubeletEmbed(tubelet, patch_size, width)
        self.steps, self.n = frames // tubelet, (image_size // patch_size) ** 2
        places = sine_table(self.steps * self.n, width)
        self.register_buffer("pos_embed", places, persistent=False)
        rates = [drop_path * i / max(1, depth - 1) for i in range(depth)]
        self.blocks = nn.Sequential(*(_block(width, heads, rate) for rate in rates))
        self.fc_norm = nn.LayerNorm(width, eps=1e-6)
        declare_attention(self, attention)

    def init_weights(self) -> None:
        """As the authors: normal .02 and zero biases in every linear layer; tubelets as PyTorch."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def embed(self, video: Tensor) -> Tensor:
        """The input of the first block (b, t/tubelet * n, d)."""
        x = self.patch_embed(video)
        return x + self.pos_embed.to(x.dtype)

    def trunk_macs(self, batch: int) -> dict[str, int]:
        """Closed form of the MACs by stage; temporal is the extra over attention within steps."""
        tokens, taps = self.steps * self.n, self.patch_embed.proj.weight[0].numel()
        d = self.fc_norm.normalized_shape[0]
        apart = attention_macs(batch * self.steps, self.n, self.n, d)
        together = attention_macs(batch, tokens, tokens, d)
        block = linear_macs(batch * tokens, d, 12 * d) + apart
        depth = len(self.blocks)
        return {
            "backbone": linear_macs(batch * tokens, taps, d) + depth * block,
            "temporal": depth * (together - apart),
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
