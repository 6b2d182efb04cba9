"""A session of `pks4-bench scan`: starts the measuring process, collects, and makes the tables.

The process has a warm heap: glibc's allocator keeps freed memory instead of returning it to the
system. New pages can cost more time than the scan, which would favour the arms that need little
memory. Other allocators ignore these settings.
"""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from statistics import median
from typing import Any, Literal

from pks4.bench.process import child, device_lock
from pks4.bench.records import environment
from pks4.bench.records.record import Provenance
from pks4.bench.scan_speed.goals import QUICK_CASES, QUICK_SHAPES, Case, Goal, Plan, Row
from pks4.errors import UserError

WARM_HEAP = {
    "MALLOC_MMAP_THRESHOLD_": str(4 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
}
CHILD = "pks4.bench.scan_speed.timing"
Progress = Callable[[int, int], None]  # done, total
ARMS = ("numba", "recompute", "materialised")
SIZES = "b x t x s x d x n"
SIGNS = {"<=": "≤", ">=": "≥"}


class Accuracy(Case):
    """Errors of numba against the reference in float64: largest difference over largest value."""

    errors: dict[str, float]  # of y, and of the gradient of each input
    goal: Goal


class Document(Provenance):
    """The results of a session, with code and machine."""

    type: Literal["scan_speed"] = "scan_speed"
    schema_version: Literal[1] = 1
    device: Literal["cpu"] = "cpu"
    dtype: Literal["float32"] = "float32"
    created: str
    seconds: float
    plan: Plan
    heap: dict[str, str]  # settings of the allocator
    load_average: tuple[float, float] | None  # of a minute, before and after
    kernels: dict[str, Any]  # seconds of import and first calls, from_cache, llvm_cpu
    exps_per_second: float  # medians over rows
    bytes_per_second: float
    rows: list[Row]
    accuracy: list[Accuracy]


def plan_for(quick: bool, threads: int) -> Plan:
    """The plan of a full session, or of a quick look."""
    if quick:
        return Plan(shapes=QUICK_SHAPES, cases=QUICK_CASES, rounds=3, threads=threads)
    return Plan(threads=threads)


def run(plan: Plan, progress: Progress, tell: Callable[[str], None]) -> Document:
    """Measure in a fresh process; `tell` gets a line for each finished row and case.

    Raises UserError with the last line of its stderr if that process fails.
    """
    with device_lock.lock(
        device_lock.cpu(), lambda: tell("waiting for another run's timing on this CPU")
    ):
        source, began, before = environment.provenance(), datetime.now(UTC), _load()
        by_kind = _collect(_events(plan), plan, progress, tell)
    after, ready, rows = _load(), by_kind["ready"][0], by_kind["row"]
    return Document(
        **source.model_dump(),
        created=began.strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds=(datetime.now(UTC) - began).total_seconds(),
        plan=plan,
        heap=WARM_HEAP,
        load_average=None if before is None or after is None else (before, after),
        kernels=ready,
        exps_per_second=median(r.exps_per_second for r in rows),
        bytes_per_second=median(r.bytes_per_second for r in rows),
        rows=rows,
        accuracy=by_kind["accuracy"],
    )


def _collect(
    events: Iterator[dict[str, Any]], plan: Plan, progress: Progress, tell: Callable[[str], None]
) -> dict[str, list[Any]]:
    """The events of a process, by kind."""
    by_kind: dict[str, list[Any]] = {"ready": [], "row": [], "accuracy": []}
    for event in events:
        kind = event.pop("event")
        if kind == "progress":
            progress(event["done"], plan.units)
        elif kind == "row":
            row = Row.model_validate(event["row"])
            by_kind[kind].append(row)
            tell(f"{row.shape} {row.operation}: {row.over_floor:.2f} times the floor")
        elif kind == "accuracy":
            case = Accuracy.model_validate(event)
            by_kind[kind].append(case)
            tell(f"{case.shape} accuracy: {max(case.errors.values()):.1e}")
        else:
            by_kind[kind].append(event)
    return by_kind


def _events(plan: Plan) -> Iterator[dict[str, Any]]:
    """The events of a measuring process."""
    variables = {
        **WARM_HEAP,
        "OMP_NUM_THREADS": str(plan.threads),
        "OMP_WAIT_POLICY": "PASSIVE",  # an idle thread must not spin while the next arm runs
    }
    try:
        yield from child.session(CHILD, plan.model_dump(mode="json"), variables)
    except child.ChildFailed as error:
        reason = error.last_line or "it said nothing"
        raise UserError(f"the measuring process ended with {error.code}: {reason}") from error


def _load() -> float | None:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def speed_table(document: Document) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows: times in ns per state-step, ratios, and goals."""
    threads = document.plan.threads
    columns: tuple[str, ...] = (SIZES, "pass", *ARMS, "floor", "numba / floor")
    columns += ("materialised / numba", "kept (u)", "A/A")
    if threads > 1:
        columns += (f"{threads} threads / one", "torch.exp")
    return columns, [_cells(row) for row in document.rows]


def _cells(row: Row) -> tuple[str, ...]:
    times = (row.seconds_per_state_step.get(arm) for arm in (*ARMS, "floor"))
    judged = {
        "over_floor": row.over_floor,
        "materialised": row.over_numba.get("materialised"),
        "kept": row.kept_u.get("numba"),
        "speedup": row.speedup,
    }
    texts = {name: _judged(value, row.goals.get(name)) for name, value in judged.items()}
    threads = () if row.speedup is None else (texts["speedup"], f"{row.control_speedup:.2f}")
    return (
        str(row.shape),
        row.operation,
        *("-" if time is None else f"{time * 1e9:.3g}" for time in times),
        texts["over_floor"],
        texts["materialised"],
        texts["kept"],
        f"{100 * row.spread:.1f} %",
        *threads,
    )


def _judged(value: float | None, goal: Goal | None) -> str:
    """A value with its goal and the verdict, or "-" where it was not measured."""
    number = "-" if value is None else f"{value:.3g}"
    if goal is None or value is None:
        return number
    return f"{number} {SIGNS[goal.sense]}{goal.bound:g} {goal.verdict}"


def accuracy_table(document: Document) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows: numba's errors against the reference in float64."""
    names = list(document.accuracy[0].errors) if document.accuracy else []
    columns = (SIZES, "step sizes", *names, "largest")
    return columns, [
        (
            str(case.shape),
            case.steps,
            *(f"{case.errors[name]:.1e}" for name in names),
            _judged(max(case.errors.values()), case.goal),
        )
        for case in document.accuracy
    ]


def remarks(document: Document) -> list[str]:
    """The remarks below the tables, a line each."""
    kernels, plan = document.kernels, document.plan
    goals = [g.verdict for r in document.rows for g in r.goals.values()]
    goals += [case.goal.verdict for case in document.accuracy]
    cached = "loaded from the cache" if kernels["from_cache"] else "compiled"
    lines = [
        "Times are ns of CPU per state-step in float32 on one thread, medians of "
        f"{plan.rounds} interleaved rounds; A/A is numba against itself.",
        f"The floor is one exp2 a state-step (two with backward) at {document.exps_per_second:.3g} "
        f"a second, or moving the tensors at {document.bytes_per_second:.3g} B/s, whichever takes "
        "longer, both measured between the arms. Multiply-adds are not in it: 1.0 cannot be "
        "reached.",
        f"Kernels: {cached}; import {kernels['import_seconds']:.1f} s, first calls "
        f"{kernels['first_calls_seconds']:.1f} s, before any timing.",
        f"Goals: {goals.count('met')} met, {goals.count('missed')} missed, {goals.count('-')} not "
        "judged.",
    ]
    if document.load_average:
        before, after = document.load_average
        least = min((row.cpu_per_wall for row in document.rows), default=1.0)
        lines.append(
            f"The machine's load was {before:.1f} before and {after:.1f} after; numba had a core "
            f"for at least {100 * least:.0f} % of its time."
        )
    return lines
