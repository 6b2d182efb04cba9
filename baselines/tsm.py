"""TSM R50 (2D floor): ResNet-50 on each frame, with channels shifted to neighbouring frames.

TSN with one change: the first convolution of a bottleneck gets one eighth of its channels from the
next frame and one eighth from the previous frame. The shortcut does not shift. The shift adds no
weights and no MACs.

Source: arXiv 1811.08383 and the authors' code (mit-han-lab/temporal-shift-module), its `blockres`
form; in their files every name has the prefix `module.`. Without dropout they call the last layer
`base_model.fc`; here it is always `new_fc`.
"""

from collections.abc import Sequence

from pks4.models.resnet import ShiftedResNet, build_resnet, shifted_resnet
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
    net = shifted_resnet(build_resnet(layers, channels), frames, n_div)
    return TSM(frames, num_classes, image_size, net, dropout)


class TSM(ShiftedResNet):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    official = Official()
