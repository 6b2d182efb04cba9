"""PKS4 in the middle of a per-frame 2D backbone, as a contestant: one module, silent at the start.

PKS4 stands in the slot of `pks4.models.slot`; `insert_after` says where that is. With `frozen=True`
(the default) the layers below the module keep no activations, and those above it pass the gradient
on with weights that stay as they are; with `frozen=False` the backbone trains too. This is a
reconstruction from the abstract of arXiv 2604.26461, which names neither the backbone, nor whether
it is frozen, nor where the module sits.

`build` makes the contestant from sizes; `plug_in` adds the module, or another, to any timm model.
"""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from pks4.method.module import PKS4
from pks4.method.options import Options, options_from
from pks4.models.slot import SlotModel, with_module
from pks4.models.timm_blocks import Place
from pks4.weights.files import load_weights

FAMILY = "PKS4"
PAPER = "https://arxiv.org/abs/2604.26461"
IMAGE_TWIN = "frame_mean"
OFFICIAL_CODE = None  # none was published
PLACE = "one module, in the middle of the backbone (`insert_after`: anywhere, or on top)"
TRAINED = "the module and the head (backbone tuned: all)"
STAGES = {"temporal": ("temporal",), "head": ("head",)}
VARIANTS = {
    "frozen": {},
    "tuned": {"frozen": False},
    "on top": {"insert_after": "top"},
    "no priors": {"modulate": []},
    "both directions": {"direction": "bidirectional"},
    "eager": {"frozen": False, "attention": "eager"},
}
# The place is stated at each scale, so that it is in the options of every record: those made when
# the module stood on top by default have none, and are another case.
SCALES = {
    "paper": {
        "width": 768,
        "depth": 12,
        "heads": 12,
        "patch_size": 16,
        "image_size": 224,
        "insert_after": "middle",
    },
    "tiny": {
        "width": 96,
        "depth": 4,
        "heads": 3,
        "patch_size": 8,
        "image_size": 64,
        "insert_after": "middle",
        "expand": 1.0,
        "state": 8,
        "radius": 2,
    },
}
MORE_OPTIONS = (  # the fields of Options, a literal that the catalogue reads without torch
    "mixer",
    "state",
    "expand",
    "rank",
    "mixer_heads",
    "kernel",
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
    "smooth",
    "reference_frame",
    "scan_backend",
    "checkpoint",
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
    insert_after: Place = "middle",
    frame_chunk: int = 64,
    attention: str = "sdpa",
    **module,
) -> SlotModel:
    """PKS4 for clips of any number of frames; `module` holds fields of `Options`.

    `insert_after`, `frame_chunk` and `attention` are those of `PerFrameBackbone`. `checkpoint`
    applies to the module and to every stage of the backbone that autograd records.
    """
    options = options_from(module)
    return with_module(
        _pks4(options),
        num_classes=num_classes,
        backbone=backbone,
        frames=frames,
        frozen=frozen,
        insert_after=insert_after,
        frame_chunk=frame_chunk,
        attention=attention,
        checkpoint=options.checkpoint,
        width=width,
        depth=depth,
        heads=heads,
        patch_size=patch_size,
        image_size=image_size,
    )


def plug_in(
    backbone_name: str,
    num_classes: int,
    *,
    module: nn.Module | Callable[[int], nn.Module] | None = None,
    frozen: bool = True,
    insert_after: Place = "middle",
    image_size: int | tuple[int, int] | None = None,
    weights: str | Path | None = None,
    frame_chunk: int = 64,
    **options,
) -> SlotModel:
    """A video model on any timm backbone: video (b, t, 3, h, w) -> logits, any t ≥ 1.

    Args:
        backbone_name: a timm model name, or "vit" and "vit_clip" (ViT-B/16).
        num_classes: logits.
        module: what stands in the slot, features (b, t, h, w, d) -> the same shape: a built module,
            or a class or function that takes d, the channels there. None: PKS4.
        frozen, insert_after, frame_chunk: as in `PerFrameBackbone`.
        image_size: side or (h, w) of a frame in pixels; None: the backbone's default.
        weights: a local checkpoint of the image model, see `load_weights`; None: random ones.
        options: fields of `pks4.method.options.Options`, for PKS4 alone.

    Downloads nothing. Raises ValueError for an unknown name or option, for an `insert_after` that
    the backbone lacks, for weights that do not fit, and for options beside another module. A
    backbone whose blocks are not known takes `insert_after="top"` alone.
    """
    arguments = ("module", "frozen", "insert_after", "image_size", "weights", "frame_chunk")
    of_pks4 = options_from(options, also=arguments)
    if module is not None and options:
        raise ValueError(f"{', '.join(options)}: of PKS4, not of another module; leave it out")
    model = with_module(
        _pks4(of_pks4) if module is None else _made(module),
        num_classes=num_classes,
        backbone=backbone_name,
        frozen=frozen,
        insert_after=insert_after,
        frame_chunk=frame_chunk,
        checkpoint=of_pks4.checkpoint,
        image_size=image_size,
    )
    if weights is not None:
        load_weights(model.backbone.net, weights)
    return model


def _pks4(options: Options) -> Callable[[int], nn.Module]:
    return lambda d: PKS4(d, options)


def _made(module: nn.Module | Callable[[int], nn.Module]) -> Callable[[int], nn.Module]:
    return (lambda _: module) if isinstance(module, nn.Module) else module
