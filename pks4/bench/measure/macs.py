"""MACs of a forward and of a training step, by counters that must agree.

The torch counter on meta tensors gives the numbers and must equal the model's closed form at every
number of frames. In cells of up to `check_up_to` frames the same model is also built for
`check_frames` and run on a CPU under fvcore with handles, and all three must agree there; where
counters differ the measure fails and says which. What plain fvcore reports is kept beside it, so
that a reader sees what it leaves out. The agreement is about the forward; of the backward only the
torch counter knows, with this project's formulas. All of it is for one clip, whatever the cell's
batch, and `macs_train` is that of the declared kernel: a fused one multiplies q and k once more.
"""

from collections.abc import Iterator

from pks4.bench.measure.parts.input import Trial
from pks4.bench.records.record import Reading
from pks4.macs import RULE

METRICS = ("macs_forward", "macs_train", "macs_fvcore_plain")
SETTINGS = {"kernel": "flash_cpu", "check_frames": 2, "check_up_to": 8}


class Disagreement(Exception):
    """Counters that should agree do not."""


def measure(trial: Trial) -> Iterator[Reading]:
    """Count, cross-check, and yield forward, training step and, where it ran, plain fvcore."""
    from pks4.simulate.attention_kernels import declared_attention

    checked = trial.cell.frames <= trial.settings["check_up_to"]
    with declared_attention(trial.settings["kernel"]) as calls:
        forward, train, stages, evidence = _on_meta(trial)
        check = _cross_check(trial) if checked else None
    evidence |= {"kernel": calls.evidence(), "batch": 1, "agreed": []}
    agreed = ["torch on meta", *(["closed form"] if stages else [])]
    if check:
        agreed.append(f"fvcore at {check['frames']} frames")
    detail = {"by_stage": stages, "check": check}
    yield _reading("macs_forward", forward, {**evidence, "agreed": agreed}, detail)
    yield _reading("macs_train", train, evidence, {"forward": forward})
    if check:
        plain = {"how": "counted", "rule": "fvcore default", "device": "cpu"}
        yield _reading("macs_fvcore_plain", check["fvcore_plain"], {**evidence, **plain}, check)


def _on_meta(trial: Trial) -> tuple[int, int, dict[str, int], dict]:
    """MACs of forward and training step, the closed form by stage, and the evidence."""
    from pks4.simulate.count_macs import count_on_meta
    from pks4.simulate.what_ran import Scans

    model, clip = trial.build("meta"), trial.clip("meta", batch=1)
    with Scans(model, "meta") as scans:
        forward = count_on_meta(model, clip, backward=False)
    closed = model.macs() if hasattr(model, "macs") else {}
    _agree(trial.cell.frames, {"torch on meta": forward, **_sum_of(closed)})
    train = count_on_meta(model, clip, backward=True)
    evidence = {
        "how": "simulated",
        "rule": RULE,
        "device": "meta",
        "dtype": "float32",
        "scan_backend": scans.backend(),
    }
    return forward, train, closed, evidence


def _cross_check(trial: Trial) -> dict:
    """Three counters at a small number of frames, one of them on real tensors."""
    from pks4.simulate.count_macs import count_on_meta, count_with_fvcore

    frames = min(trial.cell.frames, trial.settings["check_frames"])
    model = trial.build("cpu", frames)
    fvcore = count_with_fvcore(model, trial.clip("cpu", frames, batch=1))
    closed = model.macs() if hasattr(model, "macs") else {}
    clip = trial.clip("meta", frames, batch=1)
    on_meta = count_on_meta(trial.build("meta", frames), clip, backward=False)
    _agree(frames, {"fvcore": fvcore.macs, "torch on meta": on_meta, **_sum_of(closed)})
    return {
        "frames": frames,
        "macs": fvcore.macs,
        "fvcore_plain": fvcore.plain_macs,
        "fvcore_plain_misses": fvcore.missed,
    }


def _sum_of(closed: dict[str, int]) -> dict[str, int]:
    """The closed form as one count; a model of the user's own may have none."""
    return {"closed form": sum(closed.values())} if closed else {}


def _agree(frames: int, counts: dict[str, int]) -> None:
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{who} {macs:,}" for who, macs in counts.items())
        raise Disagreement(f"MACs at {frames} frames: {said}")


def _reading(metric: str, macs: int, evidence: dict, detail: dict) -> Reading:
    return Reading(
        metric=metric, value=macs, unit="MAC", kind="exact", evidence=evidence, detail=detail
    )
