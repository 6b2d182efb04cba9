"""VideoMambaPro, README-faithful variant (video Mamba): VideoMamba whose scans carry a residual.

Two changes to VideoMamba's mixer, u the input of a scan after its convolution, dt its step:

    both scans      h_{-1} = u_0 in every state, u_0 the first input of that direction
    backward scan   y_l = C_l . (h_l - dt_l u_l B_l), y_0 = 0: without the current step

then D u and the gate as in VideoMamba. Weights and names are VideoMamba's, so its checkpoints load.

The initial state is an extra first step, with dt = 1, B = 1, input u_0 and no output, so that every
scan backend can run it; it counts as a step. This implementation also keeps copies of the inputs
with that step for backward.

Source: arXiv 2406.19006, and the README and the scan of the authors' repository
(hotfinda/VideoMambaPro). Their code does not run as committed: network and mixer disagree on an
argument, and the scans of the mixer with separate weights a direction ("v2") lack the mask and read
the input before the convolution. So this model follows the README, on VideoMamba's v2 weights; it
was never compared with a run of their code.
"""

from math import expm1, log

import torch
import torch.nn.functional as F
from torch import Tensor

from pks4.models.bidirectional_mamba import Mixer, VideoMamba
from pks4.scan import scan_sites

FAMILY = "video Mamba"
PAPER = "https://arxiv.org/abs/2406.19006"
IMAGE_TWIN = "video_mamba_pro"
PLACE = "in every layer, over all tokens of the clip"
TRAINED = "all"
STAGES = {"head": ("head",)}
WITHOUT = ("heads",)
VARIANTS = {
    "official start": {},
    "start of Mamba": {"init": "mamba"},
    "tubelets of two frames": {"tubelet": 2},
}
SIZES = {
    "Ti": {"width": 192, "depth": 24},
    "S": {"width": 384, "depth": 24},
    "M": {"width": 576, "depth": 32},
}
SCALES = {
    "paper": {"width": 576, "depth": 32, "patch_size": 16, "image_size": 224},
    "tiny": {  # see `build` for what differs from the paper's, and why
        "width": 96,
        "depth": 6,
        "patch_size": 8,
        "image_size": 64,
        "state": 8,
        "init": "mamba",
        "pool": "mean",
    },
}
UNIT_STEP = log(expm1(1.0))  # its softplus is 1


def build(
    *,
    frames: int,
    num_classes: int,
    width: int = 576,
    depth: int = 32,
    patch_size: int = 16,
    image_size: int = 224,
    tubelet: int = 1,
    state: int = 16,
    expand: int = 2,
    conv_kernel: int = 4,
    scan_backend: str = "auto",
    init: str = "official",
    pool: str = "cls",
    drop_path: float = 0.0,
) -> VideoMamba:
    """VideoMambaPro for clips of exactly `frames` frames; options as in `video_mamba`."""
    mixers = [ResidualMixer(width, state, expand, conv_kernel, scan_backend) for _ in range(depth)]
    return VideoMamba(
        mixers,
        frames=frames,
        num_classes=num_classes,
        patch_size=patch_size,
        image_size=image_size,
        tubelet=tubelet,
        init=init,
        pool=pool,
        drop_path=drop_path,
    )


class ResidualMixer(Mixer):
    """VideoMamba's mixer with the two changes; the same weights."""

    extra_steps = 1

    def scan(
        self,
        u: Tensor,
        delta: Tensor,
        A: Tensor,
        B: Tensor,
        C: Tensor,
        D: Tensor,
        bias: Tensor,
        *,
        backward: bool,
    ) -> Tensor:
        """The scan of one direction, masked backwards."""
        mode = {"reverse": backward, "masked": backward, "backend": self.scan_backend}
        return residual_scan(u, delta, A, B, C, D, bias, **mode)


def residual_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    bias: Tensor,
    *,
    reverse: bool = False,
    masked: bool = False,
    backend: str = "auto",
) -> Tensor:
    """`scan_sites` from the state u_0; `masked` removes the current step from each output.

    Shapes as in `scan_sites`: u and delta (b, t, s, d), A (d, n), B and C (b, t, s, n), D and
    bias (d,); u_0 is the last frame with `reverse`. Returns y (b, t, s, d).
    """
    first, later = slice(0, 1), slice(1, None)
    if reverse:
        first, later = slice(-1, None), slice(None, -1)

    def prepend(head: Tensor, rest: Tensor) -> Tensor:
        return torch.cat([rest, head] if reverse else [head, rest], 1)

    silent = torch.zeros_like(C[:, first])
    if masked:
        C = prepend(silent, C[:, later])  # the first step would read the initial state and itself
    unit = (UNIT_STEP - bias).to(delta.dtype).expand_as(u[:, first])
    y = scan_sites(
        prepend(u[:, first], u),
        prepend(unit, delta),
        A,
        prepend(torch.ones_like(B[:, first]), B),
        prepend(silent, C),
        D,
        bias,
        reverse=reverse,
        backend=backend,
    )[:, later]
    if not masked:
        return y
    current = (C * B).sum(-1, keepdim=True)  # (b, t, s, 1)
    return y - current * F.softplus(delta + bias) * u
