"""TDN (motion): a ResNet that sees differences of neighbouring images and of segments.

A clip is T segments of five images; the ResNet runs on the third of each. Two additions:

- short term: the four differences of a segment's images, at half size, go through a convolution and
  a first stage of their own; both results are added, enlarged, before and after the first stage.
- long term, in every block of the stages 2 to 4, behind the ReLU of its first convolution: gates
  from the differences to the next and to the previous segment, then a trained shift along time.

      k, z: the map at a 16th of its c channels, with and without a depthwise 3 x 3 filter
      u_t = k_{t+1} - z_t,  v_t = k_{t-1} - z_t             0 where there is no such segment
      x + x (g(u) + g(v)) / 2                               g: convolutions, sigmoid - .5

Source: arXiv 2012.10071 and the authors' code (MCG-NJU/TDN); in their files every name has the
prefix `module.`. Every weight trains; the convolutions of the ResNet have biases. Deviations: by
default every frame is a segment with its neighbours t-2 ... t+2 in the clip, clamped at its ends,
so that TDN sees the frames that everyone sees; neighbours are then as far apart as sampled frames.
`tubelet=5` is the authors' input: consecutive images, five a segment. Biases of the ResNet are 0
with weights of an image model, which has none; theirs keep a random start. The weights
`conv1_temp`, which their module holds and never uses, are left out.
"""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from timm.models.resnet import ResNet
from torch import Tensor, nn

from pks4.checks import check_sizes, one_of
from pks4.macs import linear_macs
from pks4.models.backbone import sides
from pks4.models.resnet import PerFrameResNet, build_resnet, resnet_macs, stages, stem
from pks4.weights.files import load_part
from pks4.weights.official import Official

FAMILY = "motion"
PAPER = "https://arxiv.org/abs/2012.10071"
IMAGE_TWIN = "tsn_r50"
PLACE = "around the first stage, and before the second convolution of every block after it"
TRAINED = "all"
STAGES = {"temporal": ("short_term", "mse", "shift"), "head": ("new_fc",)}
WITHOUT = ("width", "depth", "heads", "patch_size")
VARIANTS = {
    "frames with their neighbours": {},
    "segments of five images": {"tubelet": 5},
    "two blocks a stage": {"layers": [2, 2, 2, 2]},
}
SCALES = {
    "paper": {"layers": [3, 4, 6, 3], "channels": [64, 128, 256, 512], "image_size": 224},
    "tiny": {"layers": [1, 1, 1, 1], "channels": [16, 32, 64, 128], "image_size": 64},
}
IMAGES = 5  # of a segment
REDUCTION = 16  # of the channels whose differences are taken
N_DIV = 8  # of the shift at the start
BIASES = ("conv1.bias", "conv2.bias", "conv3.bias", "downsample.0.bias")


def build(
    *,
    frames: int,
    num_classes: int,
    layers: Sequence[int] = (3, 4, 6, 3),
    channels: Sequence[int] = (64, 128, 256, 512),
    image_size: int = 224,
    tubelet: int = 1,
    dropout: float = 0.0,
) -> "TDN":
    """TDN for clips of exactly `frames` frames; the authors train with dropout .5.

    `layers` and `channels` as in `build_resnet`. `tubelet`: frames of a segment, 1 or 5; with 1 a
    frame's neighbours in the clip are the other four images.
    """
    one_of("tubelet", tubelet, (1, IMAGES))
    check_sizes(frames=frames, tubelet=tubelet, image_size=image_size)
    if min(sides(image_size)) <= 32:
        raise ValueError(f"image_size must be at least 33, got {image_size}")
    net = build_resnet(layers, channels)
    if min(channels[1:]) < REDUCTION:
        raise ValueError(f"channels must be at least {REDUCTION} after the first, got {channels}")
    for layer in [m for m in net.modules() if isinstance(m, nn.Conv2d)]:
        bound = layer.weight[0].numel() ** -0.5
        layer.bias = nn.Parameter(torch.empty(layer.out_channels).uniform_(-bound, bound))
    segments = frames // tubelet
    for block in (block for stage in stages(net)[1:] for block in stage):
        block.act1 = LongTerm(block.act1, block.conv1.out_channels, segments)
    return TDN(frames, num_classes, image_size, net, segments, dropout)


