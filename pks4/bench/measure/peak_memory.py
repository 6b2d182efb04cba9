"""Real peak of a training step on this machine, beside the simulated one and their ratio.

A fresh process does two steps of AdamW; the second counts. On a CPU it is resident memory above the
libraries, on CUDA what PyTorch allocated at most. See `pks4.bench.measure.parts.real_memory`.
"""

from collections.abc import Iterator

from pks4.bench.measure.parts.input import Trial
from pks4.bench.process import child
from pks4.bench.records.record import Reading

ALONE = True
RUNS = True  # computes on this machine
METRICS = ("step_peak_measured_bytes", "step_peak_ratio")
SETTINGS = {"device": "cpu", "dtype": "float32", "kernel": ""}  # kernel "": the device's own
THREADS = 1


def measure(trial: Trial) -> Iterator[Reading]:
    """Measure, simulate the same step, and put both side by side."""
    from pks4.bench.measure.parts.real_memory import TAMED
    from pks4.simulate.step_memory import simulate
    from pks4.simulate.targets import target_of

    where = target_of(trial.settings)
    job = {
        "cell": trial.cell.model_dump(),
        "settings": trial.settings,
        "threads": THREADS,
    }
    (found,) = child.session("pks4.bench.measure.parts.real_memory", job, TAMED)
    simulated = simulate(trial.build("meta"), trial.clip("meta"), where).memory.peak
    evidence = {
        **where.evidence(),
        "how": "measured",
        "rule": "peak_memory/v1",
        "device": trial.settings["device"],
        "threads": THREADS,
        **found.pop("ran"),
    }
    ratio = found["peak"] / simulated
    yield Reading(
        metric="step_peak_measured_bytes",
        value=found["peak"],
        unit="B",
        kind="noisy",
        evidence=evidence,
        detail={**found, "simulated": simulated, "measured_over_simulated": ratio},
    )
    yield Reading(
        metric="step_peak_ratio",
        value=ratio,
        unit="1",
        kind="noisy",
        evidence={**evidence, "reference": "step_memory/v1"},
        detail={"simulated": simulated},
    )
