"""TimeSformer of transformers (temporal attention): a second opinion on ours, eager attention only.

`divided` attends along time at every place and then within each frame, `joint` over all tokens at
once, `space_only` only within frames. Tokens lie (h w t), time fastest, after one cls token; with
`space_only` each frame has a cls token.

Source: arXiv 2102.05095 and `TimesformerForVideoClassification`, with its parameter names and
initial weights: truncated normal .02, temporal_dense included, which the authors (and our
`timesformer`) start at zero. One correction: `space_only` of transformers never averages frames and
gives logits of each; here all tokens are averaged over frames before the last norm, as by the
authors. Its config takes only whole numbers for drop path, so there is none.
"""

from torch import Tensor, nn

from pks4.errors import unknown_name
from pks4.macs import attention_macs, linear_macs, vit_block_macs
from pks4.models.transformers_video import Sizes, Wrapped, renamed

FAMILY = "temporal attention"
PAPER = "https://arxiv.org/abs/2102.05095"
IMAGE_TWIN = "frame_mean"
PLACE = "in every block, before attention within frames"
TRAINED = "all"
STAGES = {
    "temporal": ("temporal_layernorm", "temporal_attention", "temporal_dense"),
    "head": ("classifier",),
}
VARIANTS = {
    "divided eager": {"attention": "eager"},  # the same as the defaults
    "joint": {"attention_type": "joint"},
    "space only": {"attention_type": "space_only"},
}
SCALES = {
    "paper": {"width": 768, "depth": 12, "heads": 12, "patch_size": 16, "image_size": 224},
    "tiny": {"width": 96, "depth": 4, "heads": 3, "patch_size": 8, "image_size": 64},
}
ATTENTION_TYPES = {
    "divided": "divided_space_time",
    "joint": "joint_space_time",
    "space_only": "space_only",
}
NAMES = (  # timm's name, transformers' name
    ("blocks.", "encoder.layer."),
    (".attn.qkv.", ".attention.attention.qkv."),
    (".attn.proj.", ".attention.output.dense."),
    (".norm1.", ".layernorm_before."),
    (".norm2.", ".layernorm_after."),
    (".mlp.fc1.", ".intermediate.dense."),
    (".mlp.fc2.", ".output.dense."),
    ("patch_embed.proj.", "embeddings.patch_embeddings.projection."),
    ("cls_token", "embeddings.cls_token"),
    ("pos_embed", "embeddings.position_embeddings"),
    ("norm.", "layernorm."),
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
    attention_type: str = "divided",
    attention: str = "eager",
) -> "HFTimeSformer":
    """transformers' TimeSformer for clips of exactly `frames` frames."""
    if attention_type not in ATTENTION_TYPES:
        raise ValueError(unknown_name("attention_type", attention_type, ATTENTION_TYPES))
    if attention != "eager":
        raise ValueError(
            f"attention must be 'eager', got {attention!r}: transformers has no other kernel for "
            "TimeSformer; take the model timesformer"
        )
    from transformers import TimesformerConfig, TimesformerForVideoClassification

    sizes = Sizes(
        frames=frames,
        num_classes=num_classes,
        width=width,
        depth=depth,
        heads=heads,
        patch_size=patch_size,
        image_size=image_size,
    )
    config = TimesformerConfig(
        **sizes.config(),
        intermediate_size=4 * width,
        num_frames=frames,
        patch_size=patch_size,
        image_size=image_size,
        attention_type=ATTENTION_TYPES[attention_type],
    )
    return HFTimeSformer(TimesformerForVideoClassification(config), sizes, attention_type)


class HFTimeSformer(Wrapped):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    def __init__(self, net: nn.Module, sizes: Sizes, attention_type: str) -> None:
        super().__init__(net, sizes)
        self.attention_type = attention_type

    def logits(self, video: Tensor) -> Tensor:
        """As transformers, but `space_only` averages tokens over frames before the last norm."""
        if self.attention_type != "space_only":
            return super().logits(video)
        parts = self.net.timesformer
        x = parts.encoder(parts.embeddings(video)).last_hidden_state  # (b*t, 1 + n, d)
        x = x.unflatten(0, video.shape[:2]).mean(1)
        return self.net.classifier(parts.layernorm(x)[:, 0])

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage."""
        blocks, temporal = self._block_macs(batch)
        return {
            "backbone": self.sizes.embed_macs(batch) + blocks,
            "temporal": temporal,
            "head": self.sizes.head_macs(batch),
        }

    def _block_macs(self, batch: int) -> tuple[int, int]:
        """MACs of all blocks: (within frames and MLP, across frames)."""
        n, t, d, depth = self.sizes.patches, self.sizes.frames, self.sizes.width, self.sizes.depth
        if self.attention_type == "space_only":
            return depth * vit_block_macs(batch * t, 1 + n, d), 0
        if self.attention_type == "joint":
            return self.sizes.joint_macs(batch, prefix=1)
        space = linear_macs(batch * t * (1 + n), d, 4 * d)
        space += attention_macs(batch * t, 1 + n, 1 + n, d)
        mlp = linear_macs(batch * (1 + n * t), d, 8 * d)
        time = linear_macs(batch * n * t, d, 5 * d) + attention_macs(batch * n, t, t, d)
        return depth * (space + mlp), depth * time

    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Load the ViT of the image twin; attention along time starts as that within frames.

        Classifier, time_embeddings and temporal_dense keep their values. Raises ValueError if the
        twin's weights do not fit.
        """
        weights = renamed(self.sizes.image_vit(state), NAMES)
        if self.attention_type == "divided":
            weights = {**_along_time(weights), **weights}
        self.load_part(
            {f"timesformer.{k}": v for k, v in weights.items()},
            keep=("classifier.", "time_embeddings", ".temporal_dense."),
        )


def _along_time(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of attention within frames, renamed to those along time; others unchanged."""
    return {
        k.replace(".attention.", ".temporal_attention.", 1).replace(
            ".layernorm_before.", ".temporal_layernorm."
        ): v
        for k, v in weights.items()
    }
