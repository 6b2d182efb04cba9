"""What is asked of the scan's speed: shapes, the floor's formula, goals, and rows that hold both.

A row is one shape in one operation (a forward without gradients, or a forward and its backward).
Its ratios are medians over rounds of the ratio within a round, so that a drift of the machine
cancels. Nothing is measured here; `pks4.bench.scan_speed.timing` measures.

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
# The states of every step are materialised; its backward fills a tensor of that size at every step.
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
        """Times that a state is updated in one scan."""
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
    """What accuracy is asked of: a shape, and how its step sizes are drawn."""

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
    """What to measure."""

    shapes: tuple[Shape, ...] = SHAPES
    cases: tuple[Case, ...] = CASES
    rounds: int = 9
    threads: int = 1
    sample_seconds: float = 0.02  # at least, by inner repetitions
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
    """The least time that the work of a scan takes here, and what bounds it: exp or memory.

    Memory: the arrays that must be moved, B and C, at the speed of a copy (bytes read and bytes
    written). exp: one for each state-step, two with backward, which has no states kept. A floor of
    work: multiply-adds are not counted, so that no scan can reach it.
    """
    rows = shape.b * shape.t * shape.s
    moved = rows * (MOVED[operation] * shape.d + 2 * shape.n) * FLOAT_BYTES
    memory = moved / bytes_per_second
    exp = EXPS[operation] * shape.state_steps / exps_per_second
    return (exp, "exp") if exp >= memory else (memory, "memory")


class Goal(Settings):
    """A bound on a value, and whether it was met; "-" where nothing can be said."""

    sense: Literal["<=", ">="]
    bound: float
    verdict: Literal["met", "missed", "-"]


def most_bytes(shape: Shape, operation: Operation) -> int:
    """More than any arm holds at a time: states of every step, several times over."""
    whole = shape.t <= MATERIALISED_MOST_STEPS[operation]
    return (10 * shape.n if whole else 40) * shape.b * shape.t * shape.s * shape.d * FLOAT_BYTES


def judge(value: float | None, sense: Literal["<=", ">="], bound: float) -> Goal:
    """Hold a value against a bound; a value that was not measured is neither met nor missed."""
    if value is None:
        return Goal(sense=sense, bound=bound, verdict="-")
    met = value <= bound if sense == "<=" else value >= bound
    return Goal(sense=sense, bound=bound, verdict="met" if met else "missed")


class Row(Settings):
    """What was found for a shape in an operation. Ratios are of times on one thread's CPU clock.

    Arms: numba, recompute, materialised. Samples: seconds of one call, one a round; `again` is
    numba a second time, `exp` and `copy` the floor's kernels.
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
    fresh_pages: dict[str, float]  # a call got from the system, medians; all zero on a warm heap
    kept_u: dict[str, float]  # bytes kept for backward beyond the inputs, in sizes of u
    speedup: float | None = None  # numba on several threads over one, on the wall clock
    control_speedup: float | None = None  # torch.exp's
    goals: dict[str, Goal]
    cpu_samples: dict[str, list[float]]
    wall_samples: dict[str, list[float]]


class Samples(NamedTuple):
    """What one call took by arm, one value a round: seconds on both clocks, and fresh pages."""

    cpu: dict[str, list[float]]
    wall: dict[str, list[float]]
    fresh_pages: dict[str, list[float]]  # that a call got from the system


class Work(NamedTuple):
    """What one call of the floor's kernels does."""

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
    """Sum up the samples of one session.

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
    """What one thread's samples say: the fields of a row from times to `cpu_per_wall`."""
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
    """The goals that this shape has, by the name of what they bound.

    `materialised`: times as long as numba takes. `kept`: in sizes of u, of an operation that keeps
    anything. A speed-up is judged only where the control shows that both cores were free.
    """
    found: dict[str, Goal] = {}
    long = shape.t >= 784
    if shape.n == 16 and shape.d >= 192 and shape.t >= 8:
        bound = {"forward": 4 if long else 3, "forward+backward": 6}[operation]
        found["over_floor"] = judge(over_floor, "<=", bound)
        if shape.t <= 64:
            found["materialised"] = judge(materialised, ">=", 12)
    elif shape.t <= 64:
        found["materialised"] = judge(materialised, ">=", 10)
    if kept is not None:
        found["kept"] = judge(kept, "<=", 0 if shape.t <= 16 else 1)
    if speedup is not None:
        free = control is not None and control >= TWO_THREADS
        found["speedup"] = judge(speedup if free else None, ">=", TWO_THREADS)
    return found


def _ratio(above: list[float], below: list[float]) -> float:
    """Median over rounds of the ratio within a round."""
    return median(a / b for a, b in zip(above, below, strict=True))


def _prefixed(samples: dict[str, list[float]]) -> dict[str, list[float]]:
    return {f"threads_{arm}": seconds for arm, seconds in samples.items()}
