"""TSM mobile (2D floor): MobileNetV2 or its kin on each frame, channels shifted to neighbours.

The first convolution of an inverted residual block with a shortcut gets one eighth of its channels
from the next frame and one eighth from the previous frame. The shortcut does not shift. The shift
adds no weights and no MACs. `backbone` is any timm model of inverted residual blocks, so weights of
a real image model can be loaded, such as those of `tf_efficientnet_lite0`.

Source: arXiv 1811.08383 and the authors' code (mit-han-lab/temporal-shift-module), which shifts the
same layers of MobileNetV2. The names of the weights are timm's, so its checkpoints do not load
here.
"""

from timm.models._efficientnet_blocks import InvertedResidual
from torch import Tensor, nn

from pks4.macs import linear_macs
from pks4.models.backbone import PerFrameBackbone, check_video
from pks4.models.temporal_shift import Shifted, check_n_div
from pks4.weights.files import load_part, under

FAMILY = "2D floor"
PAPER = "https://arxiv.org/abs/1811.08383"
IMAGE_TWIN = "frame_mean"
OFFICIAL_CODE = None  # torchvision's MobileNetV2; here it is timm's
PLACE = "before the first convolution of every inverted residual with a shortcut"
TRAINED = "all"
STAGES = {"head": ("head",)}
WITHOUT = ("width", "depth", "heads", "patch_size")
VARIANTS = {"an eighth each way": {}, "a quarter each way": {"n_div": 4}}
SCALES = {
    "paper": {"backbone": "mobilenetv2_100", "image_size": 224},
    "tiny": {"backbone": "mobilenetv2_035", "image_size": 64},
}


def build(
    *,
    frames: int,
    num_classes: int,
    image_size: int = 224,
    backbone: str = "mobilenetv2_100",
    n_div: int = 8,
) -> "TSMMobile":
    """TSM for clips of exactly `frames` frames."""
    net = PerFrameBackbone(backbone, image_size=image_size)
    blocks = [block for block in net.net.modules() if _shifts(block)]
    if not blocks:
        raise ValueError(
            f"backbone {backbone!r} has no inverted residual blocks with a shortcut; "
            "take one such as 'mobilenetv2_100' or 'tf_efficientnet_lite0'"
        )
    for block in blocks:
        check_n_div(n_div, block.conv_pw.in_channels)
        block.conv_pw = Shifted(block.conv_pw, frames, n_div)
    return TSMMobile(net, num_classes, frames)


def _shifts(block: nn.Module) -> bool:
    return isinstance(block, InvertedResidual) and block.has_skip


class TSMMobile(nn.Module):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    def __init__(self, backbone: PerFrameBackbone, num_classes: int, frames: int) -> None:
        super().__init__()
        self.frames, self.backbone = frames, backbone
        self.head = nn.Linear(backbone.dim, num_classes)

    def forward(self, video: Tensor) -> Tensor:
        """Logits of each clip: the mean of its frames'."""
        check_video(video, self.backbone.image_size, self.frames)
        return self.head(self.backbone(video).mean((1, 2, 3)))

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage."""
        return {
            "backbone": self.backbone.macs(batch * self.frames),
            "temporal": 0,
            "head": linear_macs(batch, self.head.in_features, self.head.out_features),
        }

    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Load the backbone of the image twin, all of it or nothing, without its head."""
        names = {k.replace(".conv_pw.net.", ".conv_pw."): k for k in self.backbone.state_dict()}
        weights = under(state, "backbone.")
        load_part(self.backbone, {names.get(k, k): v for k, v in weights.items()}, prefix="")
