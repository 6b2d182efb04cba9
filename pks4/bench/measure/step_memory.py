"""Peak memory of a training step, simulated: weights, moments, activations, gradients and the rest.

AdamW's moments are there from the start, as they are from the second step on. Nothing is computed,
so that a laptop tells what a GPU would hold; what allocators, libraries and kernels add to it comes
on top (`workspace/v1` says what this project's own operators need).
"""

from collections.abc import Iterator

from pks4.bench.measure.parts.input import Trial
from pks4.bench.records.record import Reading

METRICS = ("step_peak_bytes",)
SETTINGS = {"target": "cpu-fp32", "kernel": ""}  # kernel: "math" keeps scores; "": the target's


def measure(trial: Trial) -> Iterator[Reading]:
    """Simulate one step."""
    from pks4.simulate.step_memory import RULE, simulate
    from pks4.simulate.targets import target

    where = target(trial.settings["target"], trial.settings["kernel"])
    found, kernel, scan = simulate(trial.build("meta"), trial.clip("meta"), where)
    yield Reading(
        metric="step_peak_bytes",
        value=found.peak,
        unit="B",
        kind="exact",
        evidence={
            **where.evidence(),
            "rule": RULE,
            "kernel": kernel,
            "scan_backend": scan,
        },
        detail={
            "parts": found.parts,
            "phase": found.phase,
            "after_forward": found.after_forward,
            "batch": trial.cell.batch,
        },
    )
