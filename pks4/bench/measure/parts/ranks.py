"""One cell's measure in several processes at once: its ranks, on one machine.

Each rank is a fresh interpreter. They meet through a file and do the same work; the readings of the
first rank count. They communicate by gloo, or on GPUs by NCCL with a GPU each. When a rank fails or
dies, the others are killed and its reason is raised. When the parent dies they exit. The cell's
time limit ends all of them, since they stay in its session. A rank is no `process.child`: its work,
inputs and readings are Python objects, which multiprocessing passes on.
"""

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection, wait
from typing import Any

from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.plan.cell import Cell
from pks4.bench.process import child
from pks4.bench.records.record import Reading
from pks4.errors import UserError, detail_of

Work = Callable[[MeasureInput], Iterable[Reading]]
LINGER_SECONDS = 3.0  # wait after a failure: its cause may be the death of another rank


class RankFailed(UserError):
    """A rank ended before its work was done; `detail` is that of its error."""

    def __init__(self, message: str, detail: dict[str, Any]) -> None:
        super().__init__(message)
        self.detail = detail


def run(work: Work, inputs: MeasureInput, processes: int) -> list[Reading]:
    """The readings of the first of `processes` ranks; `work` must be importable."""
    import torch

    if inputs.settings["device"] == "cuda" and torch.cuda.device_count() < processes:
        raise UserError(f"processes is {processes}; this machine has {torch.cuda.device_count()} "
                        "GPUs, and each process takes one")  # fmt: skip
    context = multiprocessing.get_context("spawn")
    ranks: dict[Connection, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        job = (work, inputs.cell, inputs.settings, inputs.scratch, torch.get_num_threads())
        world = (processes, os.path.join(folder, "store"))
        try:
            for number in range(processes):
                ours, theirs = context.Pipe(duplex=False)
                ranks[ours] = context.Process(target=_rank, args=(number, *world, theirs, *job))
                ranks[ours].start()
                theirs.close()  # so that its end is seen here
            return _listen(ranks, inputs)
        finally:
            for process in ranks.values():
                process.kill()
                process.join()


def _listen(ranks: dict[Connection, Any], inputs: MeasureInput) -> list[Reading]:
    """Follow the ranks to their end."""
    left, readings = list(ranks), []
    faults: list[tuple[int, str, dict[str, Any]]] = []  # (0 for a death, reason, detail)
    while left:
        ready = wait(left, LINGER_SECONDS if faults else None)
        if not ready:
            break
        for line in ready:
            assert isinstance(line, Connection)
            try:
                kind, *message = line.recv()
            except EOFError:
                left.remove(line)
                ranks[line].join()
                if ranks[line].exitcode:
                    faults.append((0, _death(list(ranks).index(line), ranks[line].exitcode), {}))
                continue
            if kind == "progress":
                inputs.progress(*message)
            elif kind == "done":
                readings = message[0]
            else:
                faults.append((1, *message))
    if faults:
        _, reason, detail = min(
            faults, key=lambda fault: fault[0]
        )  # a death is the cause of the others
        raise RankFailed(reason, detail)
    return readings


def _death(number: int, code: int) -> str:
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"rank {number} of the training {how}; the others were ended"


def _rank(number: int, processes: int, store: str, line: Connection, work: Work, cell: Cell,
          settings: dict[str, Any], scratch: Any, threads: int) -> None:  # fmt: skip
    """The program of a rank."""
    import torch
    import torch.distributed as dist

    child.end_after(_parent_ends)
    torch.set_num_threads(threads)
    on_gpu = settings["device"] == "cuda"
    os.environ |= {
        "RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0",  # needed by accelerate, not used
    }  # fmt: skip
    try:
        if on_gpu:
            torch.cuda.set_device(number)
        dist.init_process_group("nccl" if on_gpu else "gloo", init_method=f"file://{store}",
                                rank=number, world_size=processes)  # fmt: skip

        def progress(done: float, total: float, text: str) -> None:
            if number == 0:
                line.send(("progress", done, total, text))

        readings = list(work(MeasureInput(cell, settings, progress, scratch)))
        dist.barrier()
        if number == 0:
            line.send(("done", readings))
        dist.destroy_process_group()
    except Exception as error:  # the parent raises it and kills the others
        line.send(("failed", _reason(error), detail_of(error)))
    line.close()


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return f"out of memory: {error}"
    plain = isinstance(error, UserError | ValueError)
    return str(error) if plain else f"{type(error).__name__}: {error}"


def _parent_ends() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
