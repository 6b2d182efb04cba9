"""Frames of one clip of kinetic digits: background, two distractors, the sprite, noise.

Everything but the sprite's trajectory follows one law for all classes, and that law does not change
when time is reversed: the background pans along a line through a random centre, distractors move at
constant velocity on the torus, the noise is independent in every frame.  So only the trajectory
(see trajectory.py) can tell a class.

A clip depends on (generator version, seed, task, split, index, label) alone, through one seeded
numpy Generator.  Frames are equal wherever numpy and scipy round alike; the hash of the frames
in the manifest is the authority.

A clip is drawn in blocks of frames, so that a long one takes little more memory than its bytes.

Letters: t frames, h w rows and columns; sizes in pixels unless a name says otherwise.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from pks4.data.kinetic_digits.long_task import wander
from pks4.data.kinetic_digits.sprites import backgrounds, sprite_indices, sprites
from pks4.data.kinetic_digits.tasks import GENERATOR_VERSION, class_names
from pks4.data.kinetic_digits.trajectory import Trajectory, drift, trajectory

Floats = NDArray[np.float64]

SPRITE_SIZE = 0.32  # of the frame side, at scale 1
NOISE_SIGMA = 6.0  # grey levels
CROP_PIXELS = (80, 120)  # side of the square cut from a photograph; a band is 128 wide
PAN_SIZE = 0.2  # the largest pan of the background along one axis in a clip, of the frame side
MARK = np.array([1.0, 1.0, 0.25])  # on the sprite's colour in a marked frame: it turns yellow
BLOCK = 32  # frames drawn at once
DIM = (0.35, 0.65)  # the background's brightness, so that the sprite stands out


class Clip(NamedTuple):
    """Frames (t, h, w, 3) uint8 RGB, the label, and the sprite's index in `load_digits`."""

    frames: NDArray[np.uint8]
    label: int
    sprite: int


def render(task: str, split: str, index: int, *, size: int, frames: int, seed: int) -> Clip:
    """Render clip `index` of a split; labels go round, so label = index modulo the classes."""
    names = class_names(task)
    label = index % len(names)
    rng = clip_rng(seed, task, split, index, label)
    pool = sprite_indices(split, label if task == "spatial" else None)
    sprite = int(rng.choice(pool))
    marked = None
    if task == "spatial":
        path = drift(frames, rng)
    elif task == "long":
        path, marked = wander(names[label], frames, rng)
    else:
        path = trajectory(names[label], frames, rng)
    digit = sprites()[0][sprite]
    return Clip(compose(split, digit, path, size, rng, marked), label, sprite)


