"""The views of a clip that probes see: one frame, the unordered frames, frames in some order.

The sprite is tracked as the bright pixels on the torus. A view is a vector of the sprite's states
and of coarse pictures.  These probes test the data; they are no contestants.

Letters: t frames, h w rows and columns, f features.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pks4.data.kinetic_digits.tasks import GENERATOR_VERSION

GRID = 8  # cells along a side of the coarse picture, and of the picture of the sprite
BRIGHT = 175  # least red and green of a pixel of the sprite
YELLOW = 130  # most blue of a pixel of a marked sprite
SAMPLES = (8, 16, 32)  # frames of a sub-sampled clip of `long`

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Track:
    """A tracked clip: states (t,) of the sprite and pictures (t, f) of the frames.

    x, y, axis in radians (the axis modulo pi), area the log of bright pixels, mark their yellow
    share.
    """

    x: Floats
    y: Floats
    axis: Floats
    area: Floats
    mark: Floats
    picture: Floats

    def select(self, frames: NDArray[np.int64]) -> "Track":
        """These frames, in this order."""
        return Track(*(getattr(self, name)[frames] for name in self.__dataclass_fields__))

    def states(self) -> Floats:
        """The sprite's state in every frame, as numbers without jumps (t, f)."""
        angles = (self.x, self.y, 2 * self.axis)
        waves = [wave(angle) for angle in angles for wave in (np.cos, np.sin)]
        return np.column_stack([*waves, self.area, self.mark])

    def features(self) -> Floats:
        """States and picture of every frame (t, f)."""
        return np.column_stack([self.states(), self.picture])


def track(video: NDArray[np.uint8]) -> Track:
    """Track the sprite in frames (t, h, w, 3)."""
    yellow_or_white = (video[..., :2].min(axis=3) > BRIGHT).astype(np.float64)
    yellow = yellow_or_white * (video[..., 2] < YELLOW)
    height, width = video.shape[1:3]
    area = yellow_or_white.sum(axis=(1, 2)) + 1
    turn_y, turn_x = (2 * np.pi * np.arange(n) / n for n in (height, width))
    y = np.angle((yellow_or_white.sum(axis=2) * np.exp(1j * turn_y)).sum(axis=1))
    x = np.angle((yellow_or_white.sum(axis=1) * np.exp(1j * turn_x)).sum(axis=1))
    dy, dx = (wrapped(turn - at[:, None]) for turn, at in ((turn_y, y), (turn_x, x)))
    axis = (yellow_or_white * (dx[:, None, :] + 1j * dy[:, :, None]) ** 2).sum(axis=(1, 2))
    grey = video.mean(axis=3)
    picture = np.concatenate([_coarse(grey), _coarse(_centred(grey, y, x))], axis=1)
    mark = yellow.sum(axis=(1, 2)) / area
    return Track(x, y, np.angle(axis) / 2, np.log(area), mark, picture)


