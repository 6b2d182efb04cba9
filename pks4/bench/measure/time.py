"""Wall-clock of a forward and of a training step, paired with a baseline contestant.

Candidate, baseline and the baseline again are sampled in interleaved rounds (see
`bench/stats/paired_times.py`), in several fresh processes, one after another
(`bench/measure/parts/paired_times.py`). Raw samples of wall and CPU time are kept. One thread, no
garbage collection, first calls left out. On CUDA the clock is read when the device is idle, and the
device's time between two events is kept too. The key `reference` names the baseline.
"""

from collections.abc import Iterator
from typing import Any

from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.process import child
from pks4.bench.records.record import Reading

ALONE = True
RUNS = True  # computes on this machine
METRICS = ("forward_seconds", "forward_ratio", "step_seconds", "step_ratio")
SETTINGS = {
    "reference": "frame_mean",
    "processes": 3,
    "rounds": 7,  # of each process
    "sample_ms": 50,
    "warm_ups": 3,
    "device": "cpu",
    "dtype": "float32",
    "kernel": "",  # of attention; "": the device's default
}
THREADS = 1


def measure(inputs: MeasureInput) -> Iterator[Reading]:
    """Time both operations of the candidate against the baseline."""
    from pks4.simulate.targets import target_of

    where = target_of(inputs.settings)
    sessions = [_session(inputs, i) for i in range(inputs.settings["processes"])]
    evidence = {
        **where.evidence(),
        "how": "measured",
        "rule": "paired/v2",
        "device": inputs.settings["device"],
        "threads": THREADS,
        "processes": len(sessions),
        "reference": inputs.settings["reference"],
    }
    for operation in sessions[0]:
        results = [session[operation] for session in sessions]
        yield from _readings(operation, results, {**evidence, **results[0]["ran"]})


def _session(inputs: MeasureInput, number: int) -> dict[str, dict[str, Any]]:
    """Operation -> samples and the path that ran, from one fresh process."""
    rounds = inputs.settings["rounds"]
    total = 2 * rounds * inputs.settings["processes"]
    job = {
        "cell": inputs.cell.model_dump(),
        "settings": inputs.settings,
        "seed": number,
        "threads": THREADS,
    }
    results: dict[str, dict[str, Any]] = {}
    for event in child.session("pks4.bench.measure.parts.paired_times", job):
        if "operation" in event:
            results[event.pop("operation")] = event
        else:
            done = rounds * (2 * number + len(results)) + event["rounds"]
            inputs.progress(done, total, f"process {number + 1}")
    return results


def _readings(operation: str, results: list[dict], evidence: dict[str, Any]) -> Iterator[Reading]:
    """Seconds and ratio of an operation, with the rounds of all processes."""
    import numpy as np

    from pks4.bench.measure.parts.paired_times import ratio_reading
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
