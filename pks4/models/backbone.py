"""The per-frame 2D backbone that every contestant starts from, so that only time differs.

`vit` (an ImageNet-style ViT) and `vit_clip` (CLIP's: no patch bias, a norm before the blocks,
QuickGELU, eps 1e-5) are built from width, depth, heads, patch and image size: one definition gives
ViT-B/16 and a tiny one. Any other name is passed to `timm.create_model`. No weights are fetched.

`probe` runs an image model on one meta image to find its shapes and its MACs, layer by layer.
"""

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import timm
import torch
from timm.models.vision_transformer import Attention, VisionTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recomputed

from pks4.checks import at_least_one, check_sizes
from pks4.errors import unknown_name
from pks4.macs import attention_macs, linear_macs, vit_block_macs
from pks4.models.attention import declare_attention, has_switch
from pks4.models.timm_blocks import TOP, Place, Stage, place_in_words, run, stages_below, stages_of
from pks4.models.training_options import has_batch_norm, statistics_kept

Shape = tuple[int, int, int]  # h, w, d
COUNTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, Attention)  # layers whose MACs count


# What `probe` found for a timm name, a cut and an image size; weights do not matter.
_PROBED: dict[tuple, tuple[Shape, Shape, int]] = {}


def build_vit(
    *,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    patch_size: int = 16,
    image_size: int | tuple[int, int] = 224,
    clip: bool = False,
    drop_path: float = 0.0,
) -> VisionTransformer:
    """A timm ViT without head; the defaults are ViT-B/16 (85,798,656 parameters)."""
    check_sizes(width=width, depth=depth, heads=heads, patch_size=patch_size, image_size=image_size)
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

    It runs in two parts, so that a temporal module can sit between them: `below` up to the
    insertion point, `above` from there. `place` says in words where that is.

    Args:
        name: "vit", "vit_clip", or any timm model name.
        frozen: no gradients, always in eval mode; `below` keeps no activations and runs
            `frame_chunk` frames at once.
        insert_after: the insertion point, as in `stages_below`: "top", "middle", a share of the
            depth, or a block of a ViT or stage of a CNN, from 0.
        checkpoint: recompute every stage that autograd records in backward.
        attention: kernel of its attention layers, "sdpa" or "eager".
        vit_sizes: width, depth, heads, patch_size, image_size for the two ViTs; a timm model takes
            only image_size. image_size is one side or (h, w); None is the default of the model.

    Raises ValueError for an unknown name or insertion point, a model without a grid, or "eager" if
    no layer has that choice.
    """

    def __init__(
        self,
        name: str = "vit",
        *,
        frozen: bool = False,
        insert_after: Place = TOP,
        frame_chunk: int = 64,
        checkpoint: bool = False,
        attention: str = "sdpa",
        **vit_sizes,
    ) -> None:
        super().__init__()
        at_least_one(frame_chunk=frame_chunk)
        size = vit_sizes.pop("image_size", 224)
        if name in ("vit", "vit_clip"):
            size = 224 if size is None else size
            self.net = build_vit(clip=name == "vit_clip", image_size=size, **vit_sizes)
        else:
            self.net = _timm_model(name, size)
            size = self.net.pretrained_cfg["input_size"][1:] if size is None else size
        declare_attention(self.net, attention)
        if attention == "eager" and not any(map(has_switch, self.net.modules())):
            raise ValueError(
                f"backbone {name!r} has no attention with a choice of 'eager'; leave attention out"
            )
        self.image_size = sides(size)
        self.frozen, self.insert_after = frozen, insert_after
        self.frame_chunk, self.checkpoint = frame_chunk, checkpoint
        self.prefix_tokens = getattr(self.net, "num_prefix_tokens", 0)
        self.cut = stages_below(self.net, insert_after)
        self.place = place_in_words(self.net, self.cut)
        self.made_of = {
            "name": name, "cut": self.cut, "frame_chunk": frame_chunk, "attention": attention,
            "image_size": self.image_size, **vit_sizes,
        }  # fmt: skip
        if frozen:
            self.requires_grad_(False).eval()
        self.insertion_shape, self.top_shape, self._frame_macs = self._measure(name)
        self.dim = self.top_shape[2]

    def train(self, mode: bool = True) -> "PerFrameBackbone":
        """As usual, but a frozen backbone stays in eval mode."""
        return super().train(mode and not self.frozen)

    def forward(self, video: Tensor) -> Tensor:
        """Features of every frame, without prefix tokens, channels last."""
        return self.with_prefix(video)[0]

    def with_prefix(self, video: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features of every frame, and its first prefix token (b, t, d) or None."""
        features, prefix = self.above(*self.below(video))
        return features, None if prefix is None else prefix[:, :, 0]

    def below(self, video: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features (b, t, h', w', d') at the insertion point, and prefix tokens (b, t, p, d')."""
        return self.unpacked(self.features(video))

    def features(self, video: Tensor) -> Tensor:
        """What `below` gives, in one tensor (b, t, …): the output of the last stage below."""
        check_video(video, self.image_size)
        stages, images = stages_of(self.net)[: self.cut], video.flatten(0, 1)
        if self.frozen:
            with torch.no_grad():
                parts = [run(stages, part) for part in images.split(self.frame_chunk)]
            raw = parts[0] if len(parts) == 1 else torch.cat(parts)
        else:
            raw = self._run(stages, images)
        return raw.unflatten(0, video.shape[:2])

    def unpacked(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """What `below` gives, from `features`."""
        return self._split(features.flatten(0, 1), features.shape[0])

    def facts(self) -> dict[str, Any]:
        """What `features` depends on besides the weights, for the key of a cache."""
        return {"timm": timm.__version__, **self.made_of}

    def above(self, features: Tensor, prefix: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Features and prefix tokens at the top from those at the insertion point."""
        stages = stages_of(self.net)[self.cut :]
        if not stages:
            return features, prefix
        raw = self._run(stages, self._join(features, prefix))
        return self._split(raw, features.shape[0])

    def _run(self, stages: Sequence[Stage], x: Tensor) -> Tensor:
        """Run the stages in order, under autograd if it is on."""
        if not (self.checkpoint and torch.is_grad_enabled()):
            return run(stages, x)
        settings = {}
        if self.training and has_batch_norm(self.net):
            settings["context_fn"] = lambda: (nullcontext(), statistics_kept(self.net))
        for stage in stages:
            x = recomputed(stage, x, use_reentrant=False, **settings)
        return x

    def _split(self, raw: Tensor, b: int) -> tuple[Tensor, Tensor | None]:
        """A stage's output (b*t, tokens, d), (b*t, d, h, w) or (b*t, h, w, d), as in `below`."""
        prefix, p = None, self.prefix_tokens
        if raw.ndim == 3:
            prefix = raw[:, :p].unflatten(0, (b, -1)) if p else None
            grid = raw[:, p:].unflatten(1, tuple(self.net.patch_embed.grid_size))
        else:
            grid = raw if _channels_are_last(self.net) else raw.permute(0, 2, 3, 1)
        return grid.unflatten(0, (b, -1)), prefix

    def _join(self, features: Tensor, prefix: Tensor | None) -> Tensor:
        """The inverse of `_split`, with the memory layout of the stage."""
        grid = features.flatten(0, 1)  # (b*t, h, w, d)
        if _channels_are_last(self.net):
            return grid
        if not isinstance(self.net, VisionTransformer):
            return grid.permute(0, 3, 1, 2).contiguous()
        tokens = grid.flatten(1, 2)
        return tokens if prefix is None else torch.cat([prefix.flatten(0, 1), tokens], 1)

    def grid(self) -> tuple[int, int]:
        """Rows and columns of the features of one frame, at the top."""
        return self.top_shape[:2]

    def macs(self, frames: int) -> int:
        """MACs of `frames` frames: a closed form for the two ViTs, else by `probe`."""
        return frames * self._frame_macs

    def _measure(self, name: str) -> tuple[Shape, Shape, int]:
        """Shapes (h, w, d) at the insertion point and at the top, and the MACs of one frame."""
        if name in ("vit", "vit_clip"):
            shape = (*self.net.patch_embed.grid_size, self.net.embed_dim)
            return shape, shape, vit_macs(self.net, 1)
        key = (name, self.cut, self.image_size)
        if key not in _PROBED:
            *outputs, macs = probe(self.net, self.cut, self.image_size)
            for raw in outputs:
                self._check_grid(name, raw)
            insertion, top = (tuple(self._split(raw, 1)[0].shape[2:]) for raw in outputs)
            _PROBED[key] = insertion, top, macs
        return _PROBED[key]

    def _check_grid(self, name: str, raw: Tensor) -> None:
        """Raise ValueError unless features form a grid."""
        shape = tuple(getattr(raw, "shape", ()))  # some models give a list of maps
        h, w = getattr(getattr(self.net, "patch_embed", None), "grid_size", (0, 0))
        if len(shape) == 4 or (len(shape) == 3 and shape[1] == self.prefix_tokens + h * w):
            return
        raise ValueError(
            f"backbone {name!r} gives features {shape or type(raw).__name__}, not a grid of sites; "
            "take a ViT or a CNN"
        )


def probe(net: nn.Module, cut: int, image_size: tuple[int, int]) -> tuple[Tensor, Tensor, int]:
    """For one image: the output of `cut` stages, the output at the top, and all MACs.

    The tensors are on meta. MACs are the sum over convolutions, linear layers and timm's attention
    at their shapes, the model's closed form layer by layer (rule macs/v1). Other kinds of attention
    are not counted; the measure `macs` compares with other counters and reports the difference.
    """
    net, macs = _on_meta(net), []

    def note(layer: nn.Module, _: tuple, out: Tensor) -> None:
        macs.append(_layer_macs(layer, out))

    for layer in net.modules():
        if isinstance(layer, COUNTED):
            layer.register_forward_hook(note)
    stages = stages_of(net)
    with torch.no_grad():
        inserted = run(stages[:cut], torch.empty((1, 3, *image_size), device="meta"))
        top = run(stages[cut:], inserted)
    return inserted, top, sum(macs)


def _on_meta(net: nn.Module) -> nn.Module:
    """A copy of a model in eval mode on meta: its tensors have shapes but no storage."""
    tensors = [*net.parameters(), *net.buffers()]
    return copy.deepcopy(net, {id(x): x.detach().to("meta") for x in tensors}).eval()


def _layer_macs(layer: nn.Module, out: Tensor) -> int:
    """MACs of a layer with output `out`; for attention, those outside its linear layers."""
    if isinstance(layer, Attention):
        n, tokens, _ = out.shape
        return attention_macs(n, tokens, tokens, layer.num_heads * layer.head_dim)
    return out.numel() * layer.weight[0].numel()


def sides(image_size: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width from an image size that is one side or (h, w)."""
    h, w = (image_size, image_size) if isinstance(image_size, int) else image_size
    return h, w


def _channels_are_last(net: nn.Module) -> bool:
    return getattr(net, "output_fmt", "NCHW") == "NHWC"


def _timm_model(name: str, image_size: int | tuple[int, int] | None) -> nn.Module:
    """A timm model without head and without weights."""
    if name not in timm.list_models():
        raise ValueError(unknown_name("backbone", name, timm.list_models()))
    if image_size is None:
        return timm.create_model(name, num_classes=0)
    try:
        return timm.create_model(name, num_classes=0, img_size=image_size)
    except TypeError:  # a fully convolutional model takes no image size
        return timm.create_model(name, num_classes=0)


def check_video(
    video: Tensor, image_size: int | tuple[int, int], frames: int | None = None
) -> None:
    """Raise ValueError unless video is (b, t, 3, *image_size) with t ≥ 1 or = frames."""
    size = (3, *sides(image_size))
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
