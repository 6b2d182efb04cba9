"""Peak memory of a training step, simulated: weights, moments, activations, gradients and the rest.

AdamW's moments exist from the start, as in every step after the first. Nothing is computed, so a
laptop can simulate a GPU. Memory that allocators, libraries and kernels add is not included, but
the workspace of this project's operators is (rule `workspace/v1`).
"""

from collections.abc import Iterator

from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.records.record import Reading

METRICS = {  # name -> unit, direction
    "step_peak_bytes": ("B", "less is better"),
}
SETTINGS = {"target": "cpu-fp32", "kernel": ""}
ABOUT = {
    "target": "device and dtype that are simulated, such as cuda-bf16",
    "kernel": "of attention; math keeps scores; empty: the target's default",
}


def measure(inputs: MeasureInput) -> Iterator[Reading]:
    """Simulate one step."""
    from pks4.simulate.step_memory import RULE, simulate
    from pks4.simulate.targets import target

    where = target(inputs.settings["target"], inputs.settings["kernel"])
    memory, kernel, scan = simulate(inputs.build("meta"), inputs.clip("meta"), where)
    yield Reading(
        metric="step_peak_bytes",
        value=memory.peak,
        unit="B",
        kind="exact",
        evidence={**where.evidence(), "rule": RULE, "kernel": kernel, "scan_backend": scan},
        detail={
            "parts": memory.parts,
            "phase": memory.phase,
            "after_forward": memory.after_forward,
            "batch": inputs.cell.batch,
        },
    )
