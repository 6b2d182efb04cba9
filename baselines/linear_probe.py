"""Linear probe (probes): a linear layer on a frozen image model's frames, averaged; order-blind.

It reads the cls token of each frame, or the mean of its places. A batch norm without affine part
may stand before the layer, as masked autoencoders are probed. `frame_mean` with `frozen` is the
same probe of the mean of the places.

Source: the linear probe of MAE (arXiv 2111.06377); the mean over frames is ours.
"""

from torch import Tensor, nn

from pks4.errors import unknown_name
from pks4.macs import linear_macs
from pks4.models.backbone import PerFrameBackbone
from pks4.models.probe import Probe, frozen_backbone

FAMILY = "probes"
PAPER = "https://arxiv.org/abs/2111.06377"
IMAGE_TWIN = "frame_mean"
OFFICIAL_CODE = None  # a frozen backbone and a linear layer
PLACE = "on top: mean over frames of the cls tokens"
TRAINED = "head"
STAGES = {"head": ("norm_of_probe", "head")}
VARIANTS = {
    "cls token": {},
    "mean of places": {"pool": "mean"},
    "behind a batch norm": {"batch_norm": True},
    "eager": {"attention": "eager"},
}
SCALES = {
    "paper": {"width": 768, "depth": 12, "heads": 12, "patch_size": 16, "image_size": 224},
    "tiny": {"width": 96, "depth": 4, "heads": 3, "patch_size": 8, "image_size": 64},
}
POOLS = ("cls", "mean")


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
    pool: str = "cls",
    batch_norm: bool = False,
    attention: str = "sdpa",
) -> "LinearProbe":
    """A linear probe of clips of `frames` frames.

    `pool` is "cls", or "mean" for backbones without a cls token. With `batch_norm` a training step
    needs two clips or more.
    """
    if pool not in POOLS:
        raise ValueError(unknown_name("pool", pool, POOLS))
    sizes = {"width": width, "depth": depth, "heads": heads, "patch_size": patch_size}
    net = frozen_backbone(backbone, image_size=image_size, attention=attention, **sizes)
    if pool == "cls" and not net.prefix_tokens:
        raise ValueError(f"pool: backbone {backbone!r} has no cls token; give pool='mean'")
    return LinearProbe(net, frames, num_classes, pool, batch_norm)


class LinearProbe(Probe):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), the same for every order of frames."""

    def __init__(
        self,
        backbone: PerFrameBackbone,
        frames: int,
        num_classes: int,
        pool: str,
        batch_norm: bool,
    ) -> None:
        super().__init__(backbone, frames)
        self.pool = pool
        norm = nn.BatchNorm1d(backbone.dim, eps=1e-6, affine=False) if batch_norm else nn.Identity()
        self.norm_of_probe = norm
        self.head = nn.Linear(backbone.dim, num_classes)
        nn.init.trunc_normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def from_features(self, features: Tensor) -> Tensor:
        """Logits from the backbone's `features` of each clip."""
        grid, prefix = self.backbone.unpacked(features)
        pooled = grid.mean((1, 2, 3)) if self.pool == "mean" else prefix[:, :, 0].mean(1)
        return self.head(self.norm_of_probe(pooled))

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage."""
        return {
            "backbone": self.backbone.macs(batch * self.frames),
            "temporal": 0,
            "head": linear_macs(batch, self.head.in_features, self.head.out_features),
        }
