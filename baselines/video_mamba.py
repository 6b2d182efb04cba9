"""VideoMamba (video Mamba): bidirectional selective scans over all tokens of a clip.

The sequence is one cls token, then frame after frame in row-major order, (t h w). Every layer is a
pre-norm residual around a mixer that scans it once forwards and once backwards, with own weights
(suffix `_b`) between shared input and output layers. l tokens, e = expand*d inner channels,
r = ceil(d/16) channels of the step size, k taps of the causal convolution, n state size.

Source: arXiv 2403.06977 and the authors' code (OpenGVLab/VideoMamba; the mixer "v2"), whose
parameter names stand here. The default sizes are VideoMamba-M.

Bytes kept for backward are those of this implementation, an upper bound for the authors': their
fused CUDA kernel computes the convolution and the step size again in backward, here they are kept.
"""

from collections import OrderedDict
from math import ceil, log, sqrt

import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import Tensor, nn

from pks4.backbone import check_video
from pks4.cost import linear_macs, scan_macs
from pks4.errors import unknown_name
from pks4.official import Official, along, on_square
from pks4.scan import inverse_softplus, scan_sites

FAMILY = "video Mamba"
PAPER = "https://arxiv.org/abs/2403.06977"
IMAGE_TWIN = "video_mamba"
PLACE = "in every layer, over all tokens of the clip"
TRAINED = "all"
WITHOUT = ("heads",)
VARIANTS = {"official start": {}, "start of Mamba": {"init": "mamba"}}
SILENT = ("layers.2.mixer.A_log",)  # the cls token that is read is the scan's first step
SCALES = {
    "paper": {"width": 576, "depth": 32, "patch_size": 16, "image_size": 224},
    "tiny": {"width": 96, "depth": 3, "patch_size": 16, "image_size": 64, "state": 8},
}
INITS = ("official", "mamba")


def build(
    *,
    frames: int,
    num_classes: int,
    width: int = 576,
    depth: int = 32,
    patch_size: int = 16,
    image_size: int = 224,
    state: int = 16,
    expand: int = 2,
    conv_kernel: int = 4,
    scan_backend: str = "auto",
    init: str = "official",
    drop_path: float = 0.0,
) -> "VideoMamba":
    """VideoMamba for clips of exactly `frames` frames; drop_path grows linearly over the layers.

    `init`: the authors' code ends with dt_proj.bias = 0, so that steps start near softplus(0) =
    .69; "mamba" keeps what Mamba meant, steps log-uniform in [.001, .1]. All else is the same.
    """
    if init not in INITS:
        raise ValueError(unknown_name("init", init, INITS))
    if image_size % patch_size:
        raise ValueError(f"image_size {image_size} is not a multiple of patch_size {patch_size}")
    layers = [
        Layer(
            Mixer(width, state, expand, conv_kernel, scan_backend),
            drop_path * i / max(1, depth - 1),
        )
        for i in range(depth)
    ]
    model = VideoMamba(frames, num_classes, patch_size, image_size, layers)
    _init_weights(model, init)
    return model


