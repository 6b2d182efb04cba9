"""TSN R50 (2D floor): ResNet-50 on each frame, logits averaged over time; blind to order.

A ResNet runs on each frame; `new_fc` classifies the mean of its features over places. The logits of
a clip are the mean of its frames' logits. Every weight trains, batch norms too.

Source: arXiv 1608.00859, in the form and with the names of the code of TSM's authors
(mit-han-lab/temporal-shift-module); in their files every name has the prefix `module.`. Without
dropout they call the last layer `base_model.fc`; here it is always `new_fc`.
"""

from collections.abc import Sequence

from torch import Tensor

from pks4.models.resnet import PerFrameResNet, build_resnet
from pks4.weights.files import load_part
from pks4.weights.official import Official

FAMILY = "2D floor"
PAPER = "https://arxiv.org/abs/1608.00859"
IMAGE_TWIN = "tsn_r50"
PLACE = "on top: mean of the frames' logits"
TRAINED = "all"
STAGES = {"head": ("new_fc",)}
WITHOUT = ("width", "depth", "heads", "patch_size")
VARIANTS = {"one block a stage": {}, "two blocks a stage": {"layers": [2, 2, 2, 2]}}
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
    block: str = "bottleneck",
    image_size: int = 224,
    dropout: float = 0.0,
) -> "TSN":
    """TSN for clips of exactly `frames` frames; the authors train with dropout .5.

    `layers`, `channels` and `block` as in `build_resnet`.
    """
    net = build_resnet(layers, channels, block)
    return TSN(frames, num_classes, image_size, net, dropout)


class TSN(PerFrameResNet):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), the same for every order of frames."""

    official = Official()

    def image_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features of images (n, 3, h, w): mean over places (n, d), and grid (n, h', w', d)."""
        grid = self.base_model.forward_features(images).permute(0, 2, 3, 1)
        return grid.mean((1, 2)), grid

    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Load the whole ResNet of the image twin, but not new_fc."""
        load_part(self.base_model, state, "base_model.")
