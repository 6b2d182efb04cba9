"""Frame mean (2D floor): the backbone on each frame, features averaged; blind to order.

Source: TSN's average consensus (arXiv 1608.00859); with a linear head the mean of logits equals the
head of the mean of features.
"""

from torch import Tensor, nn

from pks4.backbone import PerFrameBackbone
from pks4.cost import linear_macs
from pks4.errors import unknown_name
from pks4.video import load_backbone

FAMILY = "2D floor"
PAPER = "https://arxiv.org/abs/1608.00859"
IMAGE_TWIN = "frame_mean"
IMAGE_TWIN_OPTIONS = {"pool": "both"}
SCALES = {
    "paper": {"width": 768, "depth": 12, "heads": 12, "patch_size": 16, "image_size": 224},
    "tiny": {"width": 128, "depth": 4, "heads": 4, "patch_size": 8, "image_size": 64},
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
    pool: str = "mean",
) -> "FrameMean":
    """The floor on clips of any number of frames; trained whole unless `frozen`.

    `pool`: the head reads the "mean" over places, or "both", the mean plus the cls token; so that
    an image model trained with it has taught both to speak.
    """
    if pool not in ("mean", "both"):
        raise ValueError(unknown_name("pool", pool, ("mean", "both")))
    sizes = {"width": width, "depth": depth, "heads": heads, "patch_size": patch_size}
    net = PerFrameBackbone(backbone, frozen=frozen, image_size=image_size, **sizes)
    return FrameMean(net, num_classes, frames, pool)


class FrameMean(nn.Module):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), the same for every order of frames."""

    def __init__(
        self, backbone: PerFrameBackbone, num_classes: int, frames: int, pool: str
    ) -> None:
        super().__init__()
        self.frames, self.pool = frames, pool
        self.backbone = backbone
        self.head = nn.Linear(backbone.dim, num_classes)

    def forward(self, video: Tensor) -> Tensor:
        """Logits of each clip."""
        features, cls = self.backbone.with_prefix(video)
        pooled = features.mean((1, 2, 3))
        if self.pool == "both" and cls is not None:
            pooled = pooled + cls.mean(1)
        return self.head(pooled)

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
