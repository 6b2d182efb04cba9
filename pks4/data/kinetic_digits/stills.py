"""Still digits on photographs, for image pre-training: rendered in memory.

A still is one frame of the `spatial` task with two labels: the digit, and the sprite's opacity at
every pixel. Sprites and background bands belong to the split, so training sees none of val or test.
A still depends on (generator version, seed, split, index, size) alone.

Letters: n stills, h w rows and columns.
"""

from dataclasses import dataclass

import numpy as np
import torch

from pks4.data.kinetic_digits import render
from pks4.data.kinetic_digits.sprites import sprite_indices, sprites
from pks4.data.kinetic_digits.trajectory import drift


@dataclass(frozen=True)
class Stills:
    """Image (n, 3, h, w) uint8, digit (n,) int64, opacity of the sprite (n, h, w) in 0..1."""

    image: torch.Tensor
    digit: torch.Tensor
    opacity: torch.Tensor


def stills(split: str, count: int, *, size: int = 64, seed: int = 0) -> Stills:
    """Render `count` stills of a split; the digits cycle, so they are balanced."""
    drawn = [_still(split, index, size, seed) for index in range(count)]
    image = torch.from_numpy(np.stack([image for image, _ in drawn])).permute(0, 3, 1, 2)
    opacity = torch.from_numpy(np.stack([opacity for _, opacity in drawn]))
    return Stills(image.contiguous(), torch.arange(count) % 10, opacity)


def _still(split: str, index: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Frame (h, w, 3) uint8 and opacity (h, w) of one still."""
    rng = render.clip_rng(seed, "stills", split, index, index % 10)
    sprite = sprites()[0][rng.choice(sprite_indices(split, index % 10))]
    place = drift(1, rng)
    opacity = np.zeros((1, size, size, 3), dtype=np.float32)
    render.draw_sprite(opacity, sprite, place, np.ones(3))
    image = render.compose(render.photographed(split), sprite, place, size, rng)[0]
    return image, opacity[0, ..., 0]
