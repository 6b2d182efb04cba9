"""The training recipe, the same for every contestant: AdamW, linear warm-up, cosine to zero.

No augmentation, no label smoothing, no dropout: what differs between two runs is the model and its
learning rate. Built on accelerate; for now on the CPU in float32 only, whatever else is there.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

MEAN, STD = 127.5, 63.75  # of uint8 pixels; about unit range for every model alike

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained."""

    learning_rate: float
    epochs: int
    batch_size: int = 16
    weight_decay: float = 0.05
    warmup_epochs: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class History:
    """What a training went through: mean loss of each epoch, steps, clips seen."""

    losses: list[float]
    steps: int
    clips: int


class Diverged(Exception):
    """The loss became infinite or not a number."""


def pixels(video: Tensor) -> Tensor:
    """uint8 frames (…, 3, h, w) as float32 around 0."""
    return (video.float() - MEAN) / STD


def fit(
    model: nn.Module,
    video: Tensor,
    label: Tensor,
    recipe: Recipe,
    progress: Progress,
    loss: Callable[[Any, Tensor], Tensor] = F.cross_entropy,
) -> History:
    """Train model on video (n, …, 3, h, w) uint8 with label (n, …), in place.

    Raises Diverged when a loss is not finite.
    """
    accelerator = Accelerator(cpu=True, mixed_precision="no")  # what the records say
    order = torch.Generator().manual_seed(recipe.seed)
    loader = DataLoader(
        TensorDataset(video, label), recipe.batch_size, shuffle=True, generator=order
    )
    groups = _groups(model, recipe.weight_decay)
    optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)
    steps = recipe.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _shape(recipe, len(loader), steps))
    model, optimiser, loader = accelerator.prepare(model, optimiser, loader)
    model.train()
    losses: list[float] = []
    for epoch in range(recipe.epochs):
        total = 0.0
        for batch, target in loader:
            value = loss(model(pixels(batch)), target)
            if not torch.isfinite(value):
                raise Diverged(f"loss {value.item()} in epoch {epoch + 1}; lower learning_rate")
            optimiser.zero_grad()
            accelerator.backward(value)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += value.item() * len(target)
        losses.append(total / len(label))
        progress(epoch + 1, recipe.epochs, f"loss {losses[-1]:.3f}")
    return History(losses, steps, recipe.epochs * len(label))


@torch.no_grad()
def predict(model: nn.Module, video: Tensor, batch_size: int = 32) -> Tensor:
    """Logits (n, classes) of video (n, t, 3, h, w) uint8, in eval mode."""
    model.eval()
    return torch.cat([model(pixels(part)) for part in video.split(batch_size)])


def _groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Trained parameters; vectors and scalars are not decayed."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _shape(recipe: Recipe, epoch_steps: int, steps: int) -> Callable[[int], float]:
    warm_up = max(1, round(recipe.warmup_epochs * epoch_steps))

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))

    return factor
