"""The worker, a child process: the measures of one cell, each on a freshly built model."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from pks4.bench import units
from pks4.bench.contestants import catalogue
from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.plan.cell import Cell
from pks4.bench.process import child
from pks4.bench.records.record import Kind, Reading
from pks4.bench.run import memory_limit as run_memory_limit
from pks4.errors import UserError, detail_of

Send = Callable[..., None]
OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "not enough memory", "bad_alloc")


def main() -> None:
    """Do the job on standard input."""
    job, send = child.receive()
    import torch

    torch.set_num_threads(job["threads"])
    cell = Cell.model_validate(job["cell"])
    folder = job.get("scratch")  # of a run; a comparison of two revisions has none
    for name in job["measures"]:
        scratch = Path(folder) / name if folder else None
        _run_measure(cell, name, send, job.get("memory_limit"), scratch)


def _run_measure(
    cell: Cell, name: str, send: Send, memory_limit: int | None, scratch: Path | None
) -> None:
    def progress(done: float, total: float, text: str) -> None:
        send(event="progress", measure=name, done=done, total=total, text=text)

    send(event="start", measure=name)
    inputs = MeasureInput(cell, cell.settings[name], progress, scratch)
    started, need = time.perf_counter(), None
    try:
        entry = catalogue.measures()[name]
        if memory_limit and entry.facts.get("RUNS"):
            need = run_memory_limit.check(inputs, memory_limit)
            run_memory_limit.enforce(memory_limit)
        module = entry.load()
        if not hasattr(module, "measure"):
            raise ValueError(f"{entry.path}: has no function measure(inputs); write one")
        readings = list(module.measure(inputs))
        _check(readings, entry)
    except Exception as error:  # a failure is a record with its reason
        status, reason = _failure(error)
        if status == "oom" and need:
            reason += f"; a training step was predicted to need {units.quantity(need, 'B')}"
        send(
            event="failed",
            measure=name,
            status=status,
            reason=reason,
            detail=detail_of(error),
            seconds=time.perf_counter() - started,
        )
    else:
        send(
            event="done",
            measure=name,
            readings=[vars(reading) for reading in readings],
            seconds=time.perf_counter() - started,
        )


def _check(readings: list[Reading], entry: catalogue.Entry) -> None:
    """Raise ValueError unless there is a reading, each of a metric of its own that is declared."""
    metrics = [reading.metric for reading in readings]
    if not metrics or len(set(metrics)) != len(metrics):
        raise ValueError(f"a measure must give each metric once and at least one, got {metrics}")
    for reading in readings:
        if reading.metric not in entry.facts.get("METRICS", ()):
            raise ValueError(
                f"measure {entry.name!r} gave {reading.metric!r}, which its METRICS does not name"
            )
        if reading.kind not in get_args(Kind):
            raise ValueError(
                f"{reading.metric} is of kind {reading.kind!r}; a kind is one of "
                f"{', '.join(get_args(Kind))}"
            )
        if isinstance(reading.value, bool) or not isinstance(reading.value, int | float):
            raise ValueError(f"{reading.metric} is {reading.value!r}; a value is one number")


def _failure(error: Exception) -> tuple[str, str]:
    text = " ".join(str(error).split())[:500]
    if isinstance(error, run_memory_limit.AboveLimit):
        return "oom", text
    if isinstance(error, MemoryError) or any(s in text.lower() for s in OUT_OF_MEMORY):
        return "oom", f"out of memory: {text}"
    if isinstance(error, UserError | ValueError):
        return "failed", text
    return "failed", f"{type(error).__name__}: {text}"


if __name__ == "__main__":
    main()
