"""Frames of one clip of kinetic digits: background, two distractors, the sprite, noise.

Everything but the sprite's trajectory has one distribution for all classes, which is symmetric
under
time reversal: the background pans along a line through a random centre, distractors move at
constant velocity on the torus, the noise is independent in every frame.  So only the trajectory
(see trajectory.py) depends on the class.

A clip depends on (generator version, seed, task, split, index, label) alone, through one seeded
numpy Generator.  Frames are equal wherever numpy and scipy round alike; the hash of the frames in
the manifest is the authority.

A clip is drawn in blocks of frames, so a long clip takes little more memory than its bytes.

Letters: t frames, h w rows and columns; sizes in pixels unless a name says otherwise.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from pks4.data.kinetic_digits import shapes
from pks4.data.kinetic_digits.long_task import wander
from pks4.data.kinetic_digits.sprites import backgrounds, sprite_indices, sprites
from pks4.data.kinetic_digits.tasks import GENERATOR_VERSION, class_names
from pks4.data.kinetic_digits.trajectory import Trajectory, drift, trajectory

Floats = NDArray[np.float64]

SPRITE_SIZE = 0.32  # of the frame side, at scale 1
NOISE_SIGMA = 6.0  # grey levels
CROP_PIXELS = (80, 120)  # side of the square cut from a photograph; a band is 128 wide
PAN_SIZE = 0.2  # the largest pan of the background along one axis in a clip, in frame sides
MARK = np.array([1.0, 1.0, 0.25])  # factor of the sprite's colour in a marked frame: yellow
BLOCK = 32  # frames drawn at once
DIM = (0.35, 0.65)  # brightness of the background, below that of the sprite


class Clip(NamedTuple):
    """Frames (t, h, w, 3) uint8 RGB, the label, and the digit's index in `load_digits`, if any."""

    frames: NDArray[np.uint8]
    label: int
    sprite: int | None


def render(task: str, split: str, index: int, *, size: int, frames: int, seed: int) -> Clip:
    """Render clip `index` of a split; labels cycle: label = index modulo the classes."""
    names = class_names(task)
    label = index % len(names)
    rng = clip_rng(seed, task, split, index, label)
    if task == "shapes":
        path = trajectory(names[label], frames, rng)
        wide = size + 2 * shapes.margin(size)
        video = compose(_textured, shapes.shape(rng), path, wide, rng)
        return Clip(shapes.shaken(video, size, rng), label, None)
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
    return Clip(compose(photographed(split), digit, path, size, rng, marked), label, sprite)


# (size, frames, rng) -> a canvas, and the corner of each frame in it, (t, 2)
Background = Callable[
    [int, int, np.random.Generator], tuple[NDArray[np.float32], NDArray[np.int64]]
]


def compose(
    background: Background,
    digit: NDArray[np.float32],
    path: Trajectory,
    size: int,
    rng: np.random.Generator,
    marked: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Frames (t, h, w, 3): `digit` on its path over a background, with distractors and noise.

    In the frames where `marked` (t,) is true, the digit has another colour.
    """
    frames = len(path.x)
    canvas, offsets = background(size, frames, rng)
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
    """The random generator of one clip."""
    words = [int.from_bytes(name.encode(), "big") for name in (task, split)]
    entropy = [GENERATOR_VERSION, seed, *words, index, label]
    return np.random.default_rng(np.random.SeedSequence(entropy))


def photographed(split: str) -> Background:
    """A background that cuts a part of one of the split's photographs."""
    photographs = backgrounds(split)

    def draw(
        size: int, frames: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        photograph = photographs[rng.integers(len(photographs))]
        side = rng.uniform(*CROP_PIXELS)
        top, left = rng.uniform(0, np.subtract(photograph.shape[:2], side))
        steps = np.linspace(0, side - 1, size + _pan_margin(size))
        canvas = _bilinear(photograph, top + steps, left + steps)
        return _panned(canvas, size, frames, rng)

    return draw


def _textured(
    size: int, frames: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The background of task `shapes`."""
    return _panned(shapes.texture(size + _pan_margin(size), rng), size, frames, rng)


def _pan_margin(size: int) -> int:
    return int(np.ceil(PAN_SIZE * size))


def _panned(
    canvas: NDArray[np.float32], size: int, frames: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The canvas, dimmed, and the corner of each frame in it, (t, 2): a pan along a line."""
    margin = _pan_margin(size)
    canvas = canvas * np.float32(rng.uniform(*DIM))
    pan = rng.uniform(-margin / 2, margin / 2, size=2)
    tau = np.linspace(-1, 1, frames)[:, None]  # symmetric about 0: the reversed pan is -pan
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
    """A distractor: a function that draws a disc at constant velocity on a block of frames."""
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
    """Draw the digit in every frame, scaled, rotated and placed on the torus.

    `colour` is (3,) for all frames or (t, 3), one a frame; `reach` is that of the whole path if
    `path` is only a part of it.
    """
    size, side = video.shape[1], len(digit)
    reach = _reach(path, size, side) if reach is None else reach
    pixels = _pixels(path, size, side)
    cos, sin = ((f(path.angle) / pixels)[:, None, None] for f in (np.cos, np.sin))

    def opacity(dy: Floats, dx: Floats) -> Floats:
        source = np.stack([cos * dy - sin * dx, cos * dx + sin * dy]) + (side - 1) / 2
        drawn = map_coordinates(digit, source, order=1, mode="grid-constant", prefilter=False)
        return drawn * path.visible[:, None, None]

    _blend(video, np.stack([path.y, path.x], axis=1) * size, reach, colour, opacity)


def _pixels(path: Trajectory, size: int, side: int) -> Floats:
    """Screen pixels per pixel of the digit, (t,)."""
    return SPRITE_SIZE * size * path.scale / side


def _reach(path: Trajectory, size: int, side: int) -> int:
    """Half the side of the window for drawing a digit, the largest along the path."""
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
