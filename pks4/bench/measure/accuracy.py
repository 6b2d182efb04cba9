"""Accuracy after a short training on the embedded task, from a shared image model.

Each contestant starts from its image twin (pre-trained on still digits), is trained by one recipe
on the train split, and is scored on `split`: top-1, and within reversal pairs, where a bag of
frames can only guess. Seeded; per-clip predictions are kept. Training compute is counted, not
timed: MACs of a training step, backward included, times clips seen.
"""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pks4.bench import catalogue
from pks4.bench.record import Reading
from pks4.bench.trial import Trial, build, scan_backend
from pks4.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from pks4.train.fit import Recipe
    from pks4.train.pretrain import ImageModel

RUNS = True  # computes on this machine
SETTINGS = {
    "learning_rate": 1e-3,
    "epochs": 5,
    "batch_size": 8,
    "weight_decay": 0.05,
    "warmup_epochs": 0.5,
    "seed": 0,
    "split": "test",
    "reader": "pyav",
    "kernel": "flash_cpu",
    "clip_frames": 16,
    "clips": {"train": 1206, "val": 360, "test": 720},
    "images": 4000,
    "image_epochs": 5,
    "image_learning_rate": 1.5e-3,
}
# Options that a twin may have too, and that must not make another image model of it.
NOT_OF_THE_IMAGE_MODEL = ("frozen", "attention", "dropout", "tubelet")


def data_needed(cell: Any) -> list[dict[str, Any]]:
    """Arguments of `pks4.data.make.make` for the data sets that this cell reads."""
    settings = cell.settings["accuracy"]
    return [
        {
            "task": cell.task,
            "counts": settings["clips"],
            "size": cell.options["image_size"],
            "frames": settings["clip_frames"],
        }
    ]


def measure(trial: Trial) -> Iterator[Reading]:
    """Pre-train or fetch the image model, train, score."""
    import torch

    from pks4.bench.counters import count_on_meta
    from pks4.bench.kernels import declared_attention
    from pks4.data.clips import load_split
    from pks4.data.make import make
    from pks4.train.fit import fit, predict

    cell, settings = trial.cell, trial.settings
    twin = _image_twin(cell.model)
    (dataset,) = (make(**wanted) for wanted in data_needed(cell))
    classes = len(dataset.classes)
    with declared_attention(settings["kernel"]) as calls:
        image = _image_model(trial, twin)
        model = build(cell, num_classes=classes, seed=settings["seed"])
        model.load_image_weights(image.state)
        train = load_split(dataset, "train", cell.frames, reader=settings["reader"])
        held_out = load_split(dataset, settings["split"], cell.frames, reader=settings["reader"])
        started = time.perf_counter()
        history = fit(model, train.video, train.label, _recipe(settings), trial.progress)
        seconds = time.perf_counter() - started
        logits = predict(model, held_out.video)
        meta = build(cell, "meta", num_classes=classes)
        step_macs = count_on_meta(meta, trial.clip("meta", batch=1), backward=True)
    evidence = {
        "how": "measured",
        "rule": "accuracy/v1",
        "device": "cpu",
        "dtype": "float32",
        "kernel": calls.evidence(),
        "scan_backend": scan_backend(model),
        "reader": f"{train.reader['name']} {train.reader['version']}",
        "data": dataset.digest,
        "split": settings["split"],
        "seed": settings["seed"],
        "learning_rate": settings["learning_rate"],
        "threads": torch.get_num_threads(),
        "alone": cell.alone,  # otherwise its seconds were taken beside another cell
    }
    yield from _scores(cell.task, logits, held_out.label, evidence)
    yield from _costs(history, seconds, step_macs, image, evidence)


def _recipe(settings: dict[str, Any]) -> "Recipe":
    from pks4.train.fit import Recipe

    names = ("learning_rate", "epochs", "batch_size", "weight_decay", "warmup_epochs", "seed")
    return Recipe(**{name: settings[name] for name in names})


def _image_twin(model: str) -> Any:
    """The entry whose image weights a contestant starts from; UserError if it has none."""
    models = catalogue.models()
    twin = models[model].facts["IMAGE_TWIN"]
    if twin is None:
        raise UserError(
            f"model {model!r} has no image twin, so its accuracy would not compare; "
            "leave it out of grids that measure accuracy"
        )
    return catalogue.find("image twin", twin, models)


def _image_model(trial: Trial, twin: Any) -> "ImageModel":
    """The contestant's image twin, trained on stills or taken from the cache."""
    from pks4.data.dataset import cache_root
    from pks4.train.fit import Recipe
    from pks4.train.pretrain import image_model

    cell, settings = trial.cell, trial.settings
    kept = [k for k in cell.options if k in twin.options and k not in NOT_OF_THE_IMAGE_MODEL]
    options = {k: cell.options[k] for k in kept}
    twin_cell = cell.model_copy(update={"model": twin.name, "options": options, "frames": 1})
    recipe = Recipe(
        learning_rate=settings["image_learning_rate"],
        epochs=settings["image_epochs"],
        batch_size=32,
    )
    key = {"model": twin.name, "options": options}
    return image_model(
        key, lambda: build(twin_cell), settings["images"], recipe, cache_root(), trial.progress
    )


def _scores(
    task: str | None, logits: "Tensor", label: "Tensor", evidence: dict[str, Any]
) -> Iterator[Reading]:
    from pks4.train.score import top1, within_pair

    scores = {"top1": top1(logits, label)}
    if task == "temporal":
        scores["within_pair"] = within_pair(logits, label)
        scores |= {f"within_pair_{k}": within_pair(logits, label, k) for k in ("motion", "order")}
    for metric, score in scores.items():
        if not score.clips:
            continue  # a small split may hold no clip of that kind
        detail = {"interval": score.interval, "clips": score.clips, "chance": score.chance}
        if metric == "top1":
            detail |= {"predicted": logits.argmax(1).tolist(), "label": label.tolist()}
        yield Reading(
            metric=metric,
            value=score.value,
            unit="1",
            kind="sampled",
            evidence=evidence,
            detail=detail,
        )


def _costs(history, seconds, step_macs, image, evidence) -> Iterator[Reading]:
    from pks4.cost import RULE

    counted = {**evidence, "how": "simulated", "rule": RULE, "device": "meta"}
    yield Reading(
        metric="training_macs",
        value=step_macs * history.clips,
        unit="MAC",
        kind="exact",
        evidence=counted,
        detail={"macs_per_clip": step_macs, "clips": history.clips, "image_model": image.facts},
    )
    yield Reading(
        metric="training_seconds",
        value=seconds,
        unit="s",
        kind="noisy",
        evidence=evidence,
        detail={"steps": history.steps},
    )
    yield Reading(
        metric="final_train_loss",
        value=history.losses[-1],
        unit="nat",
        kind="sampled",
        evidence=evidence,
        detail={"losses": history.losses},
    )
