"""Goals of the scan's speed: shapes, the floor's formula, goals, and rows of results.

A row is one shape in one operation (a forward without gradients, or a forward and its backward).
Its ratios are medians over rounds of the ratio within a round, so that a drift of the machine
cancels. `pks4.bench.scan_speed.timing` measures; this module computes.

A state-step is one state of one channel at one site in one step: there are b·t·s·d·n. Letters as in
`pks4`.
"""

from math import log
from statistics import median, mode
from typing import Any, Literal, NamedTuple

from pks4.bench.plan.suite import Settings

Operation = Literal["forward", "forward+backward"]
OPERATIONS: tuple[Operation, ...] = ("forward", "forward+backward")
FLOAT_BYTES = 4
# arrays of u's size that must be moved: u, delta, y; then u, delta, y's gradient and two gradients
MOVED = {"forward": 3, "forward+backward": 8}
EXPS = {"forward": 1, "forward+backward": 2}  # per state-step, since no state is kept
# `materialised` holds the states of every step; its backward fills such a tensor at every step.
MATERIALISED_MOST_STEPS = {"forward": 784, "forward+backward": 64}
LARGEST_ERROR = 5e-6  # of a value or gradient, relative to the largest one
TWO_THREADS = 1.7  # times as fast as one, where the machine can


class Shape(NamedTuple):
    """Clips, frames, sites, channels, states."""

    b: int
    t: int
    s: int
    d: int
    n: int

    @property
    def state_steps(self) -> int:
        """Number of updates of a state in one scan."""
        return self.b * self.t * self.s * self.d * self.n

    def __str__(self) -> str:
        return "x".join(map(str, self))


SHAPES = tuple(
    Shape(*sizes)
    for sizes in (
        (2, 8, 196, 384, 16),
        (2, 16, 196, 384, 16),
        (2, 32, 196, 384, 16),
        (4, 8, 64, 192, 16),
        (4, 64, 64, 192, 16),
        (2, 8, 196, 768, 16),
        (4, 16, 64, 96, 8),
        (1, 784, 1, 384, 16),
        (1, 3136, 1, 384, 16),
        (1, 12544, 1, 384, 16),
    )
)
QUICK_SHAPES = (SHAPES[0], SHAPES[6], SHAPES[7])
Steps = Literal["usual", "1e-4 to 10"]  # sizes of the scan's steps


class Case(Settings):
    """A case of the accuracy check: a shape, and how its step sizes are drawn."""

    shape: Shape
    steps: Steps = "usual"


CASES = (
    Case(shape=Shape(2, 8, 196, 384, 16)),
    Case(shape=Shape(1, 512, 1, 64, 16), steps="1e-4 to 10"),
    Case(shape=Shape(1, 4096, 1, 64, 16)),
    Case(shape=Shape(10, 4, 10_000, 16, 4)),
)
QUICK_CASES = CASES[:2]


class Plan(Settings):
    """The shapes and cases of a session, and how they are sampled."""

    shapes: tuple[Shape, ...] = SHAPES
    cases: tuple[Case, ...] = CASES
    rounds: int = 9
    threads: int = 1
    sample_seconds: float = 0.02  # at least; short calls are repeated
    copied_bytes: int = 256 << 20  # by the floor's copy
    seed: int = 0

    @property
    def units(self) -> int:
        """Steps of the progress."""
        sessions = 2 if self.threads > 1 else 1
        return 1 + len(self.shapes) * len(OPERATIONS) * self.rounds * sessions + len(self.cases)


def floor_seconds(
    shape: Shape, operation: Operation, exps_per_second: float, bytes_per_second: float
) -> tuple[float, str]:
    """The least time of a scan on this machine, and its bound: exp or memory.

    Memory: the arrays that must be moved, with B and C, at the speed of a copy (bytes read and
    written). exp: one for each state-step, two with backward, since no states are kept.
    Multiply-adds are not counted, so no scan can reach the floor.
    """
    rows = shape.b * shape.t * shape.s
    moved = rows * (MOVED[operation] * shape.d + 2 * shape.n) * FLOAT_BYTES
    memory = moved / bytes_per_second
    exp = EXPS[operation] * shape.state_steps / exps_per_second
    return (exp, "exp") if exp >= memory else (memory, "memory")


class Goal(Settings):
    """A bound on a value, and whether it was met; "-" where it could not be judged."""

    sense: Literal["<=", ">="]
    bound: float
    verdict: Literal["met", "missed", "-"]


def most_bytes(shape: Shape, operation: Operation) -> int:
    """More bytes than any arm holds at once: several times the states of every step."""
    whole = shape.t <= MATERIALISED_MOST_STEPS[operation]
    return (10 * shape.n if whole else 40) * shape.b * shape.t * shape.s * shape.d * FLOAT_BYTES


def judge(value: float | None, sense: Literal["<=", ">="], bound: float) -> Goal:
    """Compare a value with a bound; a value that was not measured is not judged."""
    if value is None:
        return Goal(sense=sense, bound=bound, verdict="-")
    met = value <= bound if sense == "<=" else value >= bound
    return Goal(sense=sense, bound=bound, verdict="met" if met else "missed")