class LongTerm(nn.Module):
    """What follows the first norm of a block: ReLU, excitation by differences, shift."""

    def __init__(self, act: nn.Module, channels: int, segments: int) -> None:
        super().__init__()
        self.act = act
        self.mse = Excitation(channels, segments)
        self.shift = Shift(channels, segments)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (b*t, c, h, w) -> the same shape."""
        return self.shift(self.mse(self.act(x)))


class Excitation(nn.Module):
    """Maps x (b*t, c, h, w), gated by their differences to the neighbouring segments."""

    def __init__(self, channels: int, segments: int) -> None:
        super().__init__()
        self.segments, r = segments, channels // REDUCTION
        self.conv1, self.bn1 = nn.Conv2d(channels, r, 1, bias=False), nn.BatchNorm2d(r)
        self.conv2 = nn.Conv2d(r, r, 3, padding=1, groups=r, bias=False)
        self.conv3, self.bn3 = nn.Conv2d(r, channels, 1, bias=False), nn.BatchNorm2d(channels)
        for scale in (2, 4):  # their names; both have the size of x at the end, 4 throughout
            conv = nn.Conv2d(r, r, 3, padding=1, bias=False)
            self.add_module(f"conv3_smallscale{scale}", conv)
            self.add_module(f"bn3_smallscale{scale}", nn.BatchNorm2d(r))

    def forward(self, x: Tensor) -> Tensor:
        """Both directions share all weights."""
        plain = self.bn1(self.conv1(x))
        z, k = (y.unflatten(0, (-1, self.segments)) for y in (plain, self.conv2(plain)))
        last, first = (0,) * 7 + (1,), (0,) * 6 + (1, 0)
        forward = self._gate(F.pad(k[:, 1:] - z[:, :-1], last).flatten(0, 1))
        backward = self._gate(F.pad(k[:, :-1] - z[:, 1:], first).flatten(0, 1))
        return x + x * (0.5 * forward + 0.5 * backward)

    def _gate(self, u: Tensor) -> Tensor:
        small = self.bn3_smallscale2(self.conv3_smallscale2(F.avg_pool2d(u, 2)))
        small = F.interpolate(small, u.shape[2:])
        full = self.bn3_smallscale4(self.conv3_smallscale4(u))
        return torch.sigmoid(self.bn3(self.conv3((u + small + full) / 3))) - 0.5

    def macs(self, images: int, h: int, w: int) -> int:
        """Closed form of the MACs on maps (h, w)."""
        r, c = self.conv1.weight.shape[:2]
        gate = 9 * r * r * ((h // 2) * (w // 2) + h * w) + h * w * r * c
        return images * (h * w * (c * r + 9 * r) + 2 * gate)


class Shift(nn.Module):
    """A depthwise filter of three segments along time, which starts as TSM's shift."""

    def __init__(self, channels: int, segments: int) -> None:
        super().__init__()
        self.segments = segments
        self.conv = nn.Conv1d(channels, channels, 3, padding=1, groups=channels, bias=False)
        fold = channels // N_DIV
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.weight[:fold, 0, 2] = 1  # from the next segment
            self.conv.weight[fold : 2 * fold, 0, 0] = 1  # from the one before
            self.conv.weight[2 * fold :, 0, 1] = 1

    def forward(self, x: Tensor) -> Tensor:
        """Maps (b*t, c, h, w) -> the same shape."""
        _, c, h, w = x.shape
        clips = x.view(-1, self.segments, c, h, w).permute(0, 3, 4, 2, 1)  # (b, h, w, c, t)
        y = self.conv(clips.reshape(-1, c, self.segments))
        return y.view(-1, h, w, c, self.segments).permute(0, 4, 3, 1, 2).reshape(x.shape)


