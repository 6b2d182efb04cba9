"""ViViT joint of transformers (temporal attention): a ViT over all tubelets of a clip at once.

Model 1 of the paper: one convolution makes a token of every 16 x 16 patch over `tubelet` frames.
Tokens lie (t h w), time slowest, after one cls token, with learned positions. Plain blocks attend
over all of them. transformers has no factorised encoder.

Source: arXiv 2103.15691 and `VivitForVideoClassification`, with its parameter names and initial
weights: normal .02, cls token and positions zero. Its GELU (tanh form) consists of
elementary operators, each of which keeps its result for backward: the bytes are those of
transformers' code, far above those of a fused GELU. The positions fix the number of frames.
"""

import torch
from torch import Tensor

from pks4.models.frozen_vit import inflate_centre
from pks4.models.transformers_video import Sizes, Wrapped, known_attention, renamed, split_qkv

FAMILY = "temporal attention"
PAPER = "https://arxiv.org/abs/2103.15691"
IMAGE_TWIN = "frame_mean"
PLACE = "in every block, over all tubelets of the clip"
TRAINED = "all"
STAGES = {"head": ("classifier",)}
FRAMES_STEP = 2
VARIANTS = {"joint": {}, "eager": {"attention": "eager"}}
SILENT = ("k_proj.bias",)  # adds the same to all scores of a query, which softmax cancels
SCALES = {
    "paper": {"width": 768, "depth": 12, "heads": 12, "patch_size": 16, "image_size": 224},
    "tiny": {"width": 96, "depth": 4, "heads": 3, "patch_size": 8, "image_size": 64},
}
KERNEL = "patch_embed.proj.weight"
NAMES = (  # timm's name, transformers' name
    ("blocks.", "vivit.layers."),
    (".attn.q.", ".attention.q_proj."),
    (".attn.k.", ".attention.k_proj."),
    (".attn.v.", ".attention.v_proj."),
    (".attn.proj.", ".attention.o_proj."),
    (".norm1.", ".layernorm_before."),
    (".norm2.", ".layernorm_after."),
    ("patch_embed.proj.", "vivit.embeddings.patch_embeddings.projection."),
    ("cls_token", "vivit.embeddings.cls_token"),
    ("pos_embed", "vivit.embeddings.position_embeddings"),
    ("norm.", "vivit.layernorm."),
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
    tubelet: int = 2,
    attention: str = "sdpa",
) -> "HFViViT":
    """transformers' ViViT for clips of exactly `frames` frames, a multiple of `tubelet`."""
    sizes = Sizes(
        frames=frames,
        num_classes=num_classes,
        width=width,
        depth=depth,
        heads=heads,
        patch_size=patch_size,
        image_size=image_size,
        tubelet=tubelet,
    )
    kernel = known_attention(attention)
    from transformers import VivitConfig, VivitForVideoClassification

    config = VivitConfig(
        **sizes.config(),
        intermediate_size=4 * width,
        num_frames=frames,
        image_size=image_size,
        tubelet_size=[tubelet, patch_size, patch_size],
        attn_implementation=kernel,
    )
    return HFViViT(VivitForVideoClassification(config), sizes)


class HFViViT(Wrapped):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage.

        temporal is the extra cost over attention among tubelets of the same time.
        """
        blocks, temporal = self.sizes.joint_macs(batch, prefix=1)
        return {
            "backbone": self.sizes.embed_macs(batch) + blocks,
            "temporal": temporal,
            "head": self.sizes.head_macs(batch),
        }

    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Load the ViT of the image twin, all but a classifier, as the authors do.

        A tubelet starts as its middle frame; positions repeat along time. Raises ValueError if the
        twin's weights do not fit.
        """
        vit = split_qkv(self.sizes.image_vit(state))
        vit[KERNEL] = inflate_centre(vit[KERNEL], self.sizes.tubelet)
        cls, places = vit["pos_embed"][:, :1], vit["pos_embed"][:, 1:]
        vit["pos_embed"] = torch.cat([cls, places.repeat(1, self.sizes.steps, 1)], 1)
        self.load_part(renamed(vit, NAMES), keep=("classifier.",))
