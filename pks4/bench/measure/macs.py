"""MACs of a forward and of a training step, by three counters that must agree.

The torch counter on meta tensors gives the numbers at any number of frames. At a small number of
frames it must equal fvcore with handles on a CPU, and the model's closed form there and at the
cell's own frames; where they differ the measure fails and says which. What plain fvcore reports is
kept beside it, so that a reader sees what it leaves out.
"""

from collections.abc import Iterator

from pks4.bench.record import Reading
from pks4.bench.trial import Trial, scan_backend
from pks4.cost import RULE

SETTINGS = {"kernel": "flash_cpu", "check_frames": 2}


class Disagreement(Exception):
    """Counters that should agree do not."""


def measure(trial: Trial) -> Iterator[Reading]:
    """Count, cross-check, and yield forward, training step and plain fvcore."""
    from pks4.bench.kernels import declared_attention

    with declared_attention(trial.settings["kernel"]) as calls:
        forward, train, evidence = _on_meta(trial)
        check = _cross_check(trial)
    evidence |= {"kernel": calls.evidence(), "agreed": ["torch on meta", "fvcore", "closed form"]}
    detail = {"check": check, "by_stage": evidence.pop("by_stage")}
    yield _reading("macs_forward", forward, evidence, detail)
    yield _reading("macs_train", train, evidence, {"forward": forward})
    plain = check.pop("fvcore_plain")
    yield _reading(
        "macs_fvcore_plain",
        plain,
        {**evidence, "how": "counted", "rule": "fvcore default", "device": "cpu", "agreed": []},
        check,
    )


def _on_meta(trial: Trial) -> tuple[int, int, dict]:
    from pks4.bench.counters import count_on_meta

    model, clip = trial.build("meta"), trial.clip("meta", batch=1)
    forward = count_on_meta(model, clip, backward=False)
    closed = model.macs()
    _agree(trial.cell.frames, {"torch on meta": forward, "closed form": sum(closed.values())})
    train = count_on_meta(model, clip, backward=True)
    return (
        forward,
        train,
        {
            "how": "simulated",
            "rule": RULE,
            "device": "meta",
            "dtype": "float32",
            "scan_backend": scan_backend(model),
            "by_stage": closed,
        },
    )


def _cross_check(trial: Trial) -> dict:
    """Three counters at a small number of frames, one of them on real tensors."""
    from pks4.bench.counters import count_on_meta, count_with_fvcore

    frames = min(trial.cell.frames, trial.settings["check_frames"])
    model = trial.build("cpu", frames)
    fvcore = count_with_fvcore(model, trial.clip("cpu", frames, batch=1))
    closed = sum(model.macs().values())
    clip = trial.clip("meta", frames, batch=1)
    on_meta = count_on_meta(trial.build("meta", frames), clip, backward=False)
    _agree(frames, {"fvcore": fvcore.macs, "torch on meta": on_meta, "closed form": closed})
    return {
        "frames": frames,
        "macs": fvcore.macs,
        "fvcore_plain": fvcore.plain_macs,
        "fvcore_plain_misses": fvcore.missed,
    }


def _agree(frames: int, counts: dict[str, int]) -> None:
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{who} {macs:,}" for who, macs in counts.items())
        raise Disagreement(f"MACs at {frames} frames: {said}")


def _reading(metric: str, macs: int, evidence: dict, detail: dict) -> Reading:
    return Reading(
        metric=metric, value=macs, unit="MAC", kind="exact", evidence=evidence, detail=detail
    )
