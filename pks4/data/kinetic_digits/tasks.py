"""Kinetic digits: the tasks, their classes and the time-reversal pairs.  Names only, nothing heavy.

Task `temporal`, 18 classes: seven pairs, in which one class is the time reversal of the other, and
osc1..osc4, an oscillation with 1..4 cycles a clip.  Within a pair, one frame at a known time and
the unordered set of all frames have the same distribution in both classes: only the order of the
frames distinguishes them.  A bag of frames does show the pair, so report the accuracy within pairs
(chance 1/2) together with the 18-way accuracy.  The osc classes have no such guarantee.

A pair is of kind `motion` if the displacement between two neighbouring frames distinguishes its
classes, and of kind `order` if only the order of the displacements does:

* accelerate/decelerate, blink_hop/hop_blink: two neighbouring frames at a known time have the same
  distribution in both classes;
* move_stop/stop_move: two neighbouring frames at an unknown time have the same distribution.

Task `motion`, 8 classes: the pairs of kind `motion` alone, which a short training learns.

Task `shapes`, the classes of `motion` in another look: textured shapes, textures, a camera that
shakes (see shapes.py). It asks whether a ranking of models holds on other data.

Task `spatial`, 10 classes: the digit; its motion is a nuisance.

Task `long`, 12 classes: an ordered pair of different directions, each shown in eight marked frames,
the first near the start and the second near the end of a clip (see long_task.py). One direction
alone gives at most 1/3 (`HALF_CLIP_BOUND`): compare the 12-way accuracy with that.

Never flip any but `spatial` horizontally: left and right, rotate_cw and rotate_ccw
would swap.
"""

from typing import Literal, NamedTuple

from pks4.data.errors import DataError
from pks4.errors import unknown_name

GENERATOR_VERSION = 1  # raise it whenever any frame of any clip changes
FPS = 16


class Pair(NamedTuple):
    """Two classes of `temporal`, the second the time reversal of the first."""

    first: str
    second: str
    kind: Literal["motion", "order"]


PAIRS: tuple[Pair, ...] = (
    Pair("left", "right", "motion"),
    Pair("up", "down", "motion"),
    Pair("approach", "recede", "motion"),
    Pair("rotate_cw", "rotate_ccw", "motion"),
    Pair("accelerate", "decelerate", "order"),
    Pair("blink_hop", "hop_blink", "order"),
    Pair("move_stop", "stop_move", "order"),
)
OSCILLATIONS = ("osc1", "osc2", "osc3", "osc4")
DIRECTIONS = ("left", "right", "up", "down")
SPLITS = ("train", "val", "test")
HALF_CLIP_BOUND = 1 / 3  # of `long`: one known direction leaves three classes

_MOTION = tuple(name for pair in PAIRS if pair.kind == "motion" for name in pair[:2])
_CLASSES: dict[str, tuple[str, ...]] = {
    "temporal": (*(name for pair in PAIRS for name in pair[:2]), *OSCILLATIONS),
    "motion": _MOTION,
    "shapes": _MOTION,
    "spatial": tuple(f"digit{digit}" for digit in range(10)),
    "long": tuple(f"{a}_{b}" for a in DIRECTIONS for b in DIRECTIONS if a != b),
}
TASKS = tuple(_CLASSES)
DEFAULT_FRAMES = {"temporal": 16, "motion": 16, "shapes": 16, "spatial": 16, "long": 512}
MIN_FRAMES = {
    "temporal": 2,
    "motion": 2,
    "shapes": 2,
    "spatial": 2,
    "long": 32,
}  # fewer have no meaning


def class_names(task: str) -> tuple[str, ...]:
    """The class names of `task`, in the order of their labels 0, 1, ...

    Raises DataError (a ValueError) for an unknown task.
    """
    if task not in _CLASSES:
        raise DataError(unknown_name("task", task, TASKS))
    return _CLASSES[task]


def pairs_of(task: str) -> tuple[Pair, ...]:
    """The pairs whose two classes are classes of `task`."""
    return tuple(pair for pair in PAIRS if pair.first in class_names(task))


def pair_of(name: str) -> Pair | None:
    """The pair of class `name` of `temporal`, or None for osc1..osc4.

    Raises DataError (a ValueError) for any other name.
    """
    if name not in _CLASSES["temporal"]:
        raise DataError(unknown_name("class of task 'temporal'", name, _CLASSES["temporal"]))
    return next((pair for pair in PAIRS if name in pair[:2]), None)
