"""Accuracy after a training on embedded or indexed video, from a shared image model.

Each contestant starts from its image twin (pre-trained on still digits, or read from
`image_weights`), is trained by its recipe on the train split, and is scored on `split`: top-1,
top-5, by class, and within reversal pairs, where a bag of frames can only guess. Everything is
seeded, and the prediction of each clip is kept. A contestant is void, and the measure fails before
the training, if its image model is below `image_floor` or a frame is seen less than `sees_floor` of
the one seen most (`measure/parts/starting_model.py`). Training compute is counted, not timed: MACs
of a training step, backward included, times the clips seen. With `curve` the validation split is
scored after each epoch. An interrupted training resumes after its last epoch. With `processes`
above 1 several ranks train and score; with `sharding` "full" weights, gradients and optimiser state
are sharded (`pks4.train.sharding`). With `feature_cache` the features of a frozen part are computed
once (`pks4.train.features`). Settings that are fields of `Recipe` have its defaults, but for
`batch_size` and `warmup_epochs`; a test holds them equal.
"""

import platform
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from pks4.bench.measure.parts.accuracy_readings import Costs, scores
from pks4.bench.measure.parts.data_sources import data_needed, data_of
from pks4.bench.measure.parts.features import Features
from pks4.bench.measure.parts.image_models import image_twin, kernel_on
from pks4.bench.measure.parts.input import MeasureInput, build
from pks4.bench.measure.parts.starting_model import (
    check_sees,
    frames_seen,
    starting_image,
    starting_model,
)
from pks4.bench.records.record import Reading

if TYPE_CHECKING:
    from pks4.train.checkpoint import History
    from pks4.train.predict import Predicted
    from pks4.train.recipe import Recipe

