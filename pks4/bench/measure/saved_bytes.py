"""Activation memory: bytes kept for backward, by module class and stage, without a GPU.

Every storage that autograd keeps counts once; parameters, buffers and the clip do not count. On
fake tensors with a declared attention kernel the number equals that of a real run to the byte, also
under autocast, whose copies of weights count. Workspace of a kernel and temporary memory of the
backward are not included.
"""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.records.record import Reading
from pks4.simulate.saved_bytes import Kept, saved_bytes

if TYPE_CHECKING:
    from pks4.simulate.targets import Target

METRICS = {  # name -> unit, direction
    "saved_bytes": ("B", "less is better"),
}
SETTINGS = {
    "target": "cpu-fp32",
    "kernel": "",
    "check_up_to": 8,
    "check_frames": 2,
    "check_whole": False,
}
ABOUT = {
    "target": "device and dtype that are simulated, such as cuda-bf16",
    "kernel": "of attention; math keeps scores; empty: the target's default",
    "check_up_to": "cells of up to so many frames are checked against a real run",
    "check_frames": "frames of that run, which is at tiny scale",
    "check_whole": "run the cell itself instead",
}
RULE = "saved_bytes/v1"


class Disagreement(Exception):
    """A simulated run and a real one keep different bytes."""


def measure(inputs: MeasureInput) -> Iterator[Reading]:
    """Run one forward on fake tensors, add up the kept bytes, and check them against a real run.

    The check is done in cells of up to `check_up_to` frames where the target is a CPU: the same
    contestant, small or as it is, must keep the same bytes in a real run.
    """
    from pks4.simulate.targets import target

    where = target(inputs.settings["target"], inputs.settings["kernel"])
    kept = simulated(inputs, where)
    kept.ran.check(inputs.asked_attention())
    checked = where.rules == "cpu" and inputs.cell.frames <= inputs.settings["check_up_to"]
    check = _cross_check(inputs, where) if checked else None
    yield Reading(
        metric="saved_bytes",
        value=kept.by_class.total(),
        unit="B",
        kind="exact",
        evidence={
            **where.evidence(),
            "rule": RULE,
            **kept.ran.evidence(),
            "agreed": [f"a real run at {check['scale']} scale"] if check else [],
        },
        detail={
            "by_class": dict(kept.by_class.most_common()),
            "by_stage": dict(kept.by_stage),
            "weight_copies": kept.weight_copies,
            "materialised_by": list(kept.ran.materialised),
            "check": check,
        },
    )


def simulated(inputs: MeasureInput, where: "Target") -> Kept:
    """A forward of a cell's contestant on a target, on fake tensors."""
    from pks4.simulate.targets import on_target

    model = inputs.build("meta")
    with on_target(where, model, inputs.clip("meta")) as clip:
        return saved_bytes(model, clip, where.kernel, inputs.stages())


def _cross_check(inputs: MeasureInput, where: "Target") -> dict[str, Any]:
    """Compare a simulated run with a real one; raises Disagreement where they differ."""
    import torch

    small = (
        inputs if inputs.settings["check_whole"] else inputs.small(inputs.settings["check_frames"])
    )
    fake, model, clip = simulated(small, where), small.build(), small.clip()
    with torch.autocast("cpu", torch.bfloat16, enabled=where.dtype == "bfloat16"):
        real = saved_bytes(model, clip, where.kernel, small.stages())
    for name in Kept._fields:
        simulated_bytes, real_bytes = getattr(fake, name), getattr(real, name)
        if simulated_bytes != real_bytes:
            raise Disagreement(
                f"bytes kept at {small.cell.scale} scale, {small.cell.frames} frames, {name}: "
                f"simulated {_differing(simulated_bytes, real_bytes)}, "
                f"real {_differing(real_bytes, simulated_bytes)}; "
                "is the fake kernel of an operator wrong?"
            )
    return {
        "scale": small.cell.scale,
        "frames": small.cell.frames,
        "bytes": real.by_class.total(),
    }


def _differing(count: Any, other: Any) -> Any:
    """The entries of a count that differ from the other's."""
    if not isinstance(count, Counter):
        return count
    return {k: count[k] for k in sorted({*count, *other}) if count[k] != other[k]}
