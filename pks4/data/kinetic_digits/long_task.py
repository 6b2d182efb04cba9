"""The distribution of task `long`: two cues, far apart, and a walk that shows no class.

The sprite wanders over the torus.  In eight frames near the start it leaves its walk, changes its
colour and moves along the first direction of its class; in eight frames near the end it does so
along the second.  The class is the ordered pair, so a model must remember the first cue until the
end.

* A cue starts at a uniform position, and the walk continues behind it as if there were no cue.  So
  these have the same distribution in all classes: the unmarked frames together, a single frame at
  any known time, any frames of which no two belong to one cue.  A sample with a stride longer than
  a cue can only guess (1/12).
* Frames of one cue show a direction; both cues show the class.  One cue leaves three classes: 1/3.
* The marked frames without their order show at most two axes, so at most 1/4 (see `BAG_BOUND`).

The first cue begins at frame 1 to frames/8, never at 0; the second ends as far from the end.
Speeds are per frame, not per clip: a longer clip is a longer wait, not a slower sprite.
"""

import numpy as np
from numpy.typing import NDArray

from pks4.data.kinetic_digits.trajectory import Floats, Trajectory, still

CUE_FRAMES = 8
SPEED_PER_FRAME = (0.04, 0.06)  # in frame sides; the seven steps of a cue stay below one half
TURN_SIGMA = 0.5  # radians a frame, of the wandering's heading
BAG_BOUND = 1 / 4  # two axes alike: one of 2 classes, in 4 classes; unlike: one of 8, in 8

_HEADINGS = {"left": np.pi, "right": 0.0, "up": -np.pi / 2, "down": np.pi / 2}


def wander(
    name: str, frames: int, rng: np.random.Generator
) -> tuple[Trajectory, NDArray[np.bool_]]:
    """A trajectory of class `name` and its marked frames (t,).

    All classes draw the same numbers from `rng`: from equal generators their clips differ only in
    the positions in marked frames.
    """
    names = name.split("_")
    early, late = rng.integers(1, frames // 8 + 1, size=2)
    starts = (early, frames - late - CUE_FRAMES)
    rest = still(np.arange(frames) / frames, rng, angle=0.0)
    places = np.array([rest.x[0], rest.y[0]]) + _walk(frames, rng)  # (t, 2): x, y
    marked = np.zeros(frames, dtype=bool)
    for start, direction in zip(starts, names, strict=True):
        cue = slice(start, start + CUE_FRAMES)
        path = rng.uniform(*SPEED_PER_FRAME) * np.arange(CUE_FRAMES)
        places[cue] = rng.random(2) + path[:, None] * _along(_HEADINGS[direction])
        marked[cue] = True
    x, y = places.T % 1
    return Trajectory(x, y, rest.scale, rest.angle, rest.visible), marked


def _walk(frames: int, rng: np.random.Generator) -> Floats:
    """Positions (t, 2) from the origin, at constant speed along a drifting heading."""
    turns = rng.normal(0, TURN_SIGMA, size=frames)
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(turns)
    return rng.uniform(*SPEED_PER_FRAME) * np.cumsum(_along(heading), axis=0)


def _along(heading: Floats | float) -> Floats:
    return np.stack([np.cos(heading), np.sin(heading)], axis=-1)
