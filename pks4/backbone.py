"""The per-frame 2D backbone that every contestant starts from, so that only time differs.

Any timm model can stand here: `vit` (an ImageNet-style ViT) and `vit_clip` (CLIP's: no patch bias,
a norm before the blocks, QuickGELU, eps 1e-5) are built from width, depth, heads, patch and image
size, so that one definition gives ViT-B/16 and a tiny one; another name goes to
`timm.create_model` as it is. No weights are fetched.
"""

import copy
from functools import partial

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from pks4.cost import linear_macs, vit_block_macs
from pks4.errors import unknown_name


def build_vit(
    *,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    patch_size: int = 16,
    image_size: int = 224,
    clip: bool = False,
    drop_path: float = 0.0,
) -> VisionTransformer:
    """A timm ViT without head; the defaults are ViT-B/16 (85,798,656 parameters)."""
    if image_size % patch_size:
        raise ValueError(f"image_size {image_size} is not a multiple of patch_size {patch_size}")
    if width % heads:
        raise ValueError(f"width {width} is not a multiple of heads {heads}")
    style = {}
    if clip:
        style = {
            "pre_norm": True,
            "act_layer": "quick_gelu",
            "norm_layer": partial(nn.LayerNorm, eps=1e-5),
        }
    return VisionTransformer(
        img_size=image_size,
        patch_size=patch_size,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        num_classes=0,
        drop_path_rate=drop_path,
        **style,
    )


def vit_macs(vit: VisionTransformer, frames: int) -> int:
    """Closed form of the MACs of `frames` images through a ViT without head."""
    d, patches = vit.embed_dim, vit.patch_embed.num_patches
    tokens = patches + vit.num_prefix_tokens
    side = vit.patch_embed.patch_size[0]
    embed = linear_macs(frames * patches, 3 * side * side, d)
    return embed + len(vit.blocks) * vit_block_macs(frames, tokens, d)


class PerFrameBackbone(nn.Module):
    """A 2D backbone on every frame: video (b, t, 3, h, w) -> features (b, t, h', w', d).

    Args:
        name: "vit", "vit_clip", or any timm model name.
        frozen: no gradients, no activations kept, and always in eval mode.
        vit_sizes: width, depth, heads, patch_size, image_size for the two ViTs; a timm model takes
            only image_size, and only where it is not its own.
    """

    def __init__(self, name: str = "vit", *, frozen: bool = False, **vit_sizes) -> None:
        super().__init__()
        self.image_size = vit_sizes.get("image_size", 224)
        if name in ("vit", "vit_clip"):
            self.net = build_vit(clip=name == "vit_clip", **vit_sizes)
        else:
            self.net = _timm_model(name, self.image_size)
        self.dim, self.frozen = self.net.num_features, frozen
        self.prefix_tokens = getattr(self.net, "num_prefix_tokens", 0)
        if frozen:
            self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "PerFrameBackbone":
        """As usual, but a frozen backbone stays in eval mode."""
        return super().train(mode and not self.frozen)

    def forward(self, video: Tensor) -> Tensor:
        """Features of every frame, prefix tokens left out, channels last."""
        return self.with_prefix(video)[0]

    def with_prefix(self, video: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features of every frame, and its first prefix token (b, t, d) where there is one."""
        raw, (b, t) = self._features(video), video.shape[:2]
        features = self._channels_last(raw)
        prefix = raw[:, 0].unflatten(0, (b, t)) if self.prefix_tokens else None
        return features.view(b, t, *features.shape[1:]), prefix

    def _features(self, video: Tensor) -> Tensor:
        """What the backbone gives for all frames in a row; ViTs keep their prefix tokens."""
        check_video(video, self.image_size)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self.net.forward_features(video.flatten(0, 1))

    def _channels_last(self, features: Tensor) -> Tensor:
        """(n, tokens, d), (n, d, h, w) or (n, h, w, d) -> (n, h, w, d)."""
        if features.ndim == 3:
            h, w = self.net.patch_embed.grid_size
            return features[:, self.prefix_tokens :].unflatten(1, (h, w))
        if getattr(self.net, "output_fmt", "NCHW") == "NHWC":
            return features
        return features.permute(0, 2, 3, 1)

    def grid(self) -> tuple[int, int]:
        """Rows and columns of the features of one frame."""
        if isinstance(self.net, VisionTransformer):
            return tuple(self.net.patch_embed.grid_size)
        return tuple(self._probe()[1].shape[1:3])

    def macs(self, frames: int) -> int:
        """Closed form of the MACs of `frames` frames.

        For a ViT the formula; for another model the sum over its convolutions and linear layers at
        the shapes they see, which is its closed form layer by layer.
        """
        if isinstance(self.net, VisionTransformer):
            return vit_macs(self.net, frames)
        return frames * self._probe()[0]

    def _probe(self) -> tuple[int, Tensor]:
        """MACs of one frame by layer shapes, and its features, on meta tensors."""
        net, total = copy.deepcopy(self.net).to("meta").eval(), []

        def note(layer: nn.Module, _: tuple, out: Tensor) -> None:
            total.append(out.numel() * _macs_per_output(layer))

        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.register_forward_hook(note)
        with torch.no_grad():
            size = (1, 3, self.image_size, self.image_size)
            features = net.forward_features(torch.empty(size, device="meta"))
        return sum(total), self._channels_last(features)


def _macs_per_output(layer: nn.Conv2d | nn.Linear) -> int:
    if isinstance(layer, nn.Linear):
        return layer.in_features
    return layer.weight[0].numel()


def _timm_model(name: str, image_size: int) -> nn.Module:
    """A timm model without head and without weights."""
    if name not in timm.list_models():
        raise ValueError(unknown_name("backbone", name, timm.list_models()))
    try:
        return timm.create_model(name, num_classes=0, img_size=image_size)
    except TypeError:  # a fully convolutional model has no image size to be built for
        return timm.create_model(name, num_classes=0)


def check_video(video: Tensor, image_size: int, frames: int | None = None) -> None:
    """Raise ValueError unless video is (b, t, 3, image_size, image_size) with t ≥ 1 or = frames."""
    size = (3, image_size, image_size)
    if video.ndim != 5 or tuple(video.shape[2:]) != size or video.shape[1] == 0:
        raise ValueError(
            f"video must be (b, t, {', '.join(map(str, size))}) with t ≥ 1, got "
            f"{tuple(video.shape)}"
        )
    if frames is not None and video.shape[1] != frames:
        raise ValueError(
            f"this model was built for {frames} frames, got {video.shape[1]}; "
            f"build it with frames={video.shape[1]}"
        )
