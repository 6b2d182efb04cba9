"""TSM R50 (2D floor): ResNet-50 on each frame, with channels shifted to neighbouring frames.

TSN with one change: the first convolution of a bottleneck gets one eighth of its channels from the
next frame and one eighth from the previous frame. The shortcut does not shift. The shift adds no
weights and no MACs.

Source: arXiv 1811.08383 and the authors' code (mit-han-lab/temporal-shift-module), its `blockres`
form; in their files every name has the prefix `module.`. Without dropout they call the last layer
`base_model.fc`; here it is always `new_fc`.
"""

from collections.abc import Sequence

from timm.models.resnet import ResNet
from torch import Tensor, nn

from pks4.models.resnet import PerFrameResNet, build_resnet, stages
from pks4.models.temporal_shift import check_n_div, temporal_shift
from pks4.weights.files import load_part
from pks4.weights.official import Official

FAMILY = "2D floor"
PAPER = "https://arxiv.org/abs/1811.08383"
IMAGE_TWIN = "tsn_r50"
PLACE = "before the first convolution of every bottleneck, but not in the shortcut"
TRAINED = "all"
STAGES = {"head": ("new_fc",)}
WITHOUT = ("width", "depth", "heads", "patch_size")
VARIANTS = {
    "one block a stage": {},
    "two blocks a stage": {"layers": [2, 2, 2, 2]},
    "a quarter each way": {"n_div": 4},
}
SCALES = {
    "paper": {"layers": [3, 4, 6, 3], "channels": [64, 128, 256, 512], "image_size": 224},
    "tiny": {"layers": [1, 1, 1, 1], "channels": [16, 32, 64, 128], "image_size": 64},
}
LONG = 23  # blocks of the third stage (ResNet-101) from which only every second block shifts


def build(
    *,
    frames: int,
    num_classes: int,
    layers: Sequence[int] = (3, 4, 6, 3),
    channels: Sequence[int] = (64, 128, 256, 512),
    image_size: int = 224,
    n_div: int = 8,
    dropout: float = 0.0,
) -> "TSM":
    """TSM for clips of exactly `frames` frames; the authors train with dropout .5.

    `layers` and `channels` as in `build_resnet`.
    """
    net = build_resnet(layers, channels)
    for block in shifting_blocks(net):
        check_n_div(n_div, block.conv1.in_channels)
        block.conv1 = Shifted(block.conv1, frames, n_div)
    return TSM(frames, num_classes, image_size, net, dropout)


def shifting_blocks(net: ResNet) -> list[nn.Module]:
    """The blocks whose input is shifted."""
    step = 2 if len(net.layer3) >= LONG else 1
    return [block for stage in stages(net) for block in stage[::step]]


class Shifted(nn.Module):
    """A layer `net` on frames x (b*t, c, h, w) after a temporal shift."""

    def __init__(self, net: nn.Module, frames: int, n_div: int) -> None:
        super().__init__()
        self.net, self.frames, self.n_div = net, frames, n_div

    def forward(self, x: Tensor) -> Tensor:
        """Shift, then the layer."""
        clips = x.unflatten(0, (-1, self.frames))  # (b, t, c, h, w)
        return self.net(temporal_shift(clips, self.n_div, dim=2).flatten(0, 1))


class TSM(PerFrameResNet):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    official = Official()

    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Load the whole ResNet of the image twin, but not new_fc."""
        names = {k.replace(".conv1.net.", ".conv1."): k for k in self.state_dict()}
        load_part(self.base_model, {names.get(k, k): v for k, v in state.items()}, "base_model.")
