"""Identity at insertion: logits of a backbone with a fresh PKS4 module against those without it.

Each backbone is a timm model with random weights, to which the module is added as `plug_in` does;
then the module is taken out and the same clip goes through again. 0 is equal to the bit.
"""

from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING

from pks4.bench.measure.parts.input import Trial
from pks4.bench.records.record import Reading
from pks4.errors import UserError

if TYPE_CHECKING:
    from pks4.method.video import PKS4Video

RUNS = True  # computes on this machine
METRICS = ("insertion_difference",)
SETTINGS = {
    "backbones": [
        "vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "swin_tiny_patch4_window7_224",
        "resnet18", "convnext_atto", "mobilenetv3_small_100", "efficientnet_b0",
    ],
}  # fmt: skip
CLASSES = 5


def measure(trial: Trial) -> Iterator[Reading]:
    """Insert into each backbone in turn; a backbone that does not take it fails the measure."""
    import torch

    from pks4.method.options import Options

    if trial.cell.model != "pks4":
        raise UserError(f"model {trial.cell.model!r} is no module to insert; only pks4 is")
    known = {field.name for field in fields(Options)}
    options = {k: v for k, v in trial.cell.options.items() if k in known}
    found, names = {}, trial.settings["backbones"]
    for number, name in enumerate(names, 1):
        found[name] = _difference(name, trial.cell.frames, options)
        trial.progress(number, len(names), name)
    yield Reading(
        metric="insertion_difference",
        value=max(found.values()),
        unit="1",
        kind="exact",
        evidence={
            "how": "measured",
            "rule": "insertion/v1",
            "device": "cpu",
            "dtype": "float32",
            "threads": torch.get_num_threads(),
        },
        detail={"by_backbone": found},
    )


def _difference(backbone: str, frames: int, options: dict) -> float:
    """The largest difference of a logit on one random clip."""
    import torch

    from pks4.method.video import plug_in

    torch.manual_seed(0)
    model: PKS4Video = plug_in(backbone, CLASSES, **options).eval()
    h, w = model.backbone.image_size
    video = torch.randn(1, frames, 3, h, w)
    with torch.no_grad():
        inserted = model(video)
        del model.temporal
        model.add_module("temporal", torch.nn.Identity())
        return float((inserted - model(video)).abs().max())
