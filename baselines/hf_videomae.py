"""VideoMAE fine-tuned, of transformers (temporal attention): a ViT over all tubelets, no cls token.

One convolution makes a token of every patch over `tubelet` frames. Tokens lie (t h w), time
slowest, with a fixed sine table for positions. Plain blocks without bias on keys attend over all
tokens. Their mean is normed and classified.

Source: arXiv 2203.12602 and `VideoMAEForVideoClassification`, with its parameter names and initial
weights: normal .02 everywhere (the authors start the classifier a thousand times smaller). Unlike
the authors' code, norms have eps 1e-12 in the blocks and 1e-5 at the end instead of 1e-6, and there
is no drop path. The masked pre-training is not part of this model.
"""

from torch import Tensor, nn

from pks4.models.frozen_vit import inflate_mean
from pks4.models.transformers_video import Sizes, Wrapped, known_attention, renamed, split_qkv

FAMILY = "temporal attention"
PAPER = "https://arxiv.org/abs/2203.12602"
IMAGE_TWIN = "frame_mean"
PLACE = "in every block, over all tubelets of the clip"
TRAINED = "all"
STAGES = {"head": ("classifier",)}
FRAMES_STEP = 2
VARIANTS = {"joint": {}, "eager": {"attention": "eager"}}
SCALES = {
    "paper": {"width": 768, "depth": 12, "heads": 12, "patch_size": 16, "image_size": 224},
    "tiny": {"width": 96, "depth": 4, "heads": 3, "patch_size": 8, "image_size": 64},
}
KERNEL = "patch_embed.proj.weight"
NAMES = (  # timm's name, transformers' name
    ("blocks.", "videomae.encoder.layer."),
    (".attn.q.", ".attention.attention.query."),
    (".attn.k.", ".attention.attention.key."),
    (".attn.v.", ".attention.attention.value."),
    (".attn.proj.", ".attention.output.dense."),
    (".norm1.", ".layernorm_before."),
    (".norm2.", ".layernorm_after."),
    (".mlp.fc1.", ".intermediate.dense."),
    (".mlp.fc2.", ".output.dense."),
    ("patch_embed.proj.", "videomae.embeddings.patch_embeddings.projection."),
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
) -> "HFVideoMAE":
    """transformers' VideoMAE for clips of exactly `frames` frames, a multiple of `tubelet`."""
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
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification

    config = VideoMAEConfig(
        **sizes.config(),
        intermediate_size=4 * width,
        num_frames=frames,
        patch_size=patch_size,
        image_size=image_size,
        tubelet_size=tubelet,
        attn_implementation=kernel,
    )
    return HFVideoMAE(VideoMAEForVideoClassification(config), sizes)


class HFVideoMAE(Wrapped):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    def __init__(self, net: nn.Module, sizes: Sizes) -> None:
        super().__init__(net, sizes)
        embeddings = net.videomae.embeddings
        # transformers keeps the table as a plain tensor, which does not move with the model
        table = embeddings.position_embeddings
        del embeddings.position_embeddings
        embeddings.register_buffer("position_embeddings", table, persistent=False)

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage.

        temporal is the extra cost over attention among tubelets of the same time.
        """
        blocks, temporal = self.sizes.joint_macs(batch, prefix=0)
        return {
            "backbone": self.sizes.embed_macs(batch) + blocks,
            "temporal": temporal,
            "head": self.sizes.head_macs(batch),
        }

    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Load patch embedding, blocks and last norm of the image twin; the authors start masked.

        By the rule of `videomae`, a tubelet starts as the mean of its frames. This drops cls token
        and learned positions, which this model lacks, and the biases of keys, which have no effect.
        Raises ValueError if the twin's weights do not fit.
        """
        vit = split_qkv(self.sizes.image_vit(state))
        vit[KERNEL] = inflate_mean(vit[KERNEL], self.sizes.tubelet)
        dropped = ("cls_token", "pos_embed", ".k.bias", "norm.weight", "norm.bias")
        weights = {k: v for k, v in vit.items() if not k.endswith(dropped)}
        last = {f"fc_norm.{part}": vit[f"norm.{part}"] for part in ("weight", "bias")}
        self.load_part({**renamed(weights, NAMES), **last}, keep=("classifier.",))