def compose(
    split: str,
    digit: NDArray[np.float32],
    path: Trajectory,
    size: int,
    rng: np.random.Generator,
    marked: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Frames (t, h, w, 3): `digit` on its path over a background, with distractors and noise.

    In the frames that `marked` (t,) names, the digit has another colour.
    """
    frames = len(path.x)
    canvas, offsets = _background(split, size, frames, rng)
    discs = [_disc(size, frames, rng) for _ in range(2)]
    colour = np.tile(rng.uniform(215, 255, size=3), (frames, 1))
    if marked is not None:
        colour[marked] *= MARK
    reach = _reach(path, size, len(digit))
    blocks = []
    for start in range(0, frames, BLOCK):
        block = slice(start, start + BLOCK)
        video = np.stack([canvas[y : y + size, x : x + size] for y, x in offsets[block]])
        for disc in discs:
            disc(video, block)
        draw_sprite(video, digit, path.part(block), colour[block], reach)
        video += NOISE_SIGMA * rng.standard_normal(video.shape, dtype=np.float32)
        blocks.append(np.clip(np.rint(video), 0, 255).astype(np.uint8))
    return np.concatenate(blocks)


def clip_rng(seed: int, task: str, split: str, index: int, label: int) -> np.random.Generator:
    """The generator that belongs to one clip."""
    words = [int.from_bytes(name.encode(), "big") for name in (task, split)]
    entropy = [GENERATOR_VERSION, seed, *words, index, label]
    return np.random.default_rng(np.random.SeedSequence(entropy))


def _background(
    split: str, size: int, frames: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """A piece of a photograph, and where a frame is cut from it, (t, 2): a pan along a line."""
    photographs = backgrounds(split)
    photograph = photographs[rng.integers(len(photographs))]
    side = rng.uniform(*CROP_PIXELS)
    top, left = rng.uniform(0, np.subtract(photograph.shape[:2], side))
    margin = int(np.ceil(PAN_SIZE * size))
    steps = np.linspace(0, side - 1, size + margin)
    canvas = _bilinear(photograph, top + steps, left + steps) * np.float32(rng.uniform(*DIM))
    pan = rng.uniform(-margin / 2, margin / 2, size=2)
    tau = np.linspace(-1, 1, frames)[:, None]  # symmetric about 0: the pan backwards is -pan
    return canvas, np.rint(margin / 2 + tau * pan).astype(int)


def _bilinear(
    image: NDArray[np.uint8], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.float32]:
    """`image` at the grid rows x columns, all inside it."""
    y = np.minimum(rows.astype(int), image.shape[0] - 2)
    x = np.minimum(columns.astype(int), image.shape[1] - 2)
    fy = (rows - y).astype(np.float32)[:, None, None]
    fx = (columns - x).astype(np.float32)[None, :, None]
    patch = image.astype(np.float32)
    top = patch[y][:, x] * (1 - fx) + patch[y][:, x + 1] * fx
    bottom = patch[y + 1][:, x] * (1 - fx) + patch[y + 1][:, x + 1] * fx
    return top * (1 - fy) + bottom * fy


def _disc(
    size: int, frames: int, rng: np.random.Generator
) -> Callable[[NDArray[np.float32], slice], None]:
    """A distractor: a coloured disc at constant velocity on the torus, to draw on some frames."""
    radius = rng.uniform(0.06, 0.1) * size
    colour = rng.uniform(30, 170, size=3)
    velocity = rng.uniform(-0.7, 0.7, size=2)  # of the frame side per clip
    tau = np.arange(frames)[:, None] / frames
    centres = (rng.random(2) + velocity * tau) % 1 * size  # (t, 2)

    def opacity(dy: Floats, dx: Floats) -> Floats:
        return np.clip(radius + 0.5 - np.hypot(dy, dx), 0, 1)

    def draw(video: NDArray[np.float32], block: slice) -> None:
        _blend(video, centres[block], int(radius) + 2, colour, opacity)

    return draw


def draw_sprite(video: NDArray[np.float32], digit: NDArray[np.float32], path: Trajectory,
                 colour: Floats, reach: int | None = None) -> None:  # fmt: skip
    """The digit, scaled, turned and placed on the torus in every frame.

    `colour` is one for all frames (3,) or one for each (t, 3); `reach` is that of the whole path
    where only some of its states are drawn.
    """
    size, side = video.shape[1], len(digit)
    reach = _reach(path, size, side) if reach is None else reach
    pixels = _pixels(path, size, side)
    cos, sin = ((f(path.angle) / pixels)[:, None, None] for f in (np.cos, np.sin))

    def opacity(dy: Floats, dx: Floats) -> Floats:
        where = np.stack([cos * dy - sin * dx, cos * dx + sin * dy]) + (side - 1) / 2
        drawn = map_coordinates(digit, where, order=1, mode="grid-constant", prefilter=False)
        return drawn * path.visible[:, None, None]

    _blend(video, np.stack([path.y, path.x], axis=1) * size, reach, colour, opacity)


def _pixels(path: Trajectory, size: int, side: int) -> Floats:
    """Screen pixels per pixel of the digit, (t,)."""
    return SPRITE_SIZE * size * path.scale / side


def _reach(path: Trajectory, size: int, side: int) -> int:
    """Half the window that a digit is drawn in, along the whole path."""
    reach = int(np.ceil(_pixels(path, size, side).max() * side / np.sqrt(2))) + 1
    return min(reach, (size - 1) // 2)  # a window never overlaps itself on the torus


def _blend(video: NDArray[np.float32], centres: Floats, reach: int, colour: Floats,
           opacity: Callable[[Floats, Floats], Floats]) -> None:  # fmt: skip
    """Mix `colour` into windows of +-reach pixels around `centres` (t, 2), on the torus.

    `opacity(dy, dx)` gives 0..1, (t, window, window), at offsets (t, window, 1), (t, 1, window).
    """
    frames, size = video.shape[:2]
    colour = colour.reshape(-1, 1, 1, 3).astype(np.float32)
    pixels = np.rint(centres).astype(int)[:, :, None] + np.arange(-reach, reach + 1)
    offsets = pixels - centres[:, :, None]  # (t, 2, window)
    alpha = opacity(offsets[:, 0, :, None], offsets[:, 1, None, :])[..., None].astype(np.float32)
    window = (
        np.arange(frames)[:, None, None],
        pixels[:, 0, :, None] % size,
        pixels[:, 1, None, :] % size,
    )
    video[window] += alpha * (colour - video[window])
