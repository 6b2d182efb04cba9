"""MACs of a forward and of a training step, by counters that must agree.

The torch counter on meta tensors gives the numbers and must equal the model's closed form at every
number of frames. In cells of up to `check_up_to` frames the same model is also built for
`check_frames` and run on a CPU under fvcore with handles, and all three must agree. Where counters
differ the measure fails and names them. The count of plain fvcore is kept too, to show what it
leaves out. The counters agree on the forward; the backward is counted by the torch counter alone,
with this project's formulas. All counts are for one clip, whatever the cell's batch. `macs_train`
holds for the declared kernel: a fused one multiplies q and k once more.
"""

from collections.abc import Iterator
from functools import partial

from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.records.record import Reading
from pks4.macs import RULE

METRICS = {  # name -> unit, direction
    "macs_forward": ("MAC", "less is better"),
    "macs_train": ("MAC", "less is better"),
    "macs_fvcore_plain": ("MAC", "neither; it leaves operators out"),
}
SETTINGS = {"kernel": "flash_cpu", "check_frames": 2, "check_up_to": 8}
ABOUT = {
    "kernel": "of attention, whose backward is counted",
    "check_frames": "frames of the run under fvcore",
    "check_up_to": "cells of up to so many frames are checked by fvcore",
}


class Disagreement(Exception):
    """Counters that should agree do not."""


def measure(inputs: MeasureInput) -> Iterator[Reading]:
    """Count, cross-check, and yield forward, training step and, where it ran, plain fvcore."""
    from pks4.simulate.attention_kernels import declared_attention

    checked = inputs.cell.frames <= inputs.settings["check_up_to"]
    with declared_attention(inputs.settings["kernel"]) as calls:
        forward, train, stages, evidence = _on_meta(inputs)
        check = _cross_check(inputs) if checked else None
    evidence |= {"kernel": calls.evidence(), "batch": 1, "agreed": []}
    agreed = ["torch on meta", *(["closed form"] if stages else [])]
    if check:
        agreed.append(f"fvcore at {check['frames']} frames")
    detail = {"by_stage": stages, "check": check}
    reading = partial(Reading, unit="MAC", kind="exact")
    in_forward = {**evidence, "agreed": agreed}
    yield reading(metric="macs_forward", value=forward, evidence=in_forward, detail=detail)
    yield reading(metric="macs_train", value=train, evidence=evidence, detail={"forward": forward})
    if check:
        plain = {**evidence, "how": "counted", "rule": "fvcore default", "device": "cpu"}
        macs = check["fvcore_plain"]
        yield reading(metric="macs_fvcore_plain", value=macs, evidence=plain, detail=check)


def _on_meta(inputs: MeasureInput) -> tuple[int, int, dict[str, int], dict]:
    """MACs of forward and training step, the closed form by stage, and the evidence."""
    from pks4.simulate.count_macs import count_on_meta
    from pks4.simulate.what_ran import ScanObserver

    model, clip = inputs.build("meta"), inputs.clip("meta", batch=1)
    with ScanObserver(model, "meta") as scans:
        forward = count_on_meta(model, clip, backward=False)
    closed = model.macs() if hasattr(model, "macs") else {}
    _agree(inputs.cell.frames, {"torch on meta": forward, **_sum_of(closed)})
    train = count_on_meta(model, clip, backward=True)
    evidence = {
        "how": "simulated",
        "rule": RULE,
        "device": "meta",
        "dtype": "float32",
        "scan_backend": scans.backend(),
    }
    return forward, train, closed, evidence


def _cross_check(inputs: MeasureInput) -> dict:
    """Three counters at a small number of frames, one of them on real tensors."""
    from pks4.simulate.count_macs import count_on_meta, count_with_fvcore

    frames = min(inputs.cell.frames, inputs.settings["check_frames"])
    model = inputs.build("cpu", frames)
    fvcore = count_with_fvcore(model, inputs.clip("cpu", frames, batch=1))
    closed = model.macs() if hasattr(model, "macs") else {}
    clip = inputs.clip("meta", frames, batch=1)
    on_meta = count_on_meta(inputs.build("meta", frames), clip, backward=False)
    _agree(frames, {"fvcore": fvcore.macs, "torch on meta": on_meta, **_sum_of(closed)})
    return {
        "frames": frames,
        "macs": fvcore.macs,
        "fvcore_plain": fvcore.plain_macs,
        "fvcore_plain_misses": fvcore.missed,
    }


def _sum_of(closed: dict[str, int]) -> dict[str, int]:
    """The closed form as one count; a user's model may have none."""
    return {"closed form": sum(closed.values())} if closed else {}


def _agree(frames: int, counts: dict[str, int]) -> None:
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{counter} {macs:,}" for counter, macs in counts.items())
        raise Disagreement(f"MACs at {frames} frames: {listed}")