def _init_weights(model: "VideoMamba", init: str) -> None:
    """As the authors: linear layers normal .02, out_proj smaller with depth, the rest default."""
    for name, layer in model.named_modules():
        if not isinstance(layer, nn.Linear):
            continue
        if name.endswith("out_proj"):
            bound = 1 / sqrt(layer.in_features * len(model.layers))
            nn.init.uniform_(layer.weight, -bound, bound)
            continue
        nn.init.trunc_normal_(layer.weight, std=0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        if init == "mamba" and layer.bias is not None and ".dt_proj" in name:
            with torch.no_grad():
                step = torch.empty_like(layer.bias).uniform_(log(1e-3), log(1e-1)).exp()
                layer.bias.copy_(inverse_softplus(step))
    nn.init.trunc_normal_(model.pos_embed, std=0.02)


class Mixer(nn.Module):
    """One bidirectional scan: x (b, l, d) -> (b, l, d)."""

    def __init__(
        self,
        width: int,
        state: int = 16,
        expand: int = 2,
        taps: int = 4,
        scan_backend: str = "auto",
    ) -> None:
        super().__init__()
        e, r = expand * width, ceil(width / 16)
        self.splits, self.scan_backend = (r, state, state), scan_backend
        self.in_proj = nn.Linear(width, 2 * e, bias=False)
        for end in ("", "_b"):
            setattr(self, f"conv1d{end}", nn.Conv1d(e, e, taps, groups=e))
            setattr(self, f"x_proj{end}", nn.Linear(e, sum(self.splits), bias=False))
            setattr(self, f"dt_proj{end}", nn.Linear(r, e))
            A_log = torch.arange(1, state + 1, dtype=torch.float32).log().repeat(e, 1)
            setattr(self, f"A{end}_log", nn.Parameter(A_log))
            setattr(self, f"D{end}", nn.Parameter(torch.ones(e)))
        self.out_proj = nn.Linear(e, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Forward scan plus backward scan, gated.

        Both directions have the same gate once turned back, so it is applied once to their sum;
        the authors' code applies it to each.
        """
        u, z = self.in_proj(x).chunk(2, -1)  # (b, l, e) each
        y = self._scan(u, "") + self._scan(u.flip(1), "_b").flip(1)
        return self.out_proj(y * F.silu(z))

    def _scan(self, u: Tensor, end: str) -> Tensor:
        """Causal convolution and selective scan of u (b, l, e) in one direction."""
        conv, dt_proj = getattr(self, f"conv1d{end}"), getattr(self, f"dt_proj{end}")
        u = conv(F.pad(u.transpose(1, 2), (conv.kernel_size[0] - 1, 0)))  # (b, e, l)
        u = F.silu(u.transpose(1, 2).contiguous())  # contiguous: the scan reads it step by step
        step, B, C = getattr(self, f"x_proj{end}")(u).split(self.splits, -1)
        delta = F.linear(step, dt_proj.weight)  # its bias goes to the scan, before softplus
        u, delta, B, C = (x[:, :, None] for x in (u, delta, B, C))  # one site: the whole sequence
        A, D = -getattr(self, f"A{end}_log").exp(), getattr(self, f"D{end}")
        return scan_sites(u, delta, A, B, C, D, dt_proj.bias, backend=self.scan_backend)[:, :, 0]

    def macs(self, tokens: int) -> tuple[int, int]:
        """MACs as (in_proj and out_proj, both directions' convolution, projections and scan)."""
        e, d = self.out_proj.in_features, self.out_proj.out_features
        r, n, _ = self.splits
        way = linear_macs(tokens, self.conv1d.kernel_size[0], e) + scan_macs(tokens, e, n)
        way += linear_macs(tokens, e, r + 2 * n) + linear_macs(tokens, r, e)
        return linear_macs(tokens, d, 3 * e), 2 * way


class Layer(nn.Module):
    """Pre-norm residual around a mixer; the residual stays in float32."""

    def __init__(self, mixer: Mixer, drop_path: float) -> None:
        super().__init__()
        self.mixer = mixer
        self.norm = nn.RMSNorm(mixer.out_proj.out_features, eps=1e-5)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """x (b, l, d) -> (b, l, d)."""
        return x + self.drop_path(self.mixer(self.norm(x)))


class VideoMamba(nn.Module):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    official = Official(
        prefixes=("backbone.", "encoder."),
        resize={
            "pos_embed": on_square("bicubic", prefix=1),
            "temporal_pos_embedding": along("linear"),
        },
    )

    def __init__(
        self, frames: int, num_classes: int, patch_size: int, image_size: int, layers: list[Layer]
    ) -> None:
        super().__init__()
        self.frames, self.image_size, self.patch_size = frames, image_size, patch_size
        self.patches = (image_size // patch_size) ** 2
        width = layers[0].mixer.out_proj.out_features
        size = (1, patch_size, patch_size)
        self.patch_embed = nn.Sequential(OrderedDict(proj=nn.Conv3d(3, width, size, size)))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.patches, width))
        self.temporal_pos_embedding = nn.Parameter(torch.zeros(1, frames, width))
        self.layers = nn.Sequential(*layers)
        self.norm_f = nn.RMSNorm(width, eps=1e-5)
        self.head = nn.Linear(width, num_classes)

    def forward(self, video: Tensor) -> Tensor:
        """Logits of each clip, read from the cls token."""
        return self.head(self.norm_f(self._tokens(video)[:, 0]))

    def _tokens(self, video: Tensor) -> Tensor:
        """All tokens after the last layer, (b, 1 + t*h*w, d)."""
        check_video(video, self.image_size, self.frames)
        x = self.patch_embed(video.transpose(1, 2)).flatten(3).permute(0, 2, 3, 1)  # (b, t, h*w, d)
        x = x + self.pos_embed[:, None, 1:] + self.temporal_pos_embedding[:, :, None]
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(x.shape[0], -1, -1)
        return self.layers(torch.cat([cls, x.flatten(1, 2)], 1))

    def image_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Of images (n, 3, h, w), at one frame: the cls token (n, d) and the grid (n, h, w, d)."""
        x, side = self.norm_f(self._tokens(images[:, None])), self.image_size // self.patch_size
        return x[:, 0], x[:, 1:].unflatten(1, (side, side))

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage.

        The layers mix space and time at once. `backbone` is what the published numbers count
        (patches, in_proj, out_proj); `temporal` is what they leave out: convolutions, x_proj,
        dt_proj and scans.
        """
        patches, d = batch * self.frames * self.patches, self.head.in_features
        tokens = batch + patches
        outer, inner = zip(*(layer.mixer.macs(tokens) for layer in self.layers), strict=True)
        return {
            "backbone": linear_macs(patches, self.patch_embed.proj.weight[0].numel(), d)
            + sum(outer),
            "temporal": sum(inner),
            "head": linear_macs(batch, d, self.head.out_features),
        }

    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Take all of the same model built at one frame, but its head and its place in time.

        Raises ValueError if a weight is missing or has no place here.
        """
        ours = ("head.", "temporal_pos_embedding")
        image = {name: value for name, value in state.items() if not name.startswith(ours)}
        missing, unexpected = self.load_state_dict(image, strict=False)
        missing = [name for name in missing if not name.startswith(ours)]
        if missing or unexpected:
            raise ValueError(f"image weights: missing {missing}, without a place {unexpected}")
