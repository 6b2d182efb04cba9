"""V-JEPA 2 classifier of transformers (temporal attention): rotary joint attention, attentive pool.

One convolution makes a token of every patch over `tubelet` frames; tokens lie (t h w), time
slowest. Plain blocks attend over all of them. Positions rotate queries and keys along time, height
and width, so no weight depends on the number of frames. The head has three more blocks without
positions, then one learned query that attends to all tokens, its MLP, and a linear layer. The
defaults are ViT-L at 256 pixels.

Source: arXiv 2506.09985 and `VJEPA2ForVideoClassification`, with its parameter names and initial
weights: truncated normal .02, in the head smaller with depth. The authors train the head on a
frozen encoder (`frozen=True`); by default all weights train, as in the other contestants. The
classifier never uses the predictor of the pre-training. It is removed, and with it a copy of the
encoder's output that transformers makes for it.
"""

import torch
from torch import Tensor, nn

from pks4.macs import attention_macs, linear_macs, vit_block_macs
from pks4.models.transformers_video import Sizes, Wrapped, known_attention
from pks4.weights.official import Official

FAMILY = "temporal attention"
PAPER = "https://arxiv.org/abs/2506.09985"
IMAGE_TWIN = None  # no image ViT has rotary positions; the authors start masked
PLACE = "in every block, over all tubelets of the clip"
TRAINED = "all (encoder frozen: attentive pooler and classifier)"
STAGES = {"head": ("pooler", "classifier")}
FRAMES_STEP = 2
VARIANTS = {"tuned": {}, "frozen": {"frozen": True}, "eager": {"attention": "eager"}}
SILENT = ("k_proj.bias",)  # of the head: adds the same to all scores of a query
SCALES = {
    "paper": {"width": 1024, "depth": 24, "heads": 16, "patch_size": 16, "image_size": 256},
    "tiny": {"width": 96, "depth": 4, "heads": 3, "patch_size": 8, "image_size": 64},
}


def build(
    *,
    frames: int,
    num_classes: int,
    width: int = 1024,
    depth: int = 24,
    heads: int = 16,
    patch_size: int = 16,
    image_size: int = 256,
    tubelet: int = 2,
    frozen: bool = False,
    attention: str = "sdpa",
) -> "HFVJEPA2":
    """transformers' V-JEPA 2 classifier for clips of exactly `frames` frames."""
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
    from transformers import VJEPA2Config, VJEPA2ForVideoClassification

    config = VJEPA2Config(
        **sizes.config(),
        frames_per_clip=frames,
        patch_size=patch_size,
        crop_size=image_size,
        tubelet_size=tubelet,
        pred_num_hidden_layers=0,  # of the predictor, which is removed
        attn_implementation=kernel,
    )
    return HFVJEPA2(VJEPA2ForVideoClassification(config), sizes, frozen)


class HFVJEPA2(Wrapped):
    """Video (b, t, 3, h, w) -> logits (b, num_classes), t as built."""

    official = Official(renames=Wrapped.official.renames, ignored=("vjepa2.predictor.",))

    def __init__(self, net: nn.Module, sizes: Sizes, frozen: bool) -> None:
        super().__init__(net, sizes)
        del net.vjepa2.predictor
        self.frozen = frozen
        if frozen:
            net.vjepa2.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "HFVJEPA2":
        """As in nn.Module, but a frozen encoder stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.net.vjepa2.eval()
        return self

    def logits(self, video: Tensor) -> Tensor:
        """Encoder, attentive pooler, linear layer."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            tokens = self.net.vjepa2.encoder(video).last_hidden_state  # (b, n*t, d)
        return self.net.classifier(self.net.pooler(tokens))

    def macs(self, batch: int = 1) -> dict[str, int]:
        """Closed form of the forward MACs (rule macs/v1), by stage; the pooler is in the head.

        temporal is the extra cost over attention among tubelets of the same time, in the encoder.
        """
        blocks, temporal = self.sizes.joint_macs(batch, prefix=0)
        return {
            "backbone": self.sizes.embed_macs(batch) + blocks,
            "temporal": temporal,
            "head": self._pooler_macs(batch) + self.sizes.head_macs(batch),
        }

    def _pooler_macs(self, batch: int) -> int:
        """MACs of the head's blocks and query: its q and MLP, and k and v of all tokens."""
        tokens, d = self.sizes.steps * self.sizes.patches, self.sizes.width
        blocks = len(self.net.pooler.self_attention_layers) * vit_block_macs(batch, tokens, d)
        query = linear_macs(batch * tokens, d, 2 * d) + linear_macs(batch, d, 9 * d)
        return blocks + query + attention_macs(batch, 1, tokens, d)

    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Raises ValueError: an image model's attention has not learned rotary positions."""
        raise ValueError(
            "hf_vjepa2 has no image twin: an image model's attention has no rotary positions; "
            "train it from scratch, or load a checkpoint with load_official"
        )
