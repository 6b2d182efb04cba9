"""Frame mean (2D floor): the backbone on each frame, features averaged; blind to order.

Source: TSN's average consensus (arXiv 1608.00859); with a linear head the mean of logits equals the
head of the mean of features.
"""

from torch import Tensor, nn

from pks4.macs import linear_macs
from pks4.models.backbone import PerFrameBackbone
from pks4.weights.files import load_backbone

FAMILY = "2D floor"
PAPER = "https://arxiv.org/abs/1608.00859"
IMAGE_TWIN = "frame_mean"
OFFICIAL_CODE = None  # a backbone and a linear layer
PLACE = "on top: mean over frames and places"
TRAINED = "all (backbone frozen: the head)"
STAGES = {"head": ("head",)}
VARIANTS = {"tuned": {}, "frozen": {"frozen": True}, "eager": {"attention": "eager"}}
SCALES = {
    "paper": {"width": 768, "depth": 12, "heads": 12, "patch_size": 16, "image_size": 224},
    "tiny": {"width": 96, "depth": 4, "heads": 3, "patch_size": 8, "image_size": 64},
}


def build(
    *,
    frames: int,
    num_classes: int,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    patch_size: int = 16,
    image_size: int = 224,
    backbone: str = "vit",
    frozen: bool = False,
    attention: str = "sdpa",
) -> "FrameMean":
    """The floor for clips of any number of frames; the backbone trains unless `frozen`."""
    sizes = {"width": width, "depth": depth, "heads": heads, "patch_size": patch_size}
    mode = {"frozen": frozen, "attention": attention}
    net = PerFrameBackbone(backbone, image_size=image_size, **mode, **sizes)
    return FrameMean(net, num_classes, frames)


class FrameMean(nn.Module):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), the same for every order of frames."""

    def __init__(self, backbone: PerFrameBackbone, num_classes: int, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.backbone = backbone
        self.head = nn.Linear(backbone.dim, num_classes)

    def forward(self, video: Tensor) -> Tensor:
        """Logits of each clip."""
        return self.from_features(self.backbone.features(video))

    @property
    def frozen_part(self) -> PerFrameBackbone | None:
        """The backbone if it is frozen."""
        return self.backbone if self.backbone.frozen else None

    def from_features(self, features: Tensor) -> Tensor:
        """Logits from the backbone's `features` of each clip."""
        return self.head(self.backbone.unpacked(features)[0].mean((1, 2, 3)))

    def image_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Of images (n, 3, h, w): one vector each (n, d), and the grid (n, h', w', d).

        The vector is mean plus cls token, so that pre-training teaches both to speak.
        """
        grid, cls = self.backbone.with_prefix(images[:, None])
        pooled = grid.mean((1, 2, 3))
        return pooled if cls is None else pooled + cls[:, 0], grid[:, 0]

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage."""
        return {
            "backbone": self.backbone.macs(batch * self.frames),
            "temporal": 0,
            "head": linear_macs(batch, self.head.in_features, self.head.out_features),
        }

    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Take the backbone of the image twin; its head stays behind."""
        load_backbone(self.backbone, state)
