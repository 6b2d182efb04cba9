"""Bidirectional Mamba of several video rivals: the mixer, and VideoMamba around it.

The mixer ("v2") scans sequences along time forwards and backwards. Each direction has its weights
(suffix `_b` for backwards); input and output layers are shared. e = expand*d inner channels,
r = ceil(d/16) channels of the step size, k taps of the causal convolution, n state size.

Tensors are neither transposed nor reversed: the convolution runs on channels-last maps whose rows
are time, and the backward direction runs taps and scan from the last step to the first.

Source: the authors' code of VideoMamba (OpenGVLab/VideoMamba), with its parameter names.

The bytes kept for backward are those of this implementation, an upper bound for the authors': their
fused CUDA kernel recomputes the convolution and the step size in backward; here they are kept.
"""

from collections import OrderedDict
from math import ceil, log, sqrt

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers import DropPath
from torch import Tensor, nn

from pks4.checks import at_least_one, check_sizes
from pks4.errors import unknown_name
from pks4.macs import linear_macs, scan_macs, stage
from pks4.models.backbone import check_video
from pks4.models.frozen_vit import inflate_centre
from pks4.scan import inverse_softplus, scan_sites
from pks4.weights.files import load_part
from pks4.weights.official import Official, along, on_square

INITS = ("official", "mamba")
POOLS = ("cls", "mean")  # what the head reads
Sites = Float[Tensor, "b t s e"]


class Mixer(nn.Module):
    """Scan every sequence in both directions: x (b, t, s, d) -> the same shape.

    Each of the s sites is a separate sequence; x (b, t, d) is one site.
    """

    extra_steps = 0  # steps of the scan beyond those of x

    def __init__(
        self,
        width: int,
        state: int = 16,
        expand: int = 2,
        taps: int = 4,
        scan_backend: str = "auto",
    ) -> None:
        super().__init__()
        at_least_one(width=width, state=state, expand=expand)
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

    def forward(self, x: Float[Tensor, "b t *s d"]) -> Float[Tensor, "b t *s d"]:
        """Both scans and the gate.

        Both directions share the gate, so it multiplies their sum once; the authors' code
        multiplies each direction.
        """
        u, z = self.in_proj(x).chunk(2, -1)
        sites = u.view(*u.shape[:2], -1, u.shape[-1])  # (b, t, s, e)
        with stage("temporal"):
            y = self._way(sites, "") + self._way(sites, "_b")
        return self.out_proj(y.view(z.shape) * F.silu(z))

    def _way(self, u: Sites, end: str) -> Sites:
        """Convolution and scan of u in one direction."""
        dt_proj = getattr(self, f"dt_proj{end}")
        u = F.silu(self._convolved(u, end))
        step, B, C = getattr(self, f"x_proj{end}")(u).split(self.splits, -1)
        delta = F.linear(step, dt_proj.weight)  # the scan adds its bias before softplus
        A, D = -getattr(self, f"A{end}_log").exp(), getattr(self, f"D{end}")
        return self.scan(u, delta, A, B, C, D, dt_proj.bias, backward=end == "_b")

    def _convolved(self, u: Sites, end: str) -> Sites:
        """The depth-wise convolution over the last k steps, or backwards over the next k."""
        conv = getattr(self, f"conv1d{end}")
        kernel, k = conv.weight[..., None], conv.kernel_size[0]  # (e, 1, k, 1)
        before, after = (0, k - 1) if end else (k - 1, 0)
        maps = F.pad(u, (0, 0, 0, 0, before, after)).permute(0, 3, 1, 2)  # (b, e, t + k - 1, s)
        y = F.conv2d(maps, kernel.flip(2) if end else kernel, conv.bias, groups=conv.groups)
        return y.permute(0, 2, 3, 1).contiguous()

    def scan(
        self,
        u: Sites,
        delta: Sites,
        A: Tensor,
        B: Tensor,
        C: Tensor,
        D: Tensor,
        bias: Tensor,
        *,
        backward: bool,
    ) -> Sites:
        """The scan of one direction; arguments as in `scan_sites`."""
        return scan_sites(u, delta, A, B, C, D, bias, reverse=backward, backend=self.scan_backend)

    def macs(self, sequences: int, steps: int) -> tuple[int, int]:
        """MACs as (in_proj and out_proj, both directions' convolution, projections and scan)."""
        e, d = self.out_proj.in_features, self.out_proj.out_features
        r, n, _ = self.splits
        tokens = sequences * steps
        way = linear_macs(tokens, self.conv1d.kernel_size[0], e)
        way += linear_macs(tokens, e, r + 2 * n) + linear_macs(tokens, r, e)
        way += scan_macs(sequences * (steps + self.extra_steps), e, n)
        return linear_macs(tokens, d, 3 * e), 2 * way


def start_steps(dt_proj: nn.Linear) -> None:
    """Initialise the step sizes as Mamba does: log-uniform in [.001, .1]."""
    with torch.no_grad():
        step = torch.empty_like(dt_proj.bias).uniform_(log(1e-3), log(1e-1)).exp()
        dt_proj.bias.copy_(inverse_softplus(step))


class Layer(nn.Module):
    """Pre-norm residual around a mixer; the residual stays in float32."""

    def __init__(self, mixer: Mixer, drop_path: float) -> None:
        super().__init__()
        self.mixer = mixer
        self.norm = nn.RMSNorm(mixer.out_proj.out_features, eps=1e-5)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Float[Tensor, "b l d"]) -> Float[Tensor, "b l d"]:
        """x (b, l, d) -> (b, l, d)."""
        return x + self.drop_path(self.mixer(self.norm(x)))


