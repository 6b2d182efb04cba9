"""The model that a training starts from, and what voids an accuracy before its training.

An accuracy says nothing about a contestant whose image model guesses, or that does not see every
frame of its clip. Each has a floor in the settings of accuracy; below it the cell fails with the
reason, and the detail of its record names the floor and holds what was measured.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pks4.bench import units
from pks4.bench.contestants import catalogue
from pks4.bench.measure.parts.image_models import STILLS, image_model, image_twin
from pks4.bench.measure.parts.input import MeasureInput, build
from pks4.errors import UserError

if TYPE_CHECKING:
    from pks4.bench.measure.parts.data_sources import Data
    from pks4.train.frame_sensitivity import FrameSensitivity
    from pks4.weights.image_files import ImageModel

CLIPS, DIRECTION_SEED = 8, 0  # of the frames' sensitivity
SEES_FLOOR, IMAGE_FLOOR = "sees_floor", "image_floor"  # settings of accuracy


class Void(UserError):
    """A contestant whose accuracy would mislead; `detail` names the floor that it misses."""

    def __init__(self, message: str, floor: str, **found: Any) -> None:
        super().__init__(message)
        self.detail = {"void": floor, **found}


def starting_image(inputs: MeasureInput) -> "ImageModel":
    """The image model of the settings of accuracy; Void if it is below their `image_floor`."""
    image = image_model(inputs, image_twin(inputs.cell.model))
    check_image(image.facts, inputs.settings.get(IMAGE_FLOOR, 0.0))
    return image


def starting_model(inputs: MeasureInput, image: "ImageModel", classes: Sequence[str]) -> Any:
    """The contestant from its seed, with the weights of the image model, in train mode."""
    model = build(inputs.cell, num_classes=len(classes), seed=inputs.settings["seed"])
    model.load_image_weights(image.state)
    return model


def frames_seen(
    inputs: MeasureInput,
    model: Any,
    data: "Data",
    clips: int = CLIPS,
    direction_seed: int = DIRECTION_SEED,
) -> "FrameSensitivity":
    """The sensitivity of a starting model to each frame of the first training clips."""
    from pks4.simulate.attention_kernels import declared_attention
    from pks4.train.batches import first_clips
    from pks4.train.frame_sensitivity import frame_sensitivity

    cell = inputs.cell
    step = catalogue.models()[cell.model].frames_step(cell.options)
    shown = first_clips(data.decoding("train"), clips)
    with declared_attention(float32_kernel(inputs.settings["device"])):
        return frame_sensitivity(model, shown, len(data.classes), direction_seed, step)


def float32_kernel(device: str) -> str:
    """A fused attention kernel that takes float32 there."""
    return "efficient" if device == "cuda" else "flash_cpu"


def check_image(facts: Mapping[str, Any], floor: float) -> None:
    """Raise Void if the image model's own accuracy is below the floor, or not known."""
    top1, least = facts.get("val_top1"), f"{IMAGE_FLOOR} {100 * floor:g} %"
    if not floor or (top1 is not None and top1 >= floor):
        return
    if top1 is None:
        raise Void(
            f"image model {facts.get('weights', STILLS)} has no stated accuracy; the suite asks "
            f"for {least}",
            IMAGE_FLOOR,
        )
    raise Void(
        f"image model reaches {units.percent(top1)} of digits on held-out stills, below {least}",
        IMAGE_FLOOR,
        image_top1=top1,
    )


def check_sees(seen: "FrameSensitivity", floor: float) -> None:
    """Raise Void if a frame has a smaller share of the largest frame's sensitivity."""
    if seen.least >= floor:
        return
    raise Void(
        f"cannot see the clip: {seen.least_named} has {seen.least:.2g} of the largest frame's "
        f"sensitivity, below {SEES_FLOOR} {floor:g}",
        SEES_FLOOR,
        sees_by_frame=seen.shares,
    )
