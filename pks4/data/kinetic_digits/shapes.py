"""The look of task `shapes`: textured shapes on made-up textures, seen by a camera that shakes.

No digit, no photograph. Shapes and textures are drawn anew for each clip, so no two splits share
one. Like the rest of the scene they do not depend on the class, and the shake is independent in
every frame, so the scene has the same distribution backwards.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom

Floats = NDArray[np.float64]

SIDE = 16  # pixels of a shape
HARMONICS = 4  # of the outline: enough that turned shapes differ
ROUGHNESS = 0.22  # the largest share of the radius that a harmonic adds
SCALES = (3, 6, 12)  # cells along a side of the texture, coarse to fine
SHAKE = 0.03  # the largest shift of the camera along one axis, in frame sides


def shape(rng: np.random.Generator) -> NDArray[np.float32]:
    """Opacity (16, 16) in 0..1 of a random blob with stripes; no symmetry of its outline."""
    order = np.arange(1, HARMONICS + 1)
    size = ROUGHNESS * rng.uniform(0.4, 1, HARMONICS) / np.sqrt(order)
    phase = rng.uniform(0, 2 * np.pi, HARMONICS)
    y, x = np.mgrid[:SIDE, :SIDE] / (SIDE - 1) * 2 - 1
    waves = size[:, None, None] * np.cos(
        order[:, None, None] * np.arctan2(y, x) + phase[:, None, None]
    )
    inside = np.clip((0.65 * (1 + waves.sum(0)) - np.hypot(y, x)) * SIDE / 2 + 0.5, 0, 1)
    turn, wave = rng.uniform(0, np.pi), rng.uniform(4, 7)
    stripes = np.cos(wave * (np.cos(turn) * x + np.sin(turn) * y) + rng.uniform(0, 2 * np.pi))
    return (inside * (0.8 + 0.2 * stripes)).astype(np.float32)


def texture(side: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A picture (side, side, 3) of coloured noise at three scales, grey levels of 0..255."""
    total = np.zeros((side, side, 3))
    for cells in SCALES:
        noise = rng.uniform(-1, 1, (cells + 1, cells + 1, 3))
        total += zoom(noise, (side / (cells + 1), side / (cells + 1), 1), order=1, grid_mode=True,
                      mode="nearest")  # fmt: skip
    return (127.5 + 127.5 * total / len(SCALES)).astype(np.float32)


def margin(size: int) -> int:
    """Pixels that a frame of `size` is drawn wider on each side, for the shake."""
    return int(np.ceil(SHAKE * size))


def shaken(video: NDArray[np.uint8], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Of each wide frame (t, size + 2 margins, …, 3) a part (t, size, size, 3) at random."""
    corners = rng.integers(0, 2 * margin(size) + 1, (len(video), 2))
    parts = zip(video, corners, strict=True)
    return np.stack([frame[y : y + size, x : x + size] for frame, (y, x) in parts])
