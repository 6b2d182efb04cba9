"""Identity at insertion: logits of a backbone with a fresh PKS4 module against those without it.

Each backbone is a timm model with random weights. `plug_in` adds the module at the cell's place, a
clip goes through, the module is removed, and the same clip goes through again. 0 means bitwise
equal.
"""

from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING

from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.records.record import Reading
from pks4.errors import UserError

if TYPE_CHECKING:
    from pks4.models.slot import SlotModel

RUNS = True  # computes on this machine
METRICS = {  # name -> unit, direction
    "insertion_difference": ("1", "less is better; 0: the same to the bit"),
}
SETTINGS = {
    "backbones": [
        "vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "swin_tiny_patch4_window7_224",
        "resnet18", "convnext_atto", "mobilenetv3_small_100", "efficientnet_b0",
    ],
}  # fmt: skip
ABOUT = {"backbones": "timm models that the module is put into"}
CLASSES = 5


def measure(inputs: MeasureInput) -> Iterator[Reading]:
    """Insert into each backbone in turn; a backbone that refuses the module fails the measure."""
    import torch

    from pks4.method.options import Options

    module = inputs.module()
    if inputs.cell.model != "pks4" and module is None:
        raise UserError(
            f"model {inputs.cell.model!r} is no module to insert; pks4 is, and those of --module"
        )
    known = {"insert_after", *(field.name for field in fields(Options) if module is None)}
    options = {k: v for k, v in inputs.cell.options.items() if k in known} | {"module": module}
    differences, places, names = {}, {}, inputs.settings["backbones"]
    for number, name in enumerate(names, 1):
        differences[name], places[name] = _difference(name, inputs.cell.frames, options)
        inputs.progress(number, len(names), name)
    yield Reading(
        metric="insertion_difference",
        value=max(differences.values()),
        unit="1",
        kind="exact",
        evidence={
            "how": "measured",
            "rule": "insertion/v1",
            "device": "cpu",
            "dtype": "float32",
            "threads": torch.get_num_threads(),
        },
        detail={"by_backbone": differences, "places": places},
    )


def _difference(backbone: str, frames: int, options: dict) -> tuple[float, str]:
    """The largest absolute difference of a logit on one random clip, and the module's place."""
    import torch

    from pks4.method.video import plug_in

    torch.manual_seed(0)
    model: SlotModel = plug_in(backbone, CLASSES, **options).eval()
    h, w = model.backbone.image_size
    video = torch.randn(1, frames, 3, h, w)
    with torch.no_grad():
        inserted = model(video)
        del model.temporal
        model.add_module("temporal", torch.nn.Identity())
        return float((inserted - model(video)).abs().max()), model.place
