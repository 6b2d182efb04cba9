"""Paired times in several fresh processes: what `time` and `scan` share.

In each process `take` samples candidate, baseline and the baseline again in interleaved rounds; a
sample is a loop that takes at least `sample_ms`. `paired` starts the processes, one after another,
and makes seconds and a ratio of their samples. In settings and records the baseline is called
`reference`.
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
OPERATIONS = 2  # that a process times
SENT = ("samples", "ran")  # of each; what else it sends is kept as detail, process by process


def paired(
    module: str,
    inputs: MeasureInput,
    job: dict[str, Any],
    evidence: dict[str, Any],
    environment: Mapping[str, str] | None = None,
    **detail: Any,
) -> Iterator[Reading]:
    """Seconds and ratio of each operation that processes of `module` time.

    `job` gains the settings, a seed and the number of threads, `evidence` what both measures share.
    `detail` joins the details of the seconds.
    """
    settings = inputs.settings
    seeds = range(settings["processes"])
    by_process = [_session(module, inputs, job, seed, environment) for seed in seeds]
    shared = {
        "how": "measured",
        "device": settings["device"],
        "threads": THREADS,
        "processes": len(by_process),
        "reference": settings["reference"],
    }
    for operation in by_process[0]:
        results = [process[operation] for process in by_process]
        yield from _readings(operation, results, evidence | shared | results[0]["ran"], detail)


def _session(
    module: str,
    inputs: MeasureInput,
    job: dict[str, Any],
    seed: int,
    environment: Mapping[str, str] | None,
) -> dict[str, dict[str, Any]]:
    """Operation -> what one process sends of it."""
    rounds = inputs.settings["rounds"]
    total = OPERATIONS * rounds * inputs.settings["processes"]
    job = {**job, "settings": inputs.settings, "seed": seed, "threads": THREADS}
    results: dict[str, dict[str, Any]] = {}
    for event in child.session(module, job, environment):
        if "operation" in event:
            results[event.pop("operation")] = event
        else:
            done = rounds * (OPERATIONS * seed + len(results)) + event["rounds"]
            inputs.progress(done, total, f"process {seed + 1}")
    return results


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


def _readings(
    operation: str, results: list[dict[str, Any]], evidence: dict[str, Any], more: dict[str, Any]
) -> Iterator[Reading]:
    """Seconds and ratio of an operation, with the rounds of all processes."""
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
            **{key: [r[key] for r in results] for key in results[0] if key not in SENT},
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