class ShortTerm(nn.Module):
    """Images of segments (n, 5, 3, h, w) -> what is added before and after the first stage."""

    def __init__(self, net: ResNet) -> None:
        super().__init__()
        c = net.conv1.out_channels
        conv = nn.Conv2d(3 * (IMAGES - 1), c, 7, stride=2, padding=3, bias=False)
        self.conv1_5 = nn.Sequential(conv, nn.BatchNorm2d(c), nn.ReLU())
        self.resnext_layer1 = copy.deepcopy(net.layer1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """At half the size of the first stage's maps."""
        differences = (images[:, 1:] - images[:, :-1]).flatten(1, 2)  # (n, 12, h, w)
        before = self.conv1_5(F.avg_pool2d(differences, 2))
        before = F.max_pool2d(before, 3, stride=2, padding=1)
        return before, self.resnext_layer1(before)

    def macs(self, images: int, h: int, w: int) -> int:
        """Closed form of the MACs of images (h, w)."""
        h, w = (-(-(side // 2) // 2) for side in (h, w))
        kernels = [m.weight for m in self.resnext_layer1.modules() if isinstance(m, nn.Conv2d)]
        stage = linear_macs(-(-h // 2) * -(-w // 2), sum(k.numel() for k in kernels), 1)
        return images * (linear_macs(h * w, self.conv1_5[0].weight.numel(), 1) + stage)


class TDN(PerFrameResNet):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    official = Official(
        renames=(
            ("short_term.", "base_model."),
            (".act1.", "."),
            *((f"base_model.layer{i}.", f"base_model.layer{i}_bak.") for i in (1, 2, 3, 4)),
        ),
        ignored=("base_model.conv1_temp.",),
    )

    def __init__(
        self,
        frames: int,
        num_classes: int,
        image_size: int,
        net: ResNet,
        segments: int,
        dropout: float,
    ) -> None:
        super().__init__(frames, num_classes, image_size, net, dropout)
        self.segments = segments
        self.short_term = ShortTerm(net)
        self.share = 0.5 if segments == 8 else 0.75  # of the ResNet beside the short term
        new = (self.short_term.conv1_5, *(m for m in net.modules() if isinstance(m, Excitation)))
        for conv in (m for part in new for m in part.modules() if isinstance(m, nn.Conv2d)):
            side, _ = conv.kernel_size
            nn.init.normal_(conv.weight, std=(2 / (side * side * conv.out_channels)) ** 0.5)

    def features(self, video: Tensor) -> Tensor:
        """Features (b*t, d) of all segments."""
        images, net = self._images(video), self.base_model
        before, after = self.short_term(images)
        x = self._joined(stem(net, images[:, IMAGES // 2]), before)
        x = self._joined(net.layer1(x), after)
        return net.global_pool(net.layer4(net.layer3(net.layer2(x))))

    def _images(self, video: Tensor) -> Tensor:
        """The images of all segments, (b*t, 5, 3, h, w)."""
        if self.segments < self.frames:
            return video.unflatten(1, (self.segments, IMAGES)).flatten(0, 1)
        frames = torch.arange(self.frames, device=video.device)
        near = torch.arange(IMAGES, device=video.device) - IMAGES // 2
        return video[:, (frames[:, None] + near).clamp(0, self.frames - 1)].flatten(0, 1)

    def _joined(self, x: Tensor, short: Tensor) -> Tensor:
        return self.share * x + (1 - self.share) * F.interpolate(short, x.shape[2:])

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage."""
        images, (h, w) = batch * self.segments, sides(self.image_size)
        temporal = self.short_term.macs(images, h, w)
        for i, stage in enumerate(stages(self.base_model)[1:], 3):
            for j, block in enumerate(stage):
                down = 2 ** (i - (j == 0))  # a block's first convolution has the size of its input
                h_j, w_j = -(-h // down), -(-w // down)
                temporal += block.act1.mse.macs(images, h_j, w_j)
                temporal += linear_macs(images * h_j * w_j, 3, block.conv1.out_channels)
        return {
            "backbone": resnet_macs(self.base_model, images, self.image_size),
            "temporal": temporal,
            "head": linear_macs(images, self.new_fc.in_features, self.new_fc.out_features),
        }

    @torch.no_grad()
    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Load the ResNet of the image twin; its first stage and convolution start the short term.

        That convolution's kernel is averaged over colours. All else keeps its values, but the
        biases of the ResNet become 0.
        """
        net, short = self.base_model, self.short_term
        load_part(net, state, "base_model.", keep=(*BIASES, ".mse.", ".shift."))
        for key, value in net.named_parameters():
            if key.endswith(BIASES):
                value.zero_()
        kernel = net.conv1.weight.mean(1, keepdim=True)
        short.conv1_5[0].weight.copy_(kernel.expand_as(short.conv1_5[0].weight))
        short.resnext_layer1.load_state_dict(net.layer1.state_dict())
