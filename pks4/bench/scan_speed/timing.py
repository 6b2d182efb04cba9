"""Times the selective scan on a CPU: interleaved arms in one process, first calls left out.

In each round every arm is sampled once, in random order, and numba a second time, which shows the
noise; the two kernels of the floor are arms like the others. The clock is the process's CPU time on
one thread. A second session, on the wall clock, tells what more threads bring.

As a program (`python -m pks4.bench.scan_speed.timing`) its job is a `Plan`, its events are
progress, ready, row and accuracy. `session.py` starts it, with a heap that stays warm.
"""

import gc
import json
import os
import random
import sys
import time
from collections.abc import Callable
from math import ceil
from typing import Any

import torch

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
QUICK_CALL = 1.0  # seconds; a slower call is not made a second time to see how long it takes


def main() -> None:
    """Do the plan on standard input."""
    job, events = child.receive()
    plan, done = Plan.model_validate_json(job), 0

    def send(event: str, **fields: Any) -> None:
        print(json.dumps({"event": event, **fields}), file=events)

    def progress() -> None:
        nonlocal done
        done += 1
        send("progress", done=done)

    measure(plan, send, progress)
    events.close()
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
        found = errors(case.shape, case.steps)
        goal = judge(max(found.values()), "<=", LARGEST_ERROR)
        progress()
        send("accuracy", **case.model_dump(), errors=found, goal=goal.model_dump())


def first_calls() -> dict[str, Any]:
    """Call the kernels for the first time: what it took, and whether a cache had them.

    Any custom operator's first call makes torch load its compiler; that is taken first and apart.
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

    A sample repeats the call for `plan.sample_seconds`. A call or two come before, which warm up.
    """
    loops = {arm: _loops(plan.sample_seconds, *timed) for arm, timed in arms.items()}
    found = Samples({a: [] for a in arms}, {a: [] for a in arms}, {a: [] for a in arms})
    order = random.Random(plan.seed)
    gc.collect()
    gc.disable()
    try:
        for _ in range(plan.rounds):
            for arm in order.sample(list(arms), len(arms)):
                for kind, value in zip(found, _time(*arms[arm], loops[arm]), strict=True):
                    kind[arm].append(value)
            progress()
    finally:
        gc.enable()
        torch.set_num_threads(1)
    return found


def _loops(least_seconds: float, threads: int, call: Call) -> int:
    _, seconds, _ = _time(threads, call, 1)
    if seconds < QUICK_CALL:
        _, seconds, _ = _time(threads, call, 1)
    return max(1, ceil(least_seconds / seconds))


def _time(threads: int, call: Call, loops: int) -> tuple[float, float, float]:
    """CPU and wall seconds of one call, and the pages that it got from the system."""
    torch.set_num_threads(threads)
    pages = _fresh_pages()
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(loops):
        call()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return cpu / loops, wall / loops, (_fresh_pages() - pages) / loops


def _fresh_pages() -> int:
    """Pages that this process got from the system so far; 0 where it does not say."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _touch(size: int) -> None:
    """Make the heap hold so many bytes before anything is timed."""
    torch.empty(size, dtype=torch.uint8).fill_(0)


if __name__ == "__main__":
    main()
