"""A timm backbone as a list of stages, so that a module can sit between two of them.

    images -> embed -> block 0 -> block 1 -> … -> final layers (the last norm) -> features

A stage is a callable; all stages in turn equal `net.forward_features` bit for bit. `PARTS` lists
the known families; any other model is a single stage.
"""

from collections.abc import Callable, Sequence
from functools import partial

from timm.models.convnext import ConvNeXt
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from timm.models.regnet import RegNet
from timm.models.resnet import ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

Stage = Callable[[Tensor], Tensor]

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
}


def stages_of(net: nn.Module) -> list[Stage]:
    """The stages of a backbone: embed, each block, final layers; or one stage if unknown."""
    family = next((cls for cls in PARTS if _runs_as(net, cls)), None)
    if family is None:
        return [net.forward_features]
    before, blocks, after = PARTS[family]
    middle = getattr(net, blocks) if isinstance(blocks, str) else [getattr(net, b) for b in blocks]
    return [_chain(net, before), *middle, _chain(net, after)]


def stages_below(net: nn.Module, insert_after: int | None) -> int:
    """The number of stages below a module after block `insert_after`; None: all stages.

    Raises ValueError for a family that is not in `PARTS` and for a block that does not exist.
    """
    stages = stages_of(net)
    if insert_after is None:
        return len(stages)
    if len(stages) == 1:
        known = ", ".join(cls.__name__ for cls in PARTS)
        raise ValueError(
            f"insert_after: the stages of {type(net).__name__} are not known, only those of "
            f"{known}; leave insert_after out to put the module on top"
        )
    blocks = len(stages) - 2
    if not isinstance(insert_after, int) or not 0 <= insert_after < blocks:
        raise ValueError(
            f"insert_after must be 0 to {blocks - 1}, since {type(net).__name__} has {blocks} "
            f"blocks here, or None for the top; got {insert_after!r}"
        )
    return insert_after + 2


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
