"""Wall-clock of a forward and of a training step, paired with a reference contestant.

Candidate, reference and the reference again are sampled in interleaved rounds (see
`bench/stats/paired_times.py`), in several fresh processes, one after another
(`bench/measure/parts/paired_times.py`);
raw samples are kept, wall and CPU time. One thread, garbage collection off, first calls left out.
On CUDA the clock is read when the device is idle, and its own time is kept beside, by events.
"""

from collections.abc import Iterator
from typing import Any

from pks4.bench.measure.parts.input import Trial
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
    "kernel": "",  # of attention; "": the device's own
}
THREADS = 1


def measure(trial: Trial) -> Iterator[Reading]:
    """Time both operations of the candidate against the reference contestant."""
    from pks4.simulate.targets import target_of

    where = target_of(trial.settings)
    sessions = [_session(trial, i) for i in range(trial.settings["processes"])]
    evidence = {
        **where.evidence(),
        "how": "measured",
        "rule": "paired/v2",
        "device": trial.settings["device"],
        "threads": THREADS,
        "processes": len(sessions),
        "reference": trial.settings["reference"],
    }
    for operation in sessions[0]:
        found = [session[operation] for session in sessions]
        yield from _readings(operation, found, {**evidence, **found[0]["ran"]})


def _session(trial: Trial, number: int) -> dict[str, dict[str, Any]]:
    """Operation -> samples and what ran, from one fresh process."""
    rounds = trial.settings["rounds"]
    total = 2 * rounds * trial.settings["processes"]
    job = {
        "cell": trial.cell.model_dump(),
        "settings": trial.settings,
        "seed": number,
        "threads": THREADS,
    }
    found: dict[str, dict[str, Any]] = {}
    for said in child.session("pks4.bench.measure.parts.paired_times", job):
        if "operation" in said:
            found[said.pop("operation")] = said
        else:
            done = rounds * (2 * number + len(found)) + said["rounds"]
            trial.progress(done, total, f"process {number + 1}")
    return found


def _readings(operation: str, found: list[dict], evidence: dict[str, Any]) -> Iterator[Reading]:
    """Seconds and ratio of an operation, rounds of all processes together."""
    import numpy as np

    from pks4.bench.stats.paired_times import LEAST_EFFECT, compare

    pairs = {
        arm: np.concatenate([np.array(f["samples"][arm]) for f in found])
        for arm in found[0]["samples"]
    }
    wall = {arm: x[:, 0] for arm, x in pairs.items()}
    cpu = pairs["candidate"][:, 1]
    events = pairs["candidate"][:, 2:].ravel().tolist()  # CUDA alone has them
    rounds = [len(f["samples"]["candidate"]) for f in found]
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
    yield Reading(
        metric=f"{operation}_ratio",
        value=ratio.value,
        unit="1",
        kind="noisy",
        evidence=evidence,
        detail={
            "interval": ratio.interval,
            "aa_ratio": ratio.control,
            "aa_interval": ratio.control_interval,
            "least_effect": ratio.least_effect,
            "verdict": ratio.verdict,
            "same_within": LEAST_EFFECT,
            "reference": evidence["reference"],
            "reference_seconds": wall["reference"].tolist(),
            "again_seconds": wall["again"].tolist(),
            "rounds_by_process": rounds,
        },
    )
