"""MotionSqueeze (motion): TSM's ResNet with displacements between neighbouring frames added once.

One module stands between the second and the third stage, on maps (h, w) of c channels:

    f = unit vectors of 64 channels (1x1 convolution, batch norm, ReLU)
    m_t[p] = ReLU(f_t . f_{t+1} at offset p)              p in a window of 15 x 15
    w_t = softmax_p(100 G m_t)                            G: a Gaussian around the best offset
    M_t = (mean offset under w_t as (x, y) / 7, largest m_t)

Four units of a depthwise and a 1x1 convolution turn the three channels of M into c, which are added
to the map. The last frame has no next one and repeats M of the one before. No gradient goes through
the index of the best offset.

Source: arXiv 2007.09933 and the authors' code (arunos728/MotionSqueeze); in their files every name
has the prefix `module.`. Every weight trains. Deviations: `new_fc` is a linear layer, theirs a
convolution over one place; `bn2`, 256 weights that their network holds and never uses, is left out.
A clip of one frame is compared with itself. A ResNet-101 shifts every second block, as TSM's;
theirs shifts all. Their script builds ResNet-18: `block="basic"`, layers (2, 2, 2, 2).
"""

from collections.abc import Sequence

import torch
from timm.models.resnet import ResNet
from torch import Tensor, nn

from pks4.macs import correlation_macs, linear_macs
from pks4.models.backbone import sides
from pks4.models.correlation import local_correlation, window_offsets
from pks4.models.resnet import ShiftedResNet, build_resnet, shifted_resnet, stem
from pks4.weights.official import Official

FAMILY = "motion"
PAPER = "https://arxiv.org/abs/2007.09933"
IMAGE_TWIN = "tsn_r50"
PLACE = "between the second and the third stage; a shift before every block's first convolution"
TRAINED = "all"
STAGES = {"temporal": ("motion",), "head": ("new_fc",)}
WITHOUT = ("width", "depth", "heads", "patch_size")
VARIANTS = {
    "one block a stage": {},
    "two blocks a stage": {"layers": [2, 2, 2, 2]},
    "basic blocks": {"block": "basic"},
    "a window of 7": {"window": 7},
}
SCALES = {
    "paper": {"layers": [3, 4, 6, 3], "channels": [64, 128, 256, 512], "image_size": 224},
    "tiny": {"layers": [1, 1, 1, 1], "channels": [16, 32, 64, 128], "image_size": 64},
}
COMPARED = 64  # channels of the vectors that are compared
SHARPNESS = 100.0  # of the softmax
SPREAD = 5.0  # standard deviation of the Gaussian, in places
UNITS = ((7, 16), (3, 32), (3, 64))  # side and channels; the fourth unit has side 3


