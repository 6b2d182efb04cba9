"""Paired times in several fresh processes: what `time` and `scan` share.

In each process `take` samples candidate, baseline and the baseline again in interleaved rounds; a
sample is a loop that takes at least `sample_ms`. `sessions` starts the processes, one after
another, and `readings` makes seconds and a ratio of their samples. In settings and records the
baseline is called `reference`.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.measure.parts.interleaved import sample_rounds
from pks4.bench.process import child
from pks4.bench.records.record import Reading

if TYPE_CHECKING:
    from pks4.bench.stats.paired_times import Ratio

THREADS = 1


def sessions(
    module: str,
    inputs: MeasureInput,
    job: dict[str, Any],
    operations: int,
    environment: Mapping[str, str] | None = None,
) -> list[dict[str, dict[str, Any]]]:
    """Operation -> what a process of `module` sends of it, for each process.

    `job` gains the settings, a seed and the number of threads.
    """
    rounds, processes = inputs.settings["rounds"], inputs.settings["processes"]
    found: list[dict[str, dict[str, Any]]] = []
    for seed in range(processes):
        more = {"settings": inputs.settings, "seed": seed, "threads": THREADS}
        results: dict[str, dict[str, Any]] = {}
        for event in child.session(module, job | more, environment):
            if "operation" in event:
                results[event.pop("operation")] = event
            else:
                done = rounds * (operations * seed + len(results)) + event["rounds"]
                inputs.progress(done, operations * rounds * processes, f"process {seed + 1}")
        found.append(results)
    return found


def take(
    settings: dict[str, Any],
    seed: int,
    arms: dict[str, Callable[[], Any]],
    done: Callable[[int], None],
) -> dict[str, list[tuple[float, ...]]]:
    """Seconds per call of each arm, one sample a round, in random order, after warm-ups."""
    loops, sample = {}, SAMPLERS[settings["device"]]
    for arm, call in arms.items():
        for _ in range(settings["warm_ups"]):
            call()
        wall, *_ = sample(call, 1)
        loops[arm] = max(1, round(settings["sample_ms"] / 1000 / wall))
    rounds = settings["rounds"]
    return sample_rounds(arms, lambda arm: sample(arms[arm], loops[arm]), rounds, seed, done)


def _on_cpu(call: Callable[[], Any], loops: int) -> tuple[float, ...]:
    """Wall and CPU seconds per call."""
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(loops):
        call()
    return (time.perf_counter() - wall) / loops, (time.process_time() - cpu) / loops


def _on_cuda(call: Callable[[], Any], loops: int) -> tuple[float, ...]:
    """Wall, CPU and device seconds per call; the device is idle before and after."""
    import torch

    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()

    def until_idle() -> None:
        first.record()
        for _ in range(loops):
            call()
        last.record()
        torch.cuda.synchronize()

    wall, cpu = _on_cpu(until_idle, 1)
    return wall / loops, cpu / loops, first.elapsed_time(last) / 1000 / loops


SAMPLERS = {"cpu": _on_cpu, "cuda": _on_cuda}


def readings(
    operation: str, results: list[dict[str, Any]], evidence: dict[str, Any], **more: Any
) -> Iterator[Reading]:
    """Seconds and ratio of an operation, with the rounds of all processes.

    `more` joins the details of the seconds.
    """
    import numpy as np

    from pks4.bench.stats.paired_times import LEAST_EFFECT, compare

    pairs = {
        arm: np.concatenate([np.array(result["samples"][arm]) for result in results])
        for arm in results[0]["samples"]
    }
    wall = {arm: x[:, 0] for arm, x in pairs.items()}
    cpu = pairs["candidate"][:, 1]
    events = pairs["candidate"][:, 2:].ravel().tolist()  # on CUDA only
    rounds = [len(result["samples"]["candidate"]) for result in results]
    evidence = evidence | results[0]["ran"]
    yield Reading(
        metric=f"{operation}_seconds",
        value=float(np.median(wall["candidate"])),
        unit="s",
        kind="noisy",
        evidence=evidence,
        detail={
            "samples_seconds": wall["candidate"].tolist(),
            "cpu_seconds": cpu.tolist(),
            "cpu_per_wall": float(np.median(cpu / wall["candidate"])),
            **({"device_seconds": events} if events else {}),
            "rounds_by_process": rounds,
            **more,
        },
    )
    ratio = compare(wall["candidate"], wall["reference"], wall["again"])
    detail = {
        "same_within": LEAST_EFFECT,
        "reference": evidence["reference"],
        "reference_seconds": wall["reference"].tolist(),
        "again_seconds": wall["again"].tolist(),
        "rounds_by_process": rounds,
    }
    yield ratio_reading(f"{operation}_ratio", ratio, evidence, detail)


def ratio_reading(
    metric: str, ratio: "Ratio", evidence: dict[str, Any], detail: dict[str, Any]
) -> Reading:
    """The reading of a ratio of paired times: its interval, its A/A control, its verdict."""
    judged = {
        "interval": ratio.interval,
        "aa_ratio": ratio.control.value,
        "aa_interval": ratio.control.interval,
        "least_effect": ratio.least_effect,
        "verdict": ratio.verdict,
    }
    return Reading(
        metric=metric,
        value=ratio.value,
        unit="1",
        kind="noisy",
        evidence=evidence,
        detail=judged | detail,
    )
