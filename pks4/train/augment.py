"""Augmentation by torchvision: the same transform for every frame of a clip, reproducible.

The transform of a clip depends on (seed, epoch, index) alone, not on workers or processes. Mixing
of two clips depends on (seed, step, part, process).
"""

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from pks4.errors import UserError
from pks4.train.recipe import Recipe

# a flip would swap left and right but not the label
NEVER_FLIPPED = ("temporal", "motion", "shapes", "long")


def seed_of(*parts: int) -> int:
    """Hash several small numbers to one seed; other numbers give another random stream."""
    mixed = 0
    for part in parts:
        mixed = (mixed * 0x9E3779B97F4A7C15 + part + 1) % 2**64
        mixed ^= mixed >> 29
    return mixed % 2**63


def check_task(recipe: Recipe, task: str | None) -> None:
    """Raise UserError if the recipe flips a task whose classes depend on left and right."""
    if recipe.flip and task in NEVER_FLIPPED:
        raise UserError(f"flip swaps left and right, which are classes of {task!r}; set it false")


class Augment:
    """A clip (t, 3, h, w) uint8 -> a clip of the same shape."""

    def __init__(self, recipe: Recipe, size: tuple[int, int]) -> None:
        self.seed, steps = recipe.seed, []
        if recipe.crop_scale:
            steps.append(v2.RandomResizedCrop(size, scale=(recipe.crop_scale, 1.0), antialias=True))
        if recipe.crop_padding:
            steps.append(v2.RandomCrop(size, padding=recipe.crop_padding, padding_mode="edge"))
        if recipe.flip:
            steps.append(v2.RandomHorizontalFlip())
        if recipe.jitter:
            steps.append(v2.ColorJitter(*[recipe.jitter] * 3))
        if recipe.randaugment:
            steps.append(v2.RandAugment(recipe.randaugment, recipe.randaugment_magnitude))
        if recipe.erasing:
            steps.append(v2.RandomErasing(recipe.erasing))
        self.change = v2.Compose(steps) if steps else None

    def __call__(self, video: Tensor, epoch: int, index: int) -> Tensor:
        """The clip, augmented for this epoch."""
        if self.change is None:
            return video
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self.seed, epoch, index))
            return self.change(tv_tensors.Video(video)).as_subclass(Tensor)


class Mix:
    """Mixup and cutmix of a batch: (video, label) -> (video, soft labels (b, classes))."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.active = bool(recipe.mixup or recipe.cutmix)

    def __call__(
        self, video: Tensor, label: Tensor, classes: int, *when: int
    ) -> tuple[Tensor, Tensor]:
        """Mix each clip with its neighbour in the batch; `when` seeds the random choices."""
        transforms = []
        if self.recipe.mixup:
            transforms.append(v2.MixUp(alpha=self.recipe.mixup, num_classes=classes))
        if self.recipe.cutmix:
            transforms.append(v2.CutMix(alpha=self.recipe.cutmix, num_classes=classes))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self.recipe.seed, *when))
            transform = transforms[int(torch.randint(len(transforms), ()))]
            mixed, soft_label = transform(tv_tensors.Video(video), label)
        return mixed.as_subclass(Tensor), soft_label