__all__ = ["data_needed", "measure"]
RUNS = True  # computes on this machine
METRICS = {  # name -> unit, direction
    "top1": ("1", "more is better"),
    "top5": ("1", "more is better"),
    "within_pair": ("1", "more is better"),
    "within_pair_motion": ("1", "more is better"),
    "within_pair_order": ("1", "more is better"),
    "final_train_loss": ("nat", "less is better"),
    "val_top1_best": ("1", "more is better"),
    "epochs_to_target": ("epoch", "less is better"),
    "macs_to_target": ("MAC", "less is better"),
    "seconds_to_target": ("s", "less is better"),
    "training_macs": ("MAC", "less is better"),
    "training_seconds": ("s", "less is better"),
    "data_wait_share": ("1", "less is better"),
}
SETTINGS = {
    "learning_rate": 1e-3,
    "epochs": 5,
    "batch_size": 8,
    "accumulate": 1,
    "optimiser": "adamw",
    "momentum": 0.9,
    "weight_decay": 0.05,
    "decay_vectors": False,
    "layer_decay": 1.0,
    "schedule": "cosine",
    "warmup_epochs": 0.5,
    "milestones": [],
    "step_factor": 0.1,
    "final_factor": 0.0,
    "clip_norm": 1.0,
    "label_smoothing": 0.0,
    "mixup": 0.0,
    "cutmix": 0.0,
    "crop_padding": 0,
    "crop_scale": 0.0,
    "flip": False,
    "jitter": 0.0,
    "randaugment": 0,
    "randaugment_magnitude": 7,
    "erasing": 0.0,
    "precision": "no",
    "device": "cpu",
    "workers": 0,
    "processes": 1,
    "sharding": "none",
    "training_macs": 0.0,
    "seed": 0,
    "split": "test",
    "reader": "pyav",
    "decode_on_use": False,
    "feature_cache": True,
    "decoded_gib": 2.0,
    "sampling": "segments",
    "stride": 1,
    "short_side": [],
    "crop": "jitter",
    "eval_clips": 1,
    "eval_crops": 1,
    "max_bad": 0.01,
    "curve": False,
    "target_top1": 0.0,
    "kernel": "flash_cpu",
    "clip_frames": 16,
    "clips": {"train": 1206, "val": 360, "test": 720},
    "image_weights": "stills",
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "images": 24000,
    "image_epochs": 24,
    "image_batch_size": 64,
    "image_learning_rate": 2e-3,
    "image_floor": 0.0,
    "sees_floor": 0.01,
}
ABOUT = {
    "learning_rate": "the highest; the schedule starts below it and falls from it",
    "epochs": "passes over the train split, unless training_macs is above 0",
    "batch_size": "clips of one step, over all processes and parts",
    "accumulate": "parts of a batch, one after another",
    "optimiser": "adamw, or sgd with Nesterov",
    "momentum": "of sgd",
    "weight_decay": "of matrices",
    "decay_vectors": "decay vectors and scalars too",
    "layer_decay": "factor of the rate from one block to the previous one",
    "schedule": "cosine, or step",
    "warmup_epochs": "epochs in which the rate rises",
    "milestones": "epochs at which the rate falls, for step",
    "step_factor": "factor of the rate at each milestone",
    "final_factor": "the last rate over the highest, for cosine",
    "clip_norm": "largest norm of the gradient; 0: any",
    "label_smoothing": "share of the target that all classes get",
    "mixup": "alpha of the Beta distribution; 0: off",
    "cutmix": "alpha of the Beta distribution; 0: off",
    "crop_padding": "pixels around a frame before a random crop; 0: off",
    "crop_scale": "least share of the area of a random resized crop; 0: off",
    "flip": "mirror half of the clips",
    "jitter": "of brightness, contrast and saturation; 0: off",
    "randaugment": "operations on a clip; 0: off",
    "randaugment_magnitude": "their strength",
    "erasing": "probability to erase a rectangle",
    "precision": "no: float32; bf16: autocast",
    "device": "cpu or cuda",
    "workers": "processes that decode clips; 0: none but the training's own",
    "processes": "processes that train together, on one machine",
    "sharding": "none, or full: weights and optimiser in shards",
    "training_macs": "MACs of the whole training, backward included; 0: by epochs",
    "seed": "of weights, order and augmentation",
    "split": "train, val or test: which is scored",
    "reader": "of videos; `pks4-bench doctor` lists them",
    "decode_on_use": "decode an embedded clip when it is used, not once",
    "feature_cache": "compute the features of a frozen part once",
    "decoded_gib": "GiB that clips decoded once may take; 0: all on use",
    "sampling": "frames of an indexed clip: segments or dense",
    "stride": "frames from one to the next, for dense",
    "short_side": "range of the short side in pixels; empty: 8/7 to 10/7 of the picture",
    "crop": "in training: jitter or area",
    "eval_clips": "views in time of a scored clip",
    "eval_crops": "views in space of a scored clip, 1 or 3",
    "max_bad": "share of clips that may be unreadable",
    "curve": "score the val split after each epoch",
    "target_top1": "top-1 on val to reach, with curve; 0: none",
    "kernel": "of attention, for counting MACs",
    "clip_frames": "frames of a stored embedded clip, from which T are taken",
    "clips": "clips of each embedded split",
    "image_weights": "stills, imagenet_lite0, given, or a file",
    "image_mean": "mean of the pixels that a file was trained on, from 0 to 1",
    "image_std": "standard deviation of these pixels",
    "images": "stills that the image model is trained on",
    "image_epochs": "epochs of that training",
    "image_batch_size": "stills of one step of it",
    "image_learning_rate": "its highest rate",
    "image_floor": "least accuracy of the image model; below it a cell is void",
    "sees_floor": "least sensitivity of a frame over the largest; below it a cell is void",
}
MAY_BE_ZERO = (
    "decoded_gib", "weight_decay", "warmup_epochs", "clip_norm", "momentum", "max_bad",
    "sees_floor",
)  # fmt: skip


def measure(inputs: MeasureInput) -> Iterator[Reading]:
    """Pre-train or load the image model, train, and score, in `processes` ranks."""
    processes = inputs.settings["processes"]
    if processes == 1:
        yield from in_this_process(inputs)
        return
    from pks4.bench.measure.parts.ranks import run

    data_of(inputs.cell)  # data and image model are made once, here; the ranks read the cache
    starting_image(inputs)
    yield from run(in_this_process, inputs, processes)


