"""A ViT inside a rival: its embedding, how it stays frozen, its patch kernels over time.

b clips, t frames, n patches of a frame, d channels.
"""

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from pks4.weights.files import load_part

END = ("norm.weight", "norm.bias")


def embed(trunk: VisionTransformer, images: Tensor, over_time: Tensor | None = None) -> Tensor:
    """The input of the first block: images (b*t, 3, h, w) -> (b*t, 1 + n, d).

    `over_time` (1, t, d) is added to every token of its frame.
    """
    patches = trunk.patch_embed(images)
    cls = trunk.cls_token.expand(patches.shape[0], -1, -1)
    x = torch.cat([cls, patches], 1) + trunk.pos_embed
    if over_time is not None:
        x = x.unflatten(0, (-1, over_time.shape[1])) + over_time[:, :, None]
        x = x.flatten(0, 1)
    return trunk.norm_pre(x)


class FrozenTrunk(nn.Module):
    """A model around a ViT, `trunk`, that gets no gradients and stays in eval mode."""

    def __init__(self, trunk: VisionTransformer) -> None:
        super().__init__()
        self.trunk = trunk.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "FrozenTrunk":
        """As usual, but the trunk stays in eval mode."""
        super().train(mode)
        self.trunk.eval()
        return self

    def load_image_weights(self, state: dict[str, Tensor]) -> None:
        """Load the whole ViT of the image twin, without its head.

        The twin must have a final norm even if the trunk has none. Raises ValueError that lists
        what is missing, unknown or of another shape; then nothing is loaded.
        """
        load_part(self.trunk, state, unused=END if isinstance(self.trunk.norm, nn.Identity) else ())


def inflate_centre(kernel: Tensor, tubelet: int) -> Tensor:
    """Inflate a patch kernel (d, 3, p, p) to `tubelet` frames: it sees only the middle one.

    The result is (d, 3, tubelet, p, p); a kernel of another rank is returned unchanged.
    """
    if kernel.ndim != 4:
        return kernel
    out = kernel.new_zeros(*kernel.shape[:2], tubelet, *kernel.shape[2:])
    out[:, :, tubelet // 2] = kernel
    return out


def inflate_mean(kernel: Tensor, tubelet: int) -> Tensor:
    """Inflate a patch kernel (d, 3, p, p) to `tubelet` frames: it sees their mean."""
    if kernel.ndim != 4:
        return kernel
    return (kernel / tubelet)[:, :, None].repeat(1, 1, tubelet, 1, 1)