class Row(Settings):
    """The results of a shape in an operation. Ratios are of CPU times on one thread.

    Arms: numba, recompute, materialised. Samples: seconds of one call, one per round; `again` is
    numba a second time, `exp` and `copy` are the floor's kernels.
    """

    shape: Shape
    operation: Operation
    seconds_per_state_step: dict[str, float]  # by arm, and of the floor
    bound: str  # of the floor: exp or memory
    exps_per_second: float
    bytes_per_second: float
    over_floor: float  # numba
    over_numba: dict[str, float]  # the other arms
    spread: float  # median |ln(numba / numba)| of two samples in a round
    cpu_per_wall: float  # of numba; well below 1 on a busy machine
    fresh_pages: dict[str, float]  # per call, medians; zero on a warm heap
    kept_u: dict[str, float]  # bytes kept for backward beyond the inputs, in sizes of u
    speedup: float | None = None  # numba on several threads over one, on the wall clock
    control_speedup: float | None = None  # torch.exp's
    goals: dict[str, Goal]
    cpu_samples: dict[str, list[float]]
    wall_samples: dict[str, list[float]]


class Samples(NamedTuple):
    """Of one call, by arm, one value per round: seconds on both clocks, and fresh pages."""

    cpu: dict[str, list[float]]
    wall: dict[str, list[float]]
    fresh_pages: dict[str, list[float]]  # that the system gave to the process


class Work(NamedTuple):
    """The work of one call of the floor's kernels."""

    exps: int
    copied_bytes: int  # read and written


def make_row(
    shape: Shape,
    operation: Operation,
    samples: Samples,
    work: Work,
    kept_u: dict[str, float],
    threaded: Samples | None = None,
) -> Row:
    """Summarise the samples of one session.

    `threaded` has arms one, many, control_one and control_many.
    """
    arms = [arm for arm in samples.cpu if arm not in ("again", "exp", "copy")]
    ratios = _ratios(shape, operation, samples, work, arms)
    wall = threaded.wall if threaded else None
    speedup = _ratio(wall["one"], wall["many"]) if wall else None
    control = _ratio(wall["control_one"], wall["control_many"]) if wall else None
    return Row(
        shape=shape,
        operation=operation,
        **ratios,
        fresh_pages={arm: median(pages) for arm, pages in samples.fresh_pages.items()},
        kept_u=kept_u,
        speedup=speedup,
        control_speedup=control,
        goals=goals(
            shape,
            operation,
            over_floor=ratios["over_floor"],
            materialised=ratios["over_numba"].get("materialised"),
            kept=kept_u.get("numba"),
            speedup=speedup,
            control=control,
        ),
        cpu_samples={**samples.cpu, **_prefixed(threaded.cpu if threaded else {})},
        wall_samples={**samples.wall, **_prefixed(threaded.wall if threaded else {})},
    )


def _ratios(
    shape: Shape, operation: Operation, samples: Samples, work: Work, arms: list[str]
) -> dict[str, Any]:
    """The fields of a row that follow from the samples on one thread."""
    cpu = samples.cpu
    floors = [
        floor_seconds(shape, operation, work.exps / e, work.copied_bytes / c)
        for e, c in zip(cpu["exp"], cpu["copy"], strict=True)
    ]
    floor = [seconds for seconds, _ in floors]
    times = {**{arm: cpu[arm] for arm in arms}, "floor": floor}
    return {
        "seconds_per_state_step": {a: median(s) / shape.state_steps for a, s in times.items()},
        "bound": mode(what for _, what in floors),
        "exps_per_second": work.exps / median(cpu["exp"]),
        "bytes_per_second": work.copied_bytes / median(cpu["copy"]),
        "over_floor": _ratio(cpu["numba"], floor),
        "over_numba": {a: _ratio(cpu[a], cpu["numba"]) for a in arms if a != "numba"},
        "spread": median(abs(log(a / b)) for a, b in zip(cpu["again"], cpu["numba"], strict=True)),
        "cpu_per_wall": _ratio(cpu["numba"], samples.wall["numba"]),
    }


def goals(
    shape: Shape,
    operation: Operation,
    *,
    over_floor: float,
    materialised: float | None,
    kept: float | None,
    speedup: float | None = None,
    control: float | None = None,
) -> dict[str, Goal]:
    """The goals of this shape, by the quantity that they bound.

    `materialised`: its time over numba's. `kept`: bytes in sizes of u, of an operation with a
    backward. A speed-up is judged only where the control shows that both cores were free.
    """
    by_name: dict[str, Goal] = {}
    long = shape.t >= 784
    if shape.n == 16 and shape.d >= 192 and shape.t >= 8:
        bound = {"forward": 4 if long else 3, "forward+backward": 6}[operation]
        by_name["over_floor"] = judge(over_floor, "<=", bound)
        if shape.t <= 64:
            by_name["materialised"] = judge(materialised, ">=", 12)
    elif shape.t <= 64:
        by_name["materialised"] = judge(materialised, ">=", 10)
    if kept is not None:
        by_name["kept"] = judge(kept, "<=", 0 if shape.t <= 16 else 1)
    if speedup is not None:
        free = control is not None and control >= TWO_THREADS
        by_name["speedup"] = judge(speedup if free else None, ">=", TWO_THREADS)
    return by_name


def _ratio(above: list[float], below: list[float]) -> float:
    """Median over rounds of the ratio within a round."""
    return median(a / b for a, b in zip(above, below, strict=True))


def _prefixed(samples: dict[str, list[float]]) -> dict[str, list[float]]:
    return {f"threads_{arm}": seconds for arm, seconds in samples.items()}
