"""What all probes share: a frozen image model on each frame, whose features something small reads.

b clips, t frames, n places of a frame, d channels.
"""

from torch import Tensor, nn

from pks4.errors import unknown_name
from pks4.models.attention import ATTENTION
from pks4.models.backbone import PerFrameBackbone, check_video
from pks4.weights.files import load_backbone

VITS = ("vit", "vit_clip")


class Probe(nn.Module):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built.

    A probe adds `from_features`, which gives logits from the backbone's `features` of each clip.
    """

    def __init__(self, backbone: PerFrameBackbone, frames: int) -> None:
        super().__init__()
        self.backbone, self.frames = backbone, frames

    def forward(self, video: Tensor) -> Tensor:
        """Logits of each clip."""
        check_video(video, self.backbone.image_size, self.frames)
        return self.from_features(self.backbone.features(video))

    @property
    def frozen_part(self) -> PerFrameBackbone:
        """The backbone, whose features are the same in every epoch."""
        return self.backbone

    @property
    def tokens(self) -> int:
        """The number of places of all frames of a clip."""
        h, w = self.backbone.grid()
        return self.frames * h * w

    def frame_tokens(self, features: Tensor) -> Tensor:
        """The places of each frame (b, t, n, d), row by row, without cls token."""
        return self.backbone.unpacked(features)[0].flatten(2, 3)

    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Load the backbone of the image twin; the probe keeps its initial weights."""
        load_backbone(self.backbone, state)


def frozen_backbone(
    name: str, *, image_size: int, attention: str, **sizes: int
) -> PerFrameBackbone:
    """A frozen backbone; a timm model keeps its own attention kernels.

    Raises ValueError for what the backbone refuses, and for an unknown name of attention.
    """
    if attention not in ATTENTION:
        raise ValueError(unknown_name("attention", attention, ATTENTION))
    kernel = {"attention": attention} if name in VITS else {}
    return PerFrameBackbone(name, frozen=True, image_size=image_size, **kernel, **sizes)