def views(task: str, clip: Track, index: int) -> dict[str, Floats]:
    """Every view of one clip of a task; `index` seeds the order of the shuffled frames."""
    frames = len(clip.x)
    single = clip.features()
    by_view = {"first": single[0], "middle": single[frames // 2], "last": single[-1]}
    by_view["bag"] = np.concatenate([_moments(single), _distances(clip)])
    order = np.random.default_rng([GENERATOR_VERSION, index]).permutation(frames)
    by_view["shuffled"] = in_order(clip.select(order))
    by_view["ordered"] = in_order(clip)
    if task == "spatial":
        by_view["motion"] = _displacements(clip)[
            [0, 2]
        ]  # without the scatter, which shows the size
    if task == "long":
        parts = {
            "first_half": np.arange(frames // 2),
            "second_half": np.arange(frames // 2, frames),
        }
        parts |= {f"sampled_{n}": (2 * np.arange(n) + 1) * frames // (2 * n) for n in SAMPLES}
        for name, part in parts.items():
            by_view[name] = in_order(clip.select(part))
    return by_view


def in_order(clip: Track) -> Floats:
    """The sprite's states, and statistics that depend on the order of frames (f,)."""
    order = [_reversal_odd(clip), _displacements(clip), _cues(clip)]
    return np.concatenate([_moments(clip.states()), _distances(clip), *order])


def _moments(frames: Floats) -> Floats:
    """Statistics of frames (t, f) that do not depend on their order."""
    return np.concatenate([frames.mean(0), frames.std(0), frames.min(0), frames.max(0)])


def _distances(clip: Track) -> Floats:
    """Distances of the sprite between any two frames, in either order (f,).

    Of the marked frames if there are any, else of all frames that show the sprite.
    """
    marked = clip.mark > 0.5
    shown = marked if marked.any() else clip.area > np.median(clip.area) - 1.5
    dx, dy = (np.abs(wrapped(at[shown, None] - at[None, shown])) for at in (clip.x, clip.y))
    bins = np.linspace(0, np.pi, GRID + 1)
    counts = [np.histogram(d, bins)[0] / d.size for d in (dx, dy, np.hypot(dx, dy))]
    flat, steep = ((a < 0.15) & (b > 0.15) & (b < 2.8) for a, b in ((dy, dx), (dx, dy)))
    return np.concatenate([*counts, [flat.mean(), steep.mean()]])


def wrapped(angle: Floats) -> Floats:
    """Angles in -pi..pi."""
    return np.angle(np.exp(1j * angle))


def _coarse(grey: Floats) -> Floats:
    """Grey levels (t, h, w) on a GRID x GRID picture, (t, GRID * GRID)."""
    frames, height, width = grey.shape
    high, wide = height // GRID * GRID, width // GRID * GRID
    cells = grey[:, :high, :wide].reshape(frames, GRID, high // GRID, GRID, wide // GRID)
    return cells.mean(axis=(2, 4)).reshape(frames, -1)


def _centred(grey: Floats, y: Floats, x: Floats) -> Floats:
    """The sprite in the middle of half a frame's side (t, h/2, w/2), on the torus."""
    frames, height, width = grey.shape
    rows, columns = (
        np.rint(at / (2 * np.pi) * n).astype(int)[:, None] + np.arange(-n // 4, n // 4)
        for at, n in ((y, height), (x, width))
    )
    frame = np.arange(frames)[:, None, None]
    return grey[frame, rows[:, :, None] % height, columns[:, None, :] % width]


def _displacements(clip: Track) -> Floats:
    """Motion of the sprite's centre from frame to frame, without its appearance (f,)."""
    dx, dy = (wrapped(np.diff(at)) for at in (clip.x, clip.y))
    speed = np.hypot(dx, dy)
    moments = [f(each) for each in (dx, dy, speed) for f in (np.median, np.std)]
    return np.array([*moments, np.abs(np.diff(speed)).mean()])


def _cues(clip: Track) -> Floats:
    """Mean displacement inside, into and out of marked frames, by halves of the clip (f,)."""
    dx, dy = (wrapped(np.diff(at)) for at in (clip.x, clip.y))
    marked = clip.mark > 0.5
    before, after = marked[:-1], marked[1:]
    means = []
    for half in np.array_split(np.arange(len(dx)), 2):
        for kind in (before & after, after & ~before, before & ~after):
            steps = half[kind[half]]
            means += [dx[steps].mean(), dy[steps].mean()] if len(steps) else [0.0, 0.0]
    return np.array(means)


def _reversal_odd(clip: Track) -> Floats:
    """Statistics that change sign under time reversal (f,)."""
    dx, dy = (wrapped(np.diff(at)) for at in (clip.x, clip.y))
    turn = wrapped(2 * np.diff(clip.axis)) / 2
    growth = np.diff(clip.area)
    speed = np.hypot(dx, dy)
    middle = np.arange(len(speed)) - (len(speed) - 1) / 2
    gone = (clip.area < np.median(clip.area) - 1.5).astype(float)
    shown = (gone[1:] == 0) & (gone[:-1] == 0)
    hop = (speed > 1) * shown
    late = [
        (gone[: len(hop) - lag] * hop[lag:]).sum() - (gone[lag + 1 :] * hop[: len(hop) - lag]).sum()
        for lag in range(1, max(2, len(hop) // 3))
    ]
    middling = [np.median(each) for each in (dx, dy, turn, growth, np.diff(speed))]
    return np.array([*middling, (middle * speed).sum(), np.sign(growth).sum(), *late])
