"""Augmentation by torchvision: the same change to every frame of a clip, repeatable.

What a clip goes through depends on (seed, epoch, index) alone, not on workers or on processes.
Mixing of two clips depends on (seed, step, process).
"""

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from pks4.errors import UserError
from pks4.train.recipe import Recipe

NEVER_FLIPPED = ("temporal", "long")  # left and right would swap, and the label stay


def seed_of(*parts: int) -> int:
    """One seed from several small numbers; other parts give another stream."""
    mixed = 0
    for part in parts:
        mixed = (mixed * 0x9E3779B97F4A7C15 + part + 1) % 2**64
        mixed ^= mixed >> 29
    return mixed % 2**63


def check_task(recipe: Recipe, task: str | None) -> None:
    """Raise where the recipe flips clips of a task whose labels tell left from right."""
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
        """The clip as this epoch sees it."""
        if self.change is None:
            return video
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self.seed, epoch, index))
            return self.change(tv_tensors.Video(video)).as_subclass(Tensor)


class Mix:
    """Mixup and cutmix of a batch: (video, label) -> (video, shares (b, classes))."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.active = bool(recipe.mixup or recipe.cutmix)

    def __call__(
        self, video: Tensor, label: Tensor, classes: int, *when: int
    ) -> tuple[Tensor, Tensor]:
        """Mix each clip with its neighbour in the batch, as decided by `when`."""
        ways = []
        if self.recipe.mixup:
            ways.append(v2.MixUp(alpha=self.recipe.mixup, num_classes=classes))
        if self.recipe.cutmix:
            ways.append(v2.CutMix(alpha=self.recipe.cutmix, num_classes=classes))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self.recipe.seed, *when))
            way = ways[int(torch.randint(len(ways), ()))]
            mixed, shares = way(tv_tensors.Video(video), label)
        return mixed.as_subclass(Tensor), shares
