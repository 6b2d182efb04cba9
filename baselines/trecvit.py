"""TRecViT (recurrent): a ViT on each frame with gated linear recurrences along time between blocks.

Before every block of the ViT stands a residual block along time, causal, the same for every token:

    u = RMSNorm(x)
    x + W_out(RG-LRU(conv(W_x u)) * GELU(W_y u))          conv: depthwise, over the last 4 frames

    g, o = sigmoid(BD_x a), sigmoid(BD_a a)               gates of the RG-LRU, block-diagonal
    A_t = exp(-8 o_t softplus(a_param))                   one decay a channel and step
    h_t = A_t h_{t-1} + sqrt(1 - A_t^2) g_t a_t           the first frame enters whole: g_0 a_0

n tokens of a frame with its cls token, which has no position; d channels, w in the recurrence.
The head takes tanh of a linear layer of each frame's cls token, then the mean over frames. There is
no embedding of time. A stream keeps h and the last three inputs of conv, whatever its length.

Source: arXiv 2412.14294 and the authors' code (google-deepmind/trecvit), whose recurrent block is
that of google-deepmind/recurrentgemma; `official` has its names and layouts. Every weight trains.
Deviations: their code cuts clips longer than `frames_per_clip` and averages the logits; here a clip
is one sequence. They bound the derivative of the square root at 1000, which acts only where
1 - A_t^2 is below 2.5e-7. The released models were trained from scratch; an image model gives the
ViT and its norm, the position of its cls token goes into that token, and its exact GELU becomes the
tanh form. The recurrent blocks start as the authors', so they are not the identity.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from timm.layers import lecun_normal_
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from pks4.checks import check_sizes, one_of
from pks4.macs import attention_macs, linear_macs
from pks4.models.attention import declare_attention
from pks4.models.backbone import check_video
from pks4.scan.custom_op import working_dtype
from pks4.scan.recurrence import linear_recurrence
from pks4.weights.files import IMAGE_PREFIX, load_part, under
from pks4.weights.trecvit_names import TRECVIT

FAMILY = "recurrent"
PAPER = "https://arxiv.org/abs/2412.14294"
IMAGE_TWIN = "frame_mean"
PLACE = "before every block"
TRAINED = "all"
STAGES = {"temporal": ("recurrent",), "head": ("pre_logits", "cls_head")}
VARIANTS = {
    "as released": {},
    "mean of tokens": {"pool": "mean"},
    "as wide as the ViT": {"state_multiplier": 1},
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
        "representation": 384,
    },
}
SHARPNESS = 8.0
RADII = (0.5, 0.999)  # of the decay exp(-softplus(a_param)) at the start


def build(
    *,
    frames: int,
    num_classes: int,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    patch_size: int = 16,
    image_size: int = 224,
    state_multiplier: int = 2,
    representation: int = 3072,
    mlp_ratio: float = 4.0,
    conv_kernel: int = 4,
    pool: str = "cls",
    attention: str = "sdpa",
) -> "TRecViT":
    """TRecViT for clips of any number of frames; `frames` are those that `macs` counts.

    `state_multiplier`: channels of the recurrence over `width`. `representation`: channels before
    the classifier. `pool`: the head reads each frame's "cls" token, or the "mean" of its tokens,
    and there is no cls token.
    """
    one_of("pool", pool, ("cls", "mean"))
    sizes = {"width": width, "depth": depth, "heads": heads, "patch_size": patch_size}
    inside = {"state_multiplier": state_multiplier, "conv_kernel": conv_kernel}
    check_sizes(image_size=image_size, representation=representation, **sizes, **inside)
    trunk = VisionTransformer(
        img_size=image_size,
        patch_size=patch_size,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        num_classes=0,
        mlp_ratio=mlp_ratio,
        act_layer="gelu_tanh",
        class_token=pool == "cls",
        no_embed_class=True,
        global_pool="",
    )
    declare_attention(trunk, attention)
    blocks = [Residual(width, state_multiplier * width, heads, conv_kernel) for _ in range(depth)]
    return TRecViT(frames, num_classes, image_size, trunk, blocks, representation)


class BlockDiagonal(nn.Module):
    """A linear layer with one block a head: (b, t, n, w) -> the same shape."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.empty(heads, width // heads, width // heads))
        self.b = nn.Parameter(torch.zeros(heads, width // heads))
        nn.init.normal_(self.w, std=width**-0.5)  # as theirs, which counts every head as an input

    def forward(self, x: Tensor) -> Tensor:
        """Each head by itself."""
        heads = x.unflatten(-1, self.b.shape)
        return (torch.einsum("btnhi,hij->btnhj", heads, self.w) + self.b).flatten(-2)


class RGLRU(nn.Module):
    """The gated recurrence along time, (b, t, n, w) -> the same shape."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.a_param = nn.Parameter(torch.empty(width))
        self.input_gate, self.a_gate = (BlockDiagonal(width, heads) for _ in range(2))
        low, high = (radius**2 for radius in RADII)
        squared = nn.init.uniform_(torch.empty_like(self.a_param), low, high)
        with torch.no_grad():  # so that softplus(a_param) is -log radius
            self.a_param.copy_(torch.log((squared + 1e-8) ** -0.5 - 1))

    def drive(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Decays, weights sqrt(1 - A^2) of the inputs, and inputs, float32 at least."""
        dtype = working_dtype(x)
        gate, opened = (net(x).to(dtype).sigmoid() for net in (self.input_gate, self.a_gate))
        log_a = -SHARPNESS * opened * F.softplus(self.a_param)
        return log_a.exp(), (-torch.expm1(2 * log_a)).sqrt(), gate * x.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """The states, from the first frame to the last."""
        decay, weight, x_in = self.drive(x)
        x_in = torch.cat([x_in[:, :1], weight[:, 1:] * x_in[:, 1:]], 1)
        return linear_recurrence(decay, x_in).to(x.dtype)


class BlockState(NamedTuple):
    """What a residual block keeps of the frames so far."""

    h: Tensor  # (b, n, w), float32 at least
    inputs: Tensor  # the last inputs of conv_1d, (b, conv_kernel - 1, n, w)


class Residual(nn.Module):
    """One block along time: tokens (b, t, n, d) -> the same shape."""

    def __init__(self, width: int, inner: int, heads: int, kernel: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(width))  # of the norm, less one
        self.linear_x, self.linear_y = nn.Linear(width, inner), nn.Linear(width, inner)
        self.conv_1d = nn.Conv1d(inner, inner, kernel, groups=inner)
        self.rg_lru = RGLRU(inner, heads)
        self.linear_out = nn.Linear(inner, width)

    def init_weights(self, depth: int) -> None:
        """As the authors: normal, less at the output the deeper the model; biases 0."""
        inner, width = self.linear_x.weight.shape
        stds = (
            (self.linear_x, width**-0.5),
            (self.linear_y, width**-0.5),
            (self.linear_out, (2 / (depth * inner)) ** 0.5),
            (self.conv_1d, (0.01 / self.conv_1d.kernel_size[0]) ** 0.5),
        )
        for layer, std in stds:
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """All frames at once."""
        u = self._normed(x)
        y = self.rg_lru(self._convolved(F.pad(self.linear_x(u), self._before())))
        return x + self._out(y, u)

    def step(self, x: Tensor, state: BlockState, first: bool) -> tuple[Tensor, BlockState]:
        """One frame x (b, 1, n, d) after those of the state."""
        u = self._normed(x)
        inputs = torch.cat([state.inputs, self.linear_x(u)], 1)
        decay, weight, x_in = self.rg_lru.drive(self._convolved(inputs))
        h = x_in[:, 0] if first else decay[:, 0] * state.h + weight[:, 0] * x_in[:, 0]
        return x + self._out(h[:, None].to(x.dtype), u), BlockState(h, inputs[:, 1:].clone())

    def initial_state(self, b: int, n: int) -> BlockState:
        """The state before the first frame."""
        w, weight = self.linear_x.out_features, self.linear_x.weight
        h = weight.new_zeros(b, n, w, dtype=working_dtype(weight))
        return BlockState(h, weight.new_zeros(b, self.conv_1d.kernel_size[0] - 1, n, w))

    def _normed(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.scale.shape, 1 + self.scale, 1e-6)

    def _before(self) -> tuple[int, ...]:
        return 0, 0, 0, 0, self.conv_1d.kernel_size[0] - 1, 0

    def _convolved(self, x: Tensor) -> Tensor:
        """conv_1d along time, (b, kernel - 1 + t, n, w) -> (b, t, n, w)."""
        b, _, n, w = x.shape
        y = self.conv_1d(x.permute(0, 2, 3, 1).reshape(b * n, w, -1))
        return y.view(b, n, w, -1).permute(0, 3, 1, 2)

    def _out(self, y: Tensor, u: Tensor) -> Tensor:
        return self.linear_out(y * F.gelu(self.linear_y(u), approximate="tanh"))

    def macs(self, tokens: int) -> int:
        """MACs of `tokens` = clips * frames * n; the recurrence is one a channel and step."""
        inner, width = self.linear_x.weight.shape
        gates = 2 * linear_macs(tokens, inner, self.rg_lru.input_gate.w.shape[-1])
        taps = self.conv_1d.kernel_size[0] + 1
        return 3 * linear_macs(tokens, width, inner) + gates + tokens * inner * taps


class VideoState(NamedTuple):
    """What a stream keeps; its size does not grow."""

    blocks: list[BlockState]
    total: Tensor  # sum over frames of what the classifier reads, (b, representation)
    frames: int


class TRecViT(nn.Module):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), any t."""

    official = TRECVIT

    def __init__(
        self,
        frames: int,
        num_classes: int,
        image_size: int,
        trunk: VisionTransformer,
        recurrent: list[Residual],
        representation: int,
    ) -> None:
        super().__init__()
        self.frames, self.image_size = frames, image_size
        self.trunk = trunk
        self.recurrent = nn.ModuleList(recurrent)
        self.pre_logits = nn.Linear(trunk.embed_dim, representation)
        self.cls_head = nn.Linear(representation, num_classes)
        self._init_weights()

    def _init_weights(self) -> None:
        """As the authors: attention and MLPs uniform by Xavier, the rest normal, biases 0."""
        for name, layer in self.trunk.named_modules():
            if isinstance(layer, nn.Linear):
                for part in layer.weight.chunk(3 if name.endswith("qkv") else 1):
                    nn.init.xavier_uniform_(part)
                if ".mlp." in name:
                    nn.init.normal_(layer.bias, std=1e-6)
        for layer in (self.trunk.patch_embed.proj, self.pre_logits, self.cls_head):
            lecun_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.trunk.pos_embed, std=self.trunk.embed_dim**-0.5)
        if self.trunk.cls_token is not None:
            nn.init.zeros_(self.trunk.cls_token)
        for block in self.recurrent:
            block.init_weights(len(self.recurrent))

    def forward(self, video: Tensor) -> Tensor:
        """Logits of each clip."""
        return self.cls_head(self._read(self.encode(video)).mean(1))

    def encode(self, video: Tensor) -> Tensor:
        """Normed tokens of every frame, (b, t, n, d)."""
        x = self._embed(video)
        for along_time, within in zip(self.recurrent, self.trunk.blocks, strict=True):
            x = within(along_time(x).flatten(0, 1)).view_as(x)
        return self.trunk.norm(x)

    def _embed(self, video: Tensor) -> Tensor:
        """Tokens (b, t, n, d) of a video."""
        check_video(video, self.image_size)
        x = self.trunk.patch_embed(video.flatten(0, 1)) + self.trunk.pos_embed
        if self.trunk.cls_token is not None:
            x = torch.cat([self.trunk.cls_token.expand(x.shape[0], -1, -1), x], 1)
        return x.unflatten(0, video.shape[:2])

    def _read(self, x: Tensor) -> Tensor:
        """What the classifier reads of each frame: (b, t, n, d) -> (b, t, representation)."""
        read = x.mean(2) if self.trunk.cls_token is None else x[:, :, 0]
        return torch.tanh(self.pre_logits(read))

    def initial_state(self, b: int) -> VideoState:
        """The state before the first frame of b clips."""
        n = self._tokens()
        blocks = [block.initial_state(b, n) for block in self.recurrent]
        return VideoState(blocks, self.cls_head.weight.new_zeros(b, self.cls_head.in_features), 0)

    @torch.no_grad()
    def step(self, frame: Tensor, state: VideoState) -> tuple[Tensor, VideoState]:
        """Process one frame (b, 3, h, w): logits of the clips so far, and the new state."""
        x, blocks = self._embed(frame[:, None]), []
        layers = zip(self.recurrent, self.trunk.blocks, state.blocks, strict=True)
        for along_time, within, kept in layers:
            x, kept = along_time.step(x, kept, first=state.frames == 0)
            x = within(x[:, 0])[:, None]
            blocks.append(kept)
        total, frames = state.total + self._read(self.trunk.norm(x))[:, 0], state.frames + 1
        return self.cls_head(total / frames), VideoState(blocks, total, frames)

    def _tokens(self) -> int:
        return self.trunk.patch_embed.num_patches + self.trunk.num_prefix_tokens

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage."""
        images, n, d = batch * self.frames, self._tokens(), self.trunk.embed_dim
        kernel, hidden = self.trunk.patch_embed.proj.weight, self.trunk.blocks[0].mlp.fc1
        block = linear_macs(images * n, d, 4 * d + 2 * hidden.out_features)
        block += attention_macs(images, n, n, d)
        embed = linear_macs(images * self.trunk.patch_embed.num_patches, kernel[0].numel(), d)
        read, classes = self.pre_logits.out_features, self.cls_head.out_features
        return {
            "backbone": embed + len(self.recurrent) * block,
            "temporal": sum(block.macs(images * n) for block in self.recurrent),
            "head": linear_macs(images, d, read) + linear_macs(batch, read, classes),
        }

    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Load the ViT of the image twin; the recurrent blocks and the head keep their values."""
        image = under(state, IMAGE_PREFIX)
        if {"pos_embed", "cls_token"} <= image.keys():
            position = image["pos_embed"]
            image |= {
                "pos_embed": position[:, 1:],
                "cls_token": image["cls_token"] + position[:, :1],
            }
        unused = ("cls_token",) if self.trunk.cls_token is None else ()
        load_part(self.trunk, image, prefix="", unused=unused)
