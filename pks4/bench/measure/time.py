"""Wall-clock of a forward and of a training step, paired with a baseline contestant.

Candidate, baseline and the baseline again are sampled in interleaved rounds (see
`bench/stats/paired_times.py`), in several fresh processes, one after another
(`bench/measure/parts/paired_times.py`). Raw samples of wall and CPU time are kept. One thread, no
garbage collection, first calls left out. On CUDA the clock is read when the device is idle, and the
device's time between two events is kept too. The key `reference` names the baseline.
"""

from collections.abc import Iterator

from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.measure.parts.paired_sessions import paired
from pks4.bench.records.record import Reading

ALONE = True
RUNS = True  # computes on this machine
METRICS = {  # name -> unit, direction
    "forward_seconds": ("s", "less is better"),
    "forward_ratio": ("1", "less is better; 1: as the reference"),
    "step_seconds": ("s", "less is better"),
    "step_ratio": ("1", "less is better; 1: as the reference"),
}
SETTINGS = {
    "reference": "frame_mean",
    "processes": 3,
    "rounds": 7,
    "sample_ms": 50,
    "warm_ups": 3,
    "device": "cpu",
    "dtype": "float32",
    "kernel": "",
}
ABOUT = {
    "reference": "the contestant that it is paired with",
    "processes": "fresh processes, one after another",
    "rounds": "rounds of samples in each process",
    "sample_ms": "milliseconds of one sample",
    "warm_ups": "first calls that are left out",
    "device": "cpu or cuda",
    "dtype": "of weights and clip",
    "kernel": "of attention; empty: the device's default",
}


def measure(inputs: MeasureInput) -> Iterator[Reading]:
    """Time both operations of the candidate against the baseline."""
    from pks4.simulate.targets import target_of

    where = target_of(inputs.settings)
    yield from paired(
        "pks4.bench.measure.parts.paired_times",
        inputs,
        {"cell": inputs.cell.model_dump()},
        {**where.evidence(), "rule": "paired/v2"},
    )
