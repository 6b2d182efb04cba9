"""Real peak of a training step on this machine, and its ratio to the simulated peak.

A fresh process does two steps of AdamW; the second counts. On a CPU the peak is resident memory
above the libraries, on CUDA the most that PyTorch allocated (`bench/measure/parts/real_memory.py`).
"""

from collections.abc import Iterator
from functools import partial

from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.process import child
from pks4.bench.records.record import Reading

ALONE = True
RUNS = True  # computes on this machine
METRICS = {  # name -> unit, direction
    "step_peak_measured_bytes": ("B", "less is better"),
    "step_peak_ratio": ("1", "neither; 1: as simulated"),
}
SETTINGS = {"device": "cpu", "dtype": "float32", "kernel": ""}
ABOUT = {
    "device": "cpu or cuda",
    "dtype": "of weights and clip",
    "kernel": "of attention; empty: the device's default",
}
THREADS = 1


def measure(inputs: MeasureInput) -> Iterator[Reading]:
    """Measure a step, simulate the same step, and give their ratio."""
    from pks4.bench.measure.parts.real_memory import TAMED
    from pks4.simulate.step_memory import simulate
    from pks4.simulate.targets import target_of

    where = target_of(inputs.settings)
    job = {"cell": inputs.cell.model_dump(), "settings": inputs.settings, "threads": THREADS}
    (measured,) = child.session("pks4.bench.measure.parts.real_memory", job, TAMED)
    simulated = simulate(inputs.build("meta"), inputs.clip("meta"), where).memory.peak
    evidence = {
        **where.evidence(),
        "how": "measured",
        "rule": "peak_memory/v1",
        "device": inputs.settings["device"],
        "threads": THREADS,
        **measured.pop("ran"),
    }
    ratio = measured["peak"] / simulated
    noisy = partial(Reading, kind="noisy")
    yield noisy(
        metric="step_peak_measured_bytes",
        value=measured["peak"],
        unit="B",
        evidence=evidence,
        detail={**measured, "simulated": simulated, "measured_over_simulated": ratio},
    )
    yield noisy(
        metric="step_peak_ratio",
        value=ratio,
        unit="1",
        evidence={**evidence, "reference": "step_memory/v1"},
        detail={"simulated": simulated},
    )
