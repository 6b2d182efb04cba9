"""VideoMAE (temporal attention): a plain ViT in which every tubelet of the clip attends to all.

Tubelets of two frames and one patch become the tokens, laid out (t h w), time slowest. A fixed sine
table over their flat index gives positions. There is no cls token: the head reads the mean of all
tokens. Queries and values have biases, keys have none. n tubelets in one step of time.

Source: arXiv 2203.12602 and the authors' code (MCG-NJU/VideoMAE, the model of fine-tuning), with
its parameter names. Every weight trains.

The authors start from masked pre-training on video. `load_image_weights` is ours: it spreads the
patch kernel evenly over the frames of a tubelet, turns the last norm into `fc_norm`, and drops cls
token and learned positions. It also drops the bias on keys, which has no effect on softmax.
`hf_videomae` starts by the same rule.
"""

from typing import Any

from torch import Tensor, nn

from pks4.macs import linear_macs
from pks4.models.backbone import check_video
from pks4.models.tubelet_vit import TubeletViT
from pks4.weights.official import Official

FAMILY = "temporal attention"
PAPER = "https://arxiv.org/abs/2203.12602"
IMAGE_TWIN = "frame_mean"
PLACE = "in every block: attention over all tokens of the clip"
TRAINED = "all"
STAGES = {"head": ("head",)}
FRAMES_STEP = 2
VARIANTS = {
    "tubelets of 2": {},
    "tubelets of 1": {"tubelet": 1},
    "tubelets of 4": {"tubelet": 4},
    "eager": {"attention": "eager"},
}
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
    tubelet: int = 2,
    init_scale: float = 0.001,
    attention: str = "sdpa",
    drop_path: float = 0.0,
) -> "VideoMAE":
    """VideoMAE's ViT for clips of exactly `frames` frames, a multiple of `tubelet`.

    `init_scale` shrinks the fresh head. drop_path grows linearly by block; the paper trains with
    .1.
    """
    return VideoMAE(
        num_classes,
        init_scale,
        frames=frames,
        width=width,
        depth=depth,
        heads=heads,
        patch_size=patch_size,
        image_size=image_size,
        tubelet=tubelet,
        drop_path=drop_path,
        attention=attention,
    )


class VideoMAE(TubeletViT):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    official = Official(renames=((".qkv.q_bias", ".q_bias"), (".qkv.v_bias", ".v_bias")))

    def __init__(self, num_classes: int, init_scale: float, **sizes: Any) -> None:
        super().__init__(**sizes)
        self.head = nn.Linear(sizes["width"], num_classes)
        self.init_weights()
        self.head.weight.data.mul_(init_scale)

    def forward(self, video: Tensor) -> Tensor:
        """Logits of each clip, read from the mean of its tokens."""
        check_video(video, self.image_size, self.frames)
        return self.head(self.fc_norm(self.blocks(self.embed(video)).mean(1)))

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage."""
        head = linear_macs(batch, self.head.in_features, self.head.out_features)
        return {**self.trunk_macs(batch), "head": head}
