"""Activation memory: bytes kept for backward, by module class and stage, without a GPU.

Every tensor that autograd keeps is noted once per storage; parameters, buffers and the input do
not count. On fake tensors with a declared attention kernel this equals a real run to the byte,
under autocast too, whose copies of weights count. A kernel's own workspace and what backward
allocates for a moment are not in this number.
"""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pks4.bench.measure.parts.input import Trial
from pks4.bench.records.record import Reading
from pks4.simulate.saved_bytes import Kept, saved_bytes

if TYPE_CHECKING:
    from pks4.simulate.targets import Target

METRICS = ("saved_bytes",)
SETTINGS = {
    "target": "cpu-fp32",
    "kernel": "",  # "math" keeps scores; "": the target's
    "check_up_to": 8,  # frames of a cell that is checked against a real run
    "check_frames": 2,  # of that run; it is at tiny scale,
    "check_whole": False,  # or else the cell itself
}
RULE = "saved_bytes/v1"


class Disagreement(Exception):
    """A simulated run keeps other bytes than a real one."""


def measure(trial: Trial) -> Iterator[Reading]:
    """Run one forward on fake tensors and add up what is kept; check a small one against reality.

    In cells of up to `check_up_to` frames, where the target is a CPU, the same contestant is run
    for real, small or as it is, and must keep the same to the byte.
    """
    from pks4.simulate.targets import target

    where = target(trial.settings["target"], trial.settings["kernel"])
    kept = simulated(trial, where)
    kept.ran.check(trial.asked_attention())
    checked = where.rules == "cpu" and trial.cell.frames <= trial.settings["check_up_to"]
    check = _cross_check(trial, where) if checked else None
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


def simulated(trial: Trial, where: "Target") -> Kept:
    """A forward of the trial's model on a target, on fake tensors."""
    from pks4.simulate.targets import standing_on

    model = trial.build("meta")
    with standing_on(where, model, trial.clip("meta")) as clip:
        return saved_bytes(model, clip, where.kernel, trial.stages())


def _cross_check(trial: Trial, where: "Target") -> dict[str, Any]:
    """A contestant simulated and real, side by side; raises Disagreement where they differ."""
    import torch

    small = trial if trial.settings["check_whole"] else trial.small(trial.settings["check_frames"])
    fake, model, clip = simulated(small, where), small.build(), small.clip()
    with torch.autocast("cpu", torch.bfloat16, enabled=where.dtype == "bfloat16"):
        real = saved_bytes(model, clip, where.kernel, small.stages())
    for name in Kept._fields:
        said, was = getattr(fake, name), getattr(real, name)
        if said != was:
            raise Disagreement(
                f"bytes kept at {small.cell.scale} scale, {small.cell.frames} frames, {name}: "
                f"simulated {_apart(said, was)}, real {_apart(was, said)}; is the fake kernel of "
                "an operator wrong?"
            )
    return {
        "scale": small.cell.scale,
        "frames": small.cell.frames,
        "bytes": real.by_class.total(),
    }


def _apart(said: Any, other: Any) -> Any:
    """What of a count is not as in the other."""
    if not isinstance(said, Counter):
        return said
    return {k: said[k] for k in sorted({*said, *other}) if said[k] != other[k]}
