"""PKS4 on top of a per-frame 2D backbone, as a contestant: one module, identity at the start.

Backbone -> PKS4 -> mean over time and place -> linear head. With `frozen=True` (the default) the
backbone keeps no activations; with `frozen=False` it is tuned with the rest. Reconstructed from the
abstract of arXiv 2604.26461: the abstract names neither the backbone nor whether it is frozen.
"""

from torch import Tensor, nn

from pks4.backbone import PerFrameBackbone
from pks4.cost import linear_macs
from pks4.module import PKS4, Options

FAMILY = "PKS4"
PAPER = "https://arxiv.org/abs/2604.26461"
IMAGE_TWIN = "frame_mean"
SCALES = {
    "paper": {"width": 768, "depth": 12, "heads": 12, "patch_size": 16, "image_size": 224},
    "tiny": {
        "width": 96,
        "depth": 4,
        "heads": 3,
        "patch_size": 16,
        "image_size": 64,
        "expand": 1.0,
        "state": 8,
        "radius": 2,
    },
}
MORE_OPTIONS = (  # the fields of pks4.module.Options, as a literal for readers without torch
    "state",
    "expand",
    "rank",
    "direction",
    "modulation",
    "modulate",
    "correlation",
    "difference",
    "prior_channels",
    "correlation_channels",
    "radius",
    "dilation",
    "readout",
    "scan_backend",
)


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
    frozen: bool = True,
    **module,
) -> "PKS4Video":
    """PKS4 for clips of any number of frames; `module` holds fields of `pks4.module.Options`."""
    sizes = {"width": width, "depth": depth, "heads": heads, "patch_size": patch_size}
    net = PerFrameBackbone(backbone, frozen=frozen, image_size=image_size, **sizes)
    if isinstance(module.get("modulate"), list):
        module["modulate"] = tuple(module["modulate"])
    return PKS4Video(net, num_classes, frames, Options(**module))


class PKS4Video(nn.Module):
    """Video (b, t, 3, h, w) -> logits (b, num_classes); any t ≥ 1."""

    def __init__(
        self, backbone: PerFrameBackbone, num_classes: int, frames: int, options: Options
    ) -> None:
        super().__init__()
        self.frames = frames
        self.backbone = backbone
        self.temporal = PKS4(backbone.dim, options)
        self.head = nn.Linear(backbone.dim, num_classes)

    def forward(self, video: Tensor) -> Tensor:
        """Logits of each clip."""
        x = self.temporal(self.backbone(video))  # (b, t, h', w', d)
        return self.head(x.mean((1, 2, 3)))

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage, at `frames`."""
        h, w = self.backbone.grid()
        return {
            "backbone": self.backbone.macs(batch * self.frames),
            "temporal": self.temporal.macs(batch, self.frames, h, w),
            "head": linear_macs(batch, self.head.in_features, self.head.out_features),
        }

    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Take the backbone of the image twin; its head stays behind."""
        load_backbone(self.backbone, state)


def load_backbone(backbone: PerFrameBackbone, state: dict[str, Tensor]) -> None:
    """Load the entries `backbone.*` of an image model's state dict, all of them or none."""
    prefix = "backbone."
    wanted = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    backbone.load_state_dict(wanted)
