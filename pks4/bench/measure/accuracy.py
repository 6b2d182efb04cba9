"""Accuracy after a training on embedded or indexed video, from a shared image model.

Each contestant starts from its image twin (pre-trained on still digits, or on what `image_weights`
names), is trained by its recipe on the train split, and is scored on `split`: top-1, top-5, by
class, and within reversal pairs, where a bag of frames can only guess. Seeded; per-clip predictions
are kept. Training compute is counted, not timed: MACs of a training step, backward included, times
clips seen. With `curve` the validation split is scored after each epoch. A training that was cut
goes on at its last epoch. With `processes` above 1 it is done by so many ranks, scoring included;
with `sharding` "full" their weights, gradients and optimiser lie in shards (`pks4.train.sharding`).
"""

import platform
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from pks4.bench.measure.parts.accuracy_readings import Costs, scores
from pks4.bench.measure.parts.data_sources import Data, data_needed, data_of
from pks4.bench.measure.parts.image_models import image_model, image_twin, kernel_on
from pks4.bench.measure.parts.input import Trial, build
from pks4.bench.records.record import Reading

if TYPE_CHECKING:
    from pks4.train.checkpoint import History
    from pks4.train.predict import Predicted
    from pks4.train.recipe import Recipe

__all__ = ["data_needed", "measure"]
RUNS = True  # computes on this machine
METRICS = (
    "top1", "top5", "within_pair", "within_pair_motion", "within_pair_order", "final_train_loss",
    "val_top1_best", "epochs_to_target", "macs_to_target", "seconds_to_target", "training_macs",
    "training_seconds", "data_wait_share",
)  # fmt: skip
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
    "images": 4000,
    "image_epochs": 5,
    "image_learning_rate": 1.5e-3,
}
MAY_BE_ZERO = ("weight_decay", "warmup_epochs", "clip_norm", "momentum", "max_bad")


def measure(trial: Trial) -> Iterator[Reading]:
    """Pre-train or fetch the image model, train, score; in `processes` ranks of this cell."""
    processes = trial.settings["processes"]
    if processes == 1:
        yield from in_this_process(trial)
        return
    from pks4.bench.measure.parts.ranks import run

    data_of(trial.cell)  # both are made here, once; the ranks find them in the cache
    image_model(trial, image_twin(trial.cell.model))
    yield from run(in_this_process, trial, processes)


def in_this_process(trial: Trial) -> Iterator[Reading]:
    """The whole measure, as one process or as one rank of several."""
    from pks4.simulate.attention_kernels import declared_attention
    from pks4.simulate.count_macs import count_on_meta
    from pks4.simulate.what_ran import forward_seen
    from pks4.train.engine import precision

    cell, settings = trial.cell, trial.settings
    twin, data = image_twin(cell.model), data_of(cell)
    recipe = _recipe(trial, data)
    classes = data.classes
    meta = build(cell, "meta", num_classes=len(classes))
    clip_macs = count_on_meta(meta, trial.clip("meta", batch=1), backward=True)
    held_out = data.source(
        settings["split"]
    )  # before the training: what is wrong here is told soon
    image = image_model(trial, twin)
    with declared_attention(kernel_on(recipe.device, recipe.precision, settings)) as calls:
        model = build(cell, num_classes=len(classes), seed=settings["seed"])
        model.load_image_weights(image.state)
        model.to(recipe.device)
        with precision(recipe):
            ran = forward_seen(model, trial.clip(recipe.device, batch=1), calls)
        ran.check(trial.asked_attention())
        history = _train(trial, model, recipe, data, clip_macs, image.facts["digest"])
        with precision(recipe):
            found = _scored(trial, model, data, held_out)
    evidence = {
        "how": "measured",
        "rule": "accuracy/v2",
        **_ran(recipe, _sharding(trial)),
        **ran.evidence(),
        **data.evidence(),
        "image_weights": image.facts.get("weights", "stills"),
        "split": settings["split"],
        "seed": settings["seed"],
        "learning_rate": settings["learning_rate"],
        "recipe": recipe.digest,
        "resumed_at_epoch": history.resumed_at,
        "alone": cell.alone,  # otherwise its seconds were taken beside another cell
    }
    task = None if cell.data else cell.task
    costs = Costs(history=history, clip_macs=clip_macs, image=image.facts, evidence=evidence)
    yield from scores(task, classes, found, evidence)
    yield from costs.readings()
    if settings["curve"]:
        yield from costs.curve(settings["target_top1"])


def _scored(trial: Trial, model: Any, data: Data, source: Any) -> "Predicted":
    """What the model says of the clips of a source."""
    from pks4.train.predict import predict

    settings = trial.settings
    return predict(
        model, source, data.batch, workers=settings["workers"], max_bad=settings["max_bad"]
    )


def _train(
    trial: Trial, model: Any, recipe: "Recipe", data: Data, clip_macs: int, image: str
) -> "History":
    """Train on the train split, with the checkpoint of an earlier try where there is one."""
    from pks4.train.engine import Options, fit
    from pks4.train.score import top1

    val = data.source("val") if trial.settings["curve"] else None

    def validate(model: Any) -> float:
        found = _scored(trial, model, data, val)
        return top1(found.scores, found.label).value

    options = Options(
        after_epoch=validate if val is not None else None,
        saved=trial.scratch / "training.pt" if trial.scratch else None,
        about={**data.about(), "image model": image},
        clip_macs=clip_macs,
        classes=len(data.classes),
        max_bad=trial.settings["max_bad"],
        sharding=_sharding(trial),
    )
    if data.mirrors:
        recipe = replace(recipe, flip=False)  # a second mirror would not ask for the class
    return fit(model, data.source("train", training=True), recipe, trial.progress, options)


def _recipe(trial: Trial, data: Data) -> "Recipe":
    """The recipe in the settings; it never flips what flipping would relabel."""
    from pks4.train.augment import check_task
    from pks4.train.recipe import Recipe

    names = [field.name for field in fields(Recipe)]
    recipe = Recipe.of({name: trial.settings[name] for name in names})
    check_task(recipe, data.task)
    return recipe


def _sharding(trial: Trial) -> str:
    """The setting; a run that began before there was one resumes without."""
    return str(trial.settings.get("sharding", SETTINGS["sharding"]))


def _ran(recipe: "Recipe", sharding: str) -> dict[str, Any]:
    """Where and how the training ran."""
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
