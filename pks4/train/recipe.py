"""The training recipe: every setting that determines the trained weights, in one frozen object.

`batch_size` counts the clips of one optimiser step, over all processes and all `accumulate` parts.
Two processes take half of it each, and the training stays the same.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from pks4.errors import UserError, unknown_name

CHOICES = {
    "optimiser": ("adamw", "sgd"),
    "schedule": ("cosine", "step"),
    "precision": ("no", "bf16"),
    "device": ("cpu", "cuda"),
}
POSITIVE = ("learning_rate", "epochs", "batch_size", "accumulate", "layer_decay")
AT_MOST_ONE = ("label_smoothing", "erasing", "jitter", "momentum", "step_factor")
AUGMENTATION = (
    "crop_padding", "crop_scale", "flip", "jitter", "randaugment", "erasing", "mixup", "cutmix",
)  # fmt: skip
SHARDING = ("none", "full")
RUNTIME = ("device", "workers")  # settings that do not change the weights


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train a model. An amount of 0 switches its feature off.

    optimiser: "adamw" (betas 0.9, 0.999) or "sgd" (Nesterov, `momentum`).
    weight_decay: of matrices; with `decay_vectors` also of vectors and scalars.
    layer_decay: factor of the learning rate from one block to the previous one.
    schedule: after `warmup_epochs`, "cosine" to `final_factor` of the rate, or "step": times
        `step_factor` at each of `milestones` (epochs).
    crop_padding: random crop after padding by so many pixels; crop_scale: random resized crop of at
        least this share of the area.
    jitter: brightness, contrast and saturation; randaugment: operations of `randaugment_magnitude`.
    mixup, cutmix: alpha of the Beta distribution; with both, each batch draws one.
    training_macs: budget of MACs, backward included; 0: `epochs` decides.
    """

    learning_rate: float
    epochs: int
    batch_size: int = 16
    accumulate: int = 1
    optimiser: str = "adamw"
    momentum: float = 0.9
    weight_decay: float = 0.05
    decay_vectors: bool = False
    layer_decay: float = 1.0
    schedule: str = "cosine"
    warmup_epochs: float = 1.0
    milestones: tuple[float, ...] = ()
    step_factor: float = 0.1
    final_factor: float = 0.0
    clip_norm: float = 1.0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    crop_padding: int = 0
    crop_scale: float = 0.0
    flip: bool = False
    jitter: float = 0.0
    randaugment: int = 0
    randaugment_magnitude: int = 7
    erasing: float = 0.0
    precision: str = "no"
    device: str = "cpu"
    workers: int = 0
    training_macs: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise UserError for a value out of range."""
        object.__setattr__(self, "milestones", tuple(self.milestones))
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise UserError(f"recipe: {unknown_name(name, str(getattr(self, name)), allowed)}")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and not 0 <= value < math.inf:
                raise UserError(f"recipe: {field.name} is {value}; give 0 or more")
        for name in POSITIVE:
            if getattr(self, name) == 0:
                raise UserError(f"recipe: {name} is 0; give more")
        for name in AT_MOST_ONE:
            if getattr(self, name) > 1:
                raise UserError(f"recipe: {name} is {getattr(self, name)}; give at most 1")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Recipe":
        """The recipe with these settings. Raises UserError for an unknown key."""
        known = [field.name for field in fields(cls)]
        for name in settings:
            if name not in known:
                raise UserError(f"recipe: {unknown_name('key', name, known)}")
        return cls(**settings)

    @property
    def augments(self) -> bool:
        """Whether a clip looks another way in each epoch."""
        return any(getattr(self, name) for name in AUGMENTATION)

    @property
    def digest(self) -> str:
        """A hash of all settings that determine the weights."""
        settings = {k: v for k, v in asdict(self).items() if k not in RUNTIME}
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]

    def steps(self, epoch_steps: int, clip_macs: float | None) -> int:
        """Optimiser steps: those of `epochs`, or as many as `training_macs` allows."""
        if not self.training_macs:
            return self.epochs * epoch_steps
        if not clip_macs:
            raise ValueError("training_macs needs the MACs of a clip")
        steps = int(self.training_macs // (clip_macs * self.batch_size))
        if steps < 1:
            raise UserError(
                f"training_macs {self.training_macs:g} is less than one step of "
                f"{clip_macs * self.batch_size:g} MACs; raise it, or lower batch_size"
            )
        return steps

    def factor(self, epoch_steps: int, steps: int) -> Callable[[int], float]:
        """The factor of the learning rate at a step; the schedule covers `steps`."""
        warm_up = min(round(self.warmup_epochs * epoch_steps), steps)
        milestones = [m * steps / self.epochs for m in self.milestones]

        def factor(step: int) -> float:
            if step < warm_up:
                return (step + 1) / warm_up
            if self.schedule == "step":
                return self.step_factor ** sum(step >= milestone for milestone in milestones)
            progress = 0.5 * (1 - math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))
            return 1 - (1 - self.final_factor) * progress

        return factor


def check_sharding(sharding: str, processes: int) -> None:
    """Raise UserError for an unknown sharding, and for shards in one process."""
    if sharding not in SHARDING:
        raise UserError(unknown_name("sharding", sharding, SHARDING))
    if sharding == "full" and processes == 1:
        raise UserError(
            'sharding = "full" spreads a model over several processes, and processes is 1; '
            "raise processes, or leave sharding out"
        )
