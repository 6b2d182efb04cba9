"""Whether a contestant sees every frame of its clips, on the weights that its training starts from.

    sees_least      the sensitivity of the frame that is seen least, over that of the one seen most
    sees_last       the sensitivity of the last frame, over that of the one seen most

Both are shares of 1. The sensitivity of a frame is the root mean square, over clips, channels and
places, of the gradient of the logits, in one random direction a clip, with respect to the frame's
pixels (`pks4.train.frame_sensitivity`). Frames of one tubelet go through one kernel that trains,
and count together. The cell has the settings of `accuracy`, which say what it is trained on and
from which image model; clips are the first of its train split. Near 1 is a contestant that pools
all frames; one near 0 cannot use the frame, however long it trains.
"""

from collections.abc import Iterator
from dataclasses import replace

from pks4.bench.measure.parts import starting_model as start
from pks4.bench.measure.parts.data_sources import data_needed, data_of
from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.records.record import Reading

__all__ = ["data_needed", "measure"]
RUNS = True  # computes on this machine
METRICS = {  # name -> unit, direction
    "sees_least": ("1", "more is better"),
    "sees_last": ("1", "more is better"),
}
SETTINGS_OF = "accuracy"  # its settings are in the cell too
SETTINGS = {"clips": 8, "direction_seed": 0}
ABOUT = {
    "clips": "clips of the train split that are seen",
    "direction_seed": "seed of the random direction of each clip's logits",
}


def measure(inputs: MeasureInput) -> Iterator[Reading]:
    """The two shares, with the share of every frame in their detail."""
    training = replace(inputs, settings=inputs.cell.settings[SETTINGS_OF])
    data, device = data_of(inputs.cell), training.settings["device"]
    image = start.image_model(training, start.image_twin(inputs.cell.model))
    model = start.starting_model(training, image, data.classes).to(device)
    seen = start.frames_seen(training, model, data, **inputs.settings)
    evidence = {
        "how": "measured",
        "rule": "sees/v1",
        "device": device,
        "dtype": "float32",
        "kernel": start.float32_kernel(device),
        **data.evidence(),
        "decoded": "on use",
        "image_weights": image.facts["weights"],
        "image_digest": image.facts["digest"],
        "seed": training.settings["seed"],
        **inputs.settings,
    }
    detail = {"by_frame": seen.shares, "step": seen.step, "gradient": list(seen.by_frame)}
    for metric, value in (("sees_least", seen.least), ("sees_last", seen.last)):
        yield Reading(
            metric=metric, value=value, unit="1", kind="sampled", evidence=evidence, detail=detail
        )