class VideoMamba(nn.Module):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built.

    The sequence is one cls token, then all slices in row-major order, (t h w); a slice is `tubelet`
    frames. Every mixer scans the whole sequence. `baselines.video_mamba` explains the options.
    """

    official = Official(
        prefixes=("backbone.", "encoder."),
        resize={
            "pos_embed": on_square("bicubic", prefix=1),
            "temporal_pos_embedding": along("linear"),
        },
    )

    def __init__(
        self,
        mixers: list[Mixer],
        *,
        frames: int,
        num_classes: int,
        patch_size: int,
        image_size: int,
        tubelet: int,
        init: str,
        pool: str,
        drop_path: float,
    ) -> None:
        super().__init__()
        check_sizes(
            depth=len(mixers),
            patch_size=patch_size,
            image_size=image_size,
            frames=frames,
            tubelet=tubelet,
        )
        if init not in INITS:
            raise ValueError(unknown_name("init", init, INITS))
        if pool not in POOLS:
            raise ValueError(unknown_name("pool", pool, POOLS))
        self.pool = pool
        self.frames, self.image_size, self.patch_size = frames, image_size, patch_size
        self.slices, self.patches = frames // tubelet, (image_size // patch_size) ** 2
        width, last = mixers[0].out_proj.out_features, max(1, len(mixers) - 1)
        size = (tubelet, patch_size, patch_size)
        self.patch_embed = nn.Sequential(OrderedDict(proj=nn.Conv3d(3, width, size, size)))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.patches, width))
        self.temporal_pos_embedding = nn.Parameter(torch.zeros(1, self.slices, width))
        self.layers = nn.Sequential(*(Layer(m, drop_path * i / last) for i, m in enumerate(mixers)))
        self.norm_f = nn.RMSNorm(width, eps=1e-5)
        self.head = nn.Linear(width, num_classes)
        self._init_weights(init)

    def _init_weights(self, init: str) -> None:
        """As the authors: linear layers normal .02, out_proj smaller with depth, rest default."""
        for name, layer in self.named_modules():
            if not isinstance(layer, nn.Linear):
                continue
            if name.endswith("out_proj"):
                bound = 1 / sqrt(layer.in_features * len(self.layers))
                nn.init.uniform_(layer.weight, -bound, bound)
                continue
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
            if init == "mamba" and ".dt_proj" in name:
                start_steps(layer)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, video: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b classes"]:
        """Logits of each clip, read from the cls token or the mean of all others."""
        x = self._tokens(video)
        # The norm acts token by token, so that cls alone needs no more.
        return self.head(self._pooled(self.norm_f(x[:, :1] if self.pool == "cls" else x)))

    def _pooled(self, tokens: Tensor) -> Tensor:
        """The token or the mean (b, d) that the head reads, of tokens (b, l, d)."""
        return tokens[:, 0] if self.pool == "cls" else tokens[:, 1:].mean(1)

    def _tokens(self, video: Tensor) -> Tensor:
        """All tokens after the last layer, (b, 1 + t*h*w, d)."""
        check_video(video, self.image_size, self.frames)
        x = self.patch_embed(video.transpose(1, 2)).flatten(3).permute(0, 2, 3, 1)  # (b, t, h*w, d)
        x = x + self.pos_embed[:, None, 1:] + self.temporal_pos_embedding[:, :, None]
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(x.shape[0], -1, -1)
        return self.layers(torch.cat([cls, x.flatten(1, 2)], 1))

    def image_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What the head reads (n, d), and grid (n, h, w, d), of images (n, 3, h, w); one frame."""
        x, side = self.norm_f(self._tokens(images[:, None])), self.image_size // self.patch_size
        return self._pooled(x), x[:, 1:].unflatten(1, (side, side))

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage.

        The layers mix space and time. `backbone` is the part that published numbers count (patches,
        in_proj, out_proj); `temporal` is the part that they omit: convolutions, x_proj, dt_proj and
        scans.
        """
        patches, d = self.slices * self.patches, self.head.in_features
        parts = [layer.mixer.macs(batch, 1 + patches) for layer in self.layers]
        outer, inner = zip(*parts, strict=True)
        taps = self.patch_embed.proj.weight[0].numel()
        return {
            "backbone": linear_macs(batch * patches, taps, d) + sum(outer),
            "temporal": sum(inner),
            "head": linear_macs(batch, d, self.head.out_features),
        }

    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Load the same model built at one frame, without its head and its embedding of time.

        The patch kernel of the image goes to the centre tap of the tubelet; the other taps are 0,
        as in the authors' code. Theirs is (d, 3, h, w), the image twin's (d, 3, 1, h, w).

        Raises ValueError that lists what is missing, unknown or of another shape; then nothing is
        loaded.
        """
        kernel, ours = "patch_embed.proj.weight", ("head.", "temporal_pos_embedding")
        image = {name: value for name, value in state.items() if not name.startswith(ours)}
        if kernel in image:
            image[kernel] = inflate_centre(
                _flat(image[kernel]), self.patch_embed.proj.kernel_size[0]
            )
        load_part(self, image, prefix="", keep=ours)


def _flat(kernel: Tensor) -> Tensor:
    """A patch kernel (d, 3, 1, h, w) as (d, 3, h, w); any other unchanged."""
    return kernel[:, :, 0] if kernel.ndim == 5 and kernel.shape[2] == 1 else kernel
