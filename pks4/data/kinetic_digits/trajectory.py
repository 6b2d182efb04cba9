"""The sprite's states in every frame of a clip: the random trajectory of each class of motion.

Time tau = t / frames, for t = 0..frames-1; every rate is per clip, so the distribution does not
depend on the number of frames.  Lengths are in frame sides; the frame is a torus, so positions
count modulo 1.  x points right, y points down, angles turn clockwise on screen.

Only the first class of each time-reversal pair has code.  The second draws the same random numbers
and reverses the states, so a pair is exact by construction:

    trajectory(second, frames, rng) == trajectory(first, frames, rng)[::-1]

The unordered frames of a pair therefore have one distribution.  So does a single frame at a known
time, because the distribution of each state does not depend on time: positions start uniform on the
torus, angles uniform on the circle, and cyclic motions at a uniform phase.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from pks4.data.kinetic_digits.tasks import OSCILLATIONS, pair_of

Floats = NDArray[np.float64]

SPEED_PER_CLIP = (0.6, 0.95)  # below 1: no number of frames from 2 on aliases the direction
SCALE_RANGE = (0.6, 1.5)
STILL_SCALE_RANGE = (0.85, 1.25)
TILT = np.pi / 12  # the largest tilt of the task `spatial`, where 6 and 9 must stay apart


@dataclass(frozen=True)
class Trajectory:
    """The sprite's states, each an array of shape (t,)."""

    x: Floats
    y: Floats
    scale: Floats
    angle: Floats
    visible: NDArray[np.bool_]

    def reversed(self) -> "Trajectory":
        """The same states in backward order."""
        return self.part(slice(None, None, -1))

    def part(self, frames: slice) -> "Trajectory":
        """The states of some frames."""
        return Trajectory(*(getattr(self, field.name)[frames].copy() for field in fields(self)))


def trajectory(name: str, frames: int, rng: np.random.Generator) -> Trajectory:
    """Draw a trajectory of class `name` of the task `temporal`.

    Both classes of a pair draw the same numbers from `rng`: equal generators give a trajectory and
    its exact time reversal.  Raises DataError for an unknown class.
    """
    tau = np.arange(frames) / frames
    if name in OSCILLATIONS:
        return _oscillate(tau, rng, cycles=1 + OSCILLATIONS.index(name))
    pair = pair_of(name)
    forward = _LAWS[pair.first](tau, rng)
    return forward.reversed() if name == pair.second else forward


def drift(frames: int, rng: np.random.Generator) -> Trajectory:
    """The nuisance motion of the task `spatial`: a straight line at any speed, a small tilt."""
    tau = np.arange(frames) / frames
    speed = rng.uniform(0.0, SPEED_PER_CLIP[1])
    start = still(tau, rng, angle=rng.uniform(-TILT, TILT))
    return _moved(start, rng.uniform(0, 2 * np.pi), speed * tau)


def still(tau: Floats, rng: np.random.Generator, *, angle: float | None = None) -> Trajectory:
    """A sprite at rest at a uniform position, by default at a uniform angle."""
    x, y = rng.random(2)
    scale = np.exp(rng.uniform(*np.log(STILL_SCALE_RANGE)))
    angle = rng.uniform(0, 2 * np.pi) if angle is None else angle
    ones = np.ones_like(tau)
    return Trajectory(x * ones, y * ones, scale * ones, angle * ones, ones.astype(bool))


def _moved(start: Trajectory, direction: float, path: Floats) -> Trajectory:
    """`start`, shifted by `path` along `direction`, on the torus."""
    x = (start.x + np.cos(direction) * path) % 1
    y = (start.y + np.sin(direction) * path) % 1
    return Trajectory(x, y, start.scale, start.angle, start.visible)


def _left(tau: Floats, rng: np.random.Generator) -> Trajectory:
    return _moved(still(tau, rng), np.pi, rng.uniform(*SPEED_PER_CLIP) * tau)


def _up(tau: Floats, rng: np.random.Generator) -> Trajectory:
    return _moved(still(tau, rng), -np.pi / 2, rng.uniform(*SPEED_PER_CLIP) * tau)


def _approach(tau: Floats, rng: np.random.Generator) -> Trajectory:
    """The scale grows geometrically and restarts at the smallest, at a uniform phase."""
    rest = still(tau, rng)
    phase = (rng.random() + rng.uniform(*SPEED_PER_CLIP) * tau) % 1
    low, high = np.log(SCALE_RANGE)
    return Trajectory(rest.x, rest.y, np.exp(low + (high - low) * phase), rest.angle,
                      rest.visible)  # fmt: skip


def _rotate_cw(tau: Floats, rng: np.random.Generator) -> Trajectory:
    rest = still(tau, rng)
    angle = rest.angle + 2 * np.pi * rng.uniform(*SPEED_PER_CLIP) * tau
    return Trajectory(rest.x, rest.y, rest.scale, angle % (2 * np.pi), rest.visible)


def _accelerate(tau: Floats, rng: np.random.Generator) -> Trajectory:
    """The speed grows linearly and restarts at the lowest once a clip, at a uniform phase.

    Path = integral of speed(phase) = low * u + (high - low) * (floor(u) + frac(u)^2) / 2.
    """
    low, high = rng.uniform(0.0, 0.2), rng.uniform(1.4, 1.7)
    u = rng.random() + tau
    path = low * u + (high - low) * (np.floor(u) + (u % 1) ** 2) / 2
    return _moved(still(tau, rng), rng.uniform(0, 2 * np.pi), path)


def _blink_hop(tau: Floats, rng: np.random.Generator) -> Trajectory:
    """Twice a clip: invisible for 1/4 of the cycle, visible for 1/4, a hop, then a rest for 1/2."""
    u = rng.random() + 2 * tau
    hops = np.floor(u + 0.5).astype(int)  # the hop is in the middle of the cycle
    turns = rng.uniform(0, 2 * np.pi, size=4)
    steps = rng.uniform(0.25, 0.4, size=4)
    rest = still(tau, rng)
    x = np.concatenate([[0.0], np.cumsum(steps * np.cos(turns))])[hops]
    y = np.concatenate([[0.0], np.cumsum(steps * np.sin(turns))])[hops]
    return Trajectory((rest.x + x) % 1, (rest.y + y) % 1, rest.scale, rest.angle,
                      u % 1 >= 0.25)  # fmt: skip


def _move_stop(tau: Floats, rng: np.random.Generator) -> Trajectory:
    """Moves along a uniform direction, then rests from a time near the middle."""
    stop = rng.uniform(0.35, 0.65)
    speed = 2 * rng.uniform(*SPEED_PER_CLIP)
    path = speed * np.minimum(tau, stop)
    return _moved(still(tau, rng), rng.uniform(0, 2 * np.pi), path)


def _oscillate(tau: Floats, rng: np.random.Generator, *, cycles: int) -> Trajectory:
    path = rng.uniform(0.15, 0.25) * np.sin(2 * np.pi * (rng.random() + cycles * tau))
    return _moved(still(tau, rng), rng.uniform(0, 2 * np.pi), path)


_LAWS: dict[str, Callable[[Floats, np.random.Generator], Trajectory]] = {
    "left": _left,
    "up": _up,
    "approach": _approach,
    "rotate_cw": _rotate_cw,
    "accelerate": _accelerate,
    "blink_hop": _blink_hop,
    "move_stop": _move_stop,
}
