"""Times the selective scan on a CPU: interleaved arms in one process, first calls left out.

Each round samples every arm once, in random order, and numba a second time, which shows the noise.
The two kernels of the floor are arms too. The clock is the process's CPU time on one thread. A
second session, on the wall clock, measures the speed-up by more threads.

`session.py` starts it as a program (`python -m pks4.bench.scan_speed.timing`), with a warm heap.
Its job is a `Plan`; its events are progress, ready, row and accuracy.
"""

import os
import sys
import time
from collections.abc import Callable
from math import ceil
from typing import Any

import torch

from pks4.bench.measure.parts.interleaved import sample_rounds
from pks4.bench.process import child
from pks4.bench.scan_speed.arms import Call, backend, draw, errors, kept_in_sizes_of_u, scan_arms
from pks4.bench.scan_speed.goals import (
    LARGEST_ERROR,
    OPERATIONS,
    Operation,
    Plan,
    Row,
    Samples,
    Shape,
    judge,
    make_row,
    most_bytes,
)
from pks4.scan import resolve

TINY = Shape(1, 2, 1, 1, 1)
QUICK_CALL = 1.0  # seconds; a slower call is not repeated to estimate its time


def main() -> None:
    """Do the plan on standard input."""
    job, send_event = child.receive(allow_nan=True)
    plan, done = Plan.model_validate(job), 0

    def send(event: str, **fields: Any) -> None:
        send_event(event=event, **fields)

    def progress() -> None:
        nonlocal done
        done += 1
        send("progress", done=done)

    measure(plan, send, progress)
    os._exit(0)  # taking down torch would be waited for


def measure(plan: Plan, send: Callable[..., None], progress: Callable[[], None]) -> None:
    """Measure all of a plan; `send` takes events, `progress` is called `plan.units` times.

    Raises ValueError where numba cannot run.
    """
    torch.set_num_threads(1)
    send("ready", **first_calls())
    from pks4.bench.scan_speed.arms import floor_arms  # loads numba, which first_calls times

    floor, work = floor_arms(plan.copied_bytes)
    progress()
    for shape in plan.shapes:
        kept = kept_in_sizes_of_u(shape)
        for operation in OPERATIONS:
            row = time_row(plan, shape, operation, (floor, work), kept, progress)
            send("row", row=row.model_dump())
    for case in plan.cases:
        by_tensor = errors(case.shape, case.steps)
        goal = judge(max(by_tensor.values()), "<=", LARGEST_ERROR)
        progress()
        send("accuracy", **case.model_dump(), errors=by_tensor, goal=goal.model_dump())


def first_calls() -> dict[str, Any]:
    """Call the kernels for the first time: seconds, and whether they came from the cache.

    The first call of any custom operator makes torch load its compiler; that is timed separately.
    """
    from llvmlite.binding import get_host_cpu_name

    resolve("numba")
    x = [v.requires_grad_() for v in draw(TINY)]
    began = time.perf_counter()
    backend("recompute")(*x)
    started = time.perf_counter()
    from pks4.scan import numba_kernels

    imported = time.perf_counter()
    backend("numba")(*x).sum().backward()
    called = time.perf_counter()
    kernels = (numba_kernels.forward, numba_kernels.backward)
    return {
        "torch_seconds": started - began,
        "import_seconds": imported - started,
        "first_calls_seconds": called - imported,
        "from_cache": not any(k.stats.cache_misses for k in kernels),
        "llvm_cpu": get_host_cpu_name(),
    }


def time_row(
    plan: Plan,
    shape: Shape,
    operation: Operation,
    floor: tuple[dict[str, Call], Any],
    kept: dict[str, float],
    progress: Callable[[], None],
) -> Row:
    """Time a shape in one operation."""
    _touch(most_bytes(shape, operation))
    calls = scan_arms(shape, operation)
    alone = {**calls, "again": calls["numba"], **floor[0]}
    samples = sample(plan, {arm: (1, call) for arm, call in alone.items()}, progress)
    threaded = None
    if plan.threads > 1:
        threaded = sample(plan, threaded_arms(calls["numba"], plan.threads), progress)
    kept = kept if operation == "forward+backward" else {}
    return make_row(shape, operation, samples, floor[1], kept, threaded)


def threaded_arms(call: Call, threads: int) -> dict[str, tuple[int, Call]]:
    """A call and a control, each on one thread and on many."""
    from pks4.bench.scan_speed.arms import control

    other = control()
    return {
        "one": (1, call),
        "many": (threads, call),
        "control_one": (1, other),
        "control_many": (threads, other),
    }


def sample(plan: Plan, arms: dict[str, tuple[int, Call]], progress: Callable[[], None]) -> Samples:
    """Seconds of one call by arm, one a round, the arms in random order; an arm is (threads, call).

    A sample repeats the call for `plan.sample_seconds`, after one or two warm-up calls.
    """
    loops = {arm: _loops(plan.sample_seconds, *timed) for arm, timed in arms.items()}
    try:
        samples = sample_rounds(
            arms,
            lambda arm: _time(*arms[arm], loops[arm]),
            plan.rounds,
            plan.seed,
            lambda number: progress(),
        )
    finally:
        torch.set_num_threads(1)
    cpu, wall, pages = (
        {arm: [values[kind] for values in taken] for arm, taken in samples.items()}
        for kind in range(3)
    )
    return Samples(cpu, wall, pages)


def _loops(least_seconds: float, threads: int, call: Call) -> int:
    _, seconds, _ = _time(threads, call, 1)
    if seconds < QUICK_CALL:
        _, seconds, _ = _time(threads, call, 1)
    return max(1, ceil(least_seconds / seconds))


def _time(threads: int, call: Call, loops: int) -> tuple[float, float, float]:
    """CPU and wall seconds of one call, and its fresh pages."""
    torch.set_num_threads(threads)
    pages = _fresh_pages()
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(loops):
        call()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return cpu / loops, wall / loops, (_fresh_pages() - pages) / loops


def _fresh_pages() -> int:
    """Pages that the system gave to this process so far; 0 where it does not count them."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _touch(size: int) -> None:
    """Make the heap hold `size` bytes before anything is timed."""
    torch.empty(size, dtype=torch.uint8).fill_(0)


if __name__ == "__main__":
    main()
