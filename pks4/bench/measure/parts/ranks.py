"""One cell's measure in several processes at once: its ranks, on one machine.

The ranks are started anew, find each other through a file, and do the same work; the first one's
readings count. They meet by gloo, or on GPUs by NCCL, a GPU each. When a rank fails or dies, the
others are ended and its reason is raised; when the parent is gone they end by themselves, and the
cell's time limit ends all of them together, since they stay in its session.
"""

import multiprocessing
import os
import tempfile
import threading
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection, wait
from typing import Any

from pks4.bench.measure.parts.input import Trial
from pks4.bench.plan.cell import Cell
from pks4.bench.records.record import Reading
from pks4.errors import UserError, detail_of

Work = Callable[[Trial], Iterable[Reading]]
LINGER_SECONDS = 3.0  # for the reason behind the first failure, which may be another rank's


class RankFailed(UserError):
    """A rank ended before its work; `detail` holds what its error knew."""

    def __init__(self, message: str, detail: dict[str, Any]) -> None:
        super().__init__(message)
        self.detail = detail


def run(work: Work, trial: Trial, processes: int) -> list[Reading]:
    """What the first of `processes` ranks gives; `work` is a function that can be imported."""
    import torch

    if trial.settings["device"] == "cuda" and torch.cuda.device_count() < processes:
        raise UserError(f"processes is {processes}; this machine has {torch.cuda.device_count()} "
                        "GPUs, and each process takes one")  # fmt: skip
    context = multiprocessing.get_context("spawn")
    ranks: dict[Connection, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        job = (work, trial.cell, trial.settings, trial.scratch, torch.get_num_threads())
        world = (processes, os.path.join(folder, "store"))
        try:
            for number in range(processes):
                ours, theirs = context.Pipe(duplex=False)
                ranks[ours] = context.Process(target=_rank, args=(number, *world, theirs, *job))
                ranks[ours].start()
                theirs.close()  # so that its end is seen here
            return _listen(ranks, trial)
        finally:
            for process in ranks.values():
                process.kill()
                process.join()


def _listen(ranks: dict[Connection, Any], trial: Trial) -> list[Reading]:
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
                kind, *told = line.recv()
            except EOFError:
                left.remove(line)
                ranks[line].join()
                if ranks[line].exitcode:
                    faults.append((0, _death(list(ranks).index(line), ranks[line].exitcode), {}))
                continue
            if kind == "progress":
                trial.progress(*told)
            elif kind == "done":
                readings = told[0]
            else:
                faults.append((1, *told))
    if faults:
        _, reason, detail = min(faults, key=lambda fault: fault[0])  # a death explains the others
        raise RankFailed(reason, detail)
    return readings


def _death(number: int, code: int) -> str:
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"rank {number} of the training {how}; the others were ended"


def _rank(number: int, processes: int, store: str, line: Connection, work: Work, cell: Cell,
          settings: dict[str, Any], scratch: Any, threads: int) -> None:  # fmt: skip
    """A rank's whole life."""
    import torch
    import torch.distributed as dist

    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    on_gpu = settings["device"] == "cuda"
    os.environ |= {
        "RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0",  # accelerate asks for them; not used
    }  # fmt: skip
    try:
        if on_gpu:
            torch.cuda.set_device(number)
        dist.init_process_group("nccl" if on_gpu else "gloo", init_method=f"file://{store}",
                                rank=number, world_size=processes)  # fmt: skip

        def progress(done: float, total: float, text: str) -> None:
            if number == 0:
                line.send(("progress", done, total, text))

        readings = list(work(Trial(cell, settings, progress, scratch)))
        dist.barrier()
        if number == 0:
            line.send(("done", readings))
        dist.destroy_process_group()
    except Exception as error:  # told to the parent, which ends the others
        line.send(("failed", _reason(error), detail_of(error)))
    line.close()


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return f"out of memory: {error}"
    plain = isinstance(error, UserError | ValueError)
    return str(error) if plain else f"{type(error).__name__}: {error}"


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(3)
