"""A timm backbone as a list of stages, so that a module can sit between two of them.

    images -> embed -> block 0 -> block 1 -> … -> final layers (the last norm) -> features

A stage is a callable; all stages in turn equal `net.forward_features` bit for bit. `PARTS` lists
the known families; any other model is a single stage, on top of which a module can stand.
"""

from collections.abc import Callable, Sequence
from functools import partial

from timm.models.convnext import ConvNeXt
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from timm.models.regnet import RegNet
from timm.models.resnet import ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

Stage = Callable[[Tensor], Tensor]
Place = int | float | str | None  # where a module stands, see `stages_below`
TOP, MIDDLE = "top", "middle"

# Model class -> names of its parts: before the blocks, the blocks (one list, or each by name),
# after.
PARTS: dict[type[nn.Module], tuple[tuple[str, ...], str | tuple[str, ...], tuple[str, ...]]] = {
    VisionTransformer: (
        ("patch_embed", "_pos_embed", "patch_drop", "norm_pre"),
        "blocks",
        ("norm",),
    ),
    ResNet: (
        ("conv1", "bn1", "act1", "maxpool"),
        ("layer1", "layer2", "layer3", "layer4"),
        (),
    ),
    ConvNeXt: (("stem",), "stages", ("norm_pre",)),
    EfficientNet: (("conv_stem", "bn1"), "blocks", ("conv_head", "bn2")),
    MobileNetV3: (("conv_stem", "bn1"), "blocks", ()),
    RegNet: (("stem",), ("s1", "s2", "s3", "s4"), ("final_conv",)),
    SwinTransformer: (("patch_embed",), "layers", ("norm",)),
    SwinTransformerV2: (("patch_embed",), "layers", ("norm",)),
}


def stages_of(net: nn.Module) -> list[Stage]:
    """The stages of a backbone: embed, each block, final layers; or one stage if unknown."""
    family = next((cls for cls in PARTS if _runs_as(net, cls)), None)
    if family is None:
        return [net.forward_features]
    before, blocks, after = PARTS[family]
    middle = getattr(net, blocks) if isinstance(blocks, str) else [getattr(net, b) for b in blocks]
    return [_chain(net, before), *middle, _chain(net, after)]


def stages_below(net: nn.Module, insert_after: Place) -> int:
    """The number of stages below a module.

    Args:
        net: a timm model.
        insert_after: "top" or None: after the final layers. A block, from 0: after this one. A
            share s of the depth, 0 < s < 1: after block round(s * blocks), counted from 1, at
            least the first; a half rounds to the even block. "middle": as 0.5.

    Raises ValueError for any other place, and for one below the top of a family that is not in
    `PARTS`.
    """
    stages = stages_of(net)
    if insert_after is None or insert_after == TOP:
        return len(stages)
    if len(stages) == 1:
        known = ", ".join(cls.__name__ for cls in PARTS)
        raise ValueError(
            f"insert_after {insert_after!r}: the stages of {type(net).__name__} are not known, "
            f"only those of {known}; give insert_after='top'"
        )
    blocks = len(stages) - 2
    below = _blocks_below(insert_after, blocks)
    if below is None:
        raise ValueError(
            f"insert_after must be 'top', 'middle', a share of the depth above 0.0 and below 1.0, "
            f"or a block, 0 to {blocks - 1}, since {type(net).__name__} has {blocks} blocks here; "
            f"got {insert_after!r}"
        )
    return below + 1


def _blocks_below(insert_after: Place, blocks: int) -> int | None:
    """The number of blocks below a place that is not the top; None if there is no such place."""
    place = 0.5 if insert_after == MIDDLE else insert_after
    if isinstance(place, float) and 0 < place < 1:
        return max(1, round(place * blocks))
    if isinstance(place, int) and not isinstance(place, bool) and 0 <= place < blocks:
        return place + 1
    return None


def place_in_words(net: nn.Module, below: int) -> str:
    """Where a module with so many stages below it stands, such as "after block 6 of 12"."""
    stages = len(stages_of(net))
    return "on top" if below == stages else f"after block {below - 1} of {stages - 2}"


def run(stages: Sequence[Stage], x: Tensor) -> Tensor:
    """Run the stages in order."""
    for stage in stages:
        x = stage(x)
    return x


def _runs_as(net: nn.Module, cls: type[nn.Module]) -> bool:
    """Whether a model is of this class and uses its `forward_features`."""
    return isinstance(net, cls) and type(net).forward_features is cls.forward_features


def _chain(net: nn.Module, names: tuple[str, ...]) -> Stage:
    return partial(run, [getattr(net, name) for name in names])