def build(
    *,
    frames: int,
    num_classes: int,
    layers: Sequence[int] = (3, 4, 6, 3),
    channels: Sequence[int] = (64, 128, 256, 512),
    block: str = "bottleneck",
    image_size: int = 224,
    n_div: int = 8,
    window: int = 15,
    dropout: float = 0.0,
) -> "MotionSqueeze":
    """MotionSqueeze for clips of exactly `frames` frames; the authors train with dropout .5.

    `layers`, `channels` and `block` as in `build_resnet`; `window` is the side of the square in
    which displacements are looked for, odd.
    """
    if not isinstance(window, int) or window < 3 or window % 2 == 0:
        raise ValueError(f"window must be an odd whole number, 3 or more, got {window!r}")
    net = build_resnet(layers, channels, block)
    wide = channels[1] * net.layer2[0].expansion
    motion = Motion(frames, wide, window // 2)
    net = shifted_resnet(net, frames, n_div)
    return MotionSqueeze(frames, num_classes, image_size, net, motion, dropout)


class Motion(nn.Module):
    """Maps x (b*t, c, h, w) -> x plus what moves from each frame to the next."""

    def __init__(self, frames: int, channels: int, radius: int) -> None:
        super().__init__()
        self.frames, self.radius = frames, radius
        self.chnl_reduction = _unit(nn.Conv2d(channels, COMPARED, 1, bias=False))
        self.flow_refinement, c = nn.Module(), 3
        for i, (side, wider) in enumerate((*UNITS, (3, channels)), 1):
            unit = _unit(nn.Conv2d(c, c, side, padding=side // 2, groups=c, bias=False))
            unit.extend(_unit(nn.Conv2d(c, wider, 1, bias=False)))
            self.flow_refinement.add_module(f"conv{i}", unit)
            c = wider
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Displacements, refined and added."""
        moved = self.displacement(x).unflatten(0, (x.shape[0] // self.frames, -1))
        y = torch.cat([moved, moved[:, -1:]], 1)[:, : self.frames].flatten(0, 1)  # (b*t, 3, h, w)
        for unit in self.flow_refinement.children():
            y = unit(y)
        return x + y

    def displacement(self, x: Tensor) -> Tensor:
        """(x, y, confidence) of every frame but the last, (b*(t-1), 3, h, w)."""
        h, w = x.shape[2:]
        f = self.chnl_reduction(x)
        f = f / (f.square().sum(1, keepdim=True) + 1e-6).sqrt()
        f = f.permute(0, 2, 3, 1).unflatten(0, (-1, self.frames))  # (b, t, h, w, 64)
        now, following = (f[:, :-1], f[:, 1:]) if self.frames > 1 else (f, f)
        volume = local_correlation(now.flatten(0, 1), following.flatten(0, 1), self.radius, 1)
        moved = self._read(volume.flatten(1, 2).relu())
        return moved.transpose(1, 2).unflatten(2, (h, w))

    def _read(self, volume: Tensor) -> Tensor:
        """Mean offset near the best one, and its match: (p, sites, offsets) -> (p, sites, 3)."""
        offsets = torch.tensor(window_offsets(self.radius), dtype=volume.dtype).to(volume.device)
        confidence, best = volume.max(-1, keepdim=True)
        far = (offsets[best.squeeze(-1)][..., None, :] - offsets).square().sum(-1)
        weights = torch.softmax(SHARPNESS * torch.exp(far / (-2 * SPREAD**2)) * volume, -1)
        dy, dx = ((weights * along / self.radius).sum(-1) for along in offsets.unbind(-1))
        return torch.stack([dx, dy, confidence.squeeze(-1)], -1)

    def macs(self, clips: int, h: int, w: int) -> int:
        """Closed form of the MACs on maps (h, w)."""
        sites = clips * self.frames * h * w
        pairs = clips * max(1, self.frames - 1)
        total = correlation_macs(pairs, h * w, COMPARED, (2 * self.radius + 1) ** 2)
        kernels = (m.weight for m in self.modules() if isinstance(m, nn.Conv2d))
        return total + sum(linear_macs(sites, k[0].numel(), len(k)) for k in kernels)


def _unit(conv: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU())


class MotionSqueeze(ShiftedResNet):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    official = Official(
        renames=(("motion.", "base_model."), (".conv1.net.", ".conv1.")),
        ignored=("base_model.bn2.",),
        export=lambda state: {
            k: x[..., None] if k == "new_fc.weight" else x for k, x in state.items()
        },
    )

    def __init__(
        self,
        frames: int,
        num_classes: int,
        image_size: int,
        net: ResNet,
        motion: Motion,
        dropout: float,
    ) -> None:
        super().__init__(frames, num_classes, image_size, net, dropout)
        self.motion = motion
        nn.init.xavier_uniform_(self.new_fc.weight)

    def features(self, video: Tensor) -> Tensor:
        """Features (b*t, d) of all frames."""
        net = self.base_model
        x = self.motion(net.layer2(net.layer1(stem(net, video.flatten(0, 1)))))
        return net.global_pool(net.layer4(net.layer3(x)))

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage."""
        h, w = (-(-side // 8) for side in sides(self.image_size))
        return {**super().macs(batch), "temporal": self.motion.macs(batch, h, w)}