def in_this_process(inputs: MeasureInput) -> Iterator[Reading]:
    """The whole measure, in one process or in one rank of several."""
    from pks4.simulate.attention_kernels import declared_attention
    from pks4.simulate.what_ran import observe_forward
    from pks4.train.augment import check_task
    from pks4.train.engine import precision

    cell, settings = inputs.cell, inputs.settings
    image_twin(cell.model)  # its error is raised before the data are read
    data = data_of(cell)
    recipe, classes = recipe_of(settings), data.classes
    check_task(recipe, data.task)
    clip_macs = _clip_macs(inputs, len(classes))
    held_out = data.source(settings["split"])  # its errors are raised before the training
    image = starting_image(inputs)
    floor, seen = _setting(inputs, "sees_floor"), None
    with declared_attention(kernel_on(recipe.device, recipe.precision, settings)) as calls:
        model = starting_model(inputs, image, classes).to(recipe.device)
        if floor:
            seen = frames_seen(inputs, model, data)
            check_sees(seen, floor)
        with precision(recipe):
            ran = observe_forward(model, inputs.clip(recipe.device, batch=1), calls)
        ran.check(inputs.asked_attention())
        features = Features(inputs, model, recipe, data)
        history = _train(inputs, model, recipe, features, clip_macs, image.facts["digest"])
        with precision(recipe):
            predicted = _scored(inputs, model, features, settings["split"], held_out)
    evidence = {
        "how": "measured",
        "rule": "accuracy/v2",
        **_how(recipe, _setting(inputs, "sharding")),
        **ran.evidence(),
        **data.evidence(),
        "features": features.evidence(),
        "image_weights": image.facts["weights"],
        "image_digest": image.facts["digest"],
        **{name: settings[name] for name in ("split", "seed", "learning_rate")},
        "recipe": recipe.digest,
        "resumed_at_epoch": history.resumed_at,
        "alone": cell.alone,  # otherwise another cell may have run during its seconds
    }
    starts = {
        "image_top1": image.facts.get("val_top1"),
        "sees_least": seen.least if seen else None,
        "sees_by_frame": seen.shares if seen else None,
    }
    yield from scores(None if cell.data else cell.task, classes, predicted, evidence, starts)
    costs = Costs(
        history=history, clip_macs=clip_macs, macs_computed=features.macs(history, clip_macs),
        features_seconds=features.seconds, image=image.facts, evidence=evidence,
    )  # fmt: skip
    yield from costs.readings()
    yield from costs.curve(settings["target_top1"]) if settings["curve"] else ()


def _clip_macs(inputs: MeasureInput, classes: int) -> int:
    """MACs of a training step with one clip, backward included."""
    from pks4.simulate.count_macs import count_on_meta

    meta = build(inputs.cell, "meta", num_classes=classes)
    return count_on_meta(meta, inputs.clip("meta", batch=1), backward=True)


def _scored(
    inputs: MeasureInput, model: Any, features: Features, split: str, source: Any
) -> "Predicted":
    """The model's predictions for the clips of a split, which `source` gives."""
    from pks4.train.predict import predict

    clips = features.of(split, source)
    return predict(
        model, clips.source, features.data.batch, workers=clips.workers,
        max_bad=inputs.settings["max_bad"], forward=clips.forward,
    )  # fmt: skip


def _train(
    inputs: MeasureInput, model: Any, recipe: "Recipe", features: Features, clip_macs: int,
    image: str,
) -> "History":  # fmt: skip
    """Train on the train split, from the checkpoint of an earlier try if there is one."""
    from pks4.train.engine import Options, fit
    from pks4.train.score import top1

    data = features.data
    val = data.source("val") if inputs.settings["curve"] else None

    def validate(model: Any) -> float:
        predicted = _scored(inputs, model, features, "val", val)
        return top1(predicted.scores, predicted.label).value

    clips = features.of("train", data.source("train", training=True))
    options = Options(
        after_epoch=validate if val is not None else None,
        saved=inputs.scratch / "training.pt" if inputs.scratch else None,
        about={**data.about(), "image model": image},
        clip_macs=clip_macs,
        classes=len(data.classes),
        max_bad=inputs.settings["max_bad"],
        sharding=_setting(inputs, "sharding"),
        forward=clips.forward,
    )
    recipe = replace(recipe, workers=clips.workers)
    if data.mirrors:
        recipe = replace(recipe, flip=False)  # the engine's flip ignores the class
    return fit(model, clips.source, recipe, inputs.progress, options)


def recipe_of(settings: Mapping[str, Any]) -> "Recipe":
    """The recipe in the settings of this measure."""
    from pks4.train.recipe import Recipe

    return Recipe.of({field.name: settings[field.name] for field in fields(Recipe)})


def _setting(inputs: MeasureInput, name: str) -> Any:
    """A setting; runs from before it existed resume with its default."""
    return inputs.settings.get(name, SETTINGS[name])


def _how(recipe: "Recipe", sharding: str) -> dict[str, Any]:
    """Device, precision and processes of the training."""
    import torch
    from accelerate import PartialState

    state, parallel = PartialState(), "fsdp2" if sharding == "full" else "ddp"
    on_gpu = state.device.type == "cuda"
    return {
        "device": state.device.type,
        "processor": torch.cuda.get_device_name() if on_gpu else platform.machine(),
        "processes": state.num_processes,
        "parallel": parallel if state.num_processes > 1 else "one process",
        "dtype": "bfloat16 autocast" if recipe.precision == "bf16" else "float32",
        "threads": torch.get_num_threads(),
        "workers": recipe.workers,
    }
