"""Synthetic records of trainings: what was said of each clip, and the curve over epochs.

Nothing here was measured. A seed of None is a cell without seeds, as in a grid that names none.
"""

from collections.abc import Mapping, Sequence

from report_records import record

Right = Mapping[int | None, Sequence[bool]]  # seed -> whether each clip was right


def place(label: str, frames: int, seed: int | None, **changes) -> dict:
    """The fields that say where a record belongs."""
    end = "" if seed is None else f"/seed{seed}"
    return {
        "cell": f"learn/{label}/t{frames}{end}", "grid": "learn", "scale": "tiny", "batch": 8,
        "task": "temporal", "kind": "sampled",
        "evidence": {"how": "measured", "device": "cpu", "data": "abc", "split": "test"},
    } | changes  # fmt: skip


def clip_records(
    label: str, right: Right, *, metric: str = "top1", frames: int = 8, macs: int = 10**12
) -> list[dict]:
    """A share of clips by seed, each clip kept; with the MACs of the training where it is top-1."""
    made = []
    for seed, clips in right.items():
        share, where = sum(clips) / len(clips), place(label, frames, seed)
        labels = [clip % 4 for clip in range(len(clips))]
        detail = {
            "clips": len(clips), "chance": 0.25, "label": labels,
            "interval": [max(0.0, share - 0.05), min(1.0, share + 0.05)],
        }  # fmt: skip
        if metric == "top1":
            said = [a if hit else (a + 1) % 4 for a, hit in zip(labels, clips, strict=True)]
            detail["predicted"] = said
            made.append(
                record(label, frames, "accuracy", "training_macs", macs, unit="MAC",
                       **(where | {"kind": "exact"}))
            )  # fmt: skip
        else:
            detail["right"] = [int(hit) for hit in clips]
        made.append(record(label, frames, "accuracy", metric, share, detail=detail, **where))
    return made


def curve_records(
    label: str,
    top1: Mapping[int | None, Sequence[float]],
    *,
    target: float = 0.0,
    macs_an_epoch: int = 10**12,
    frames: int = 8,
) -> list[dict]:
    """The validation curve of each seed, as the measure records it; 10 seconds an epoch."""
    made = []
    for seed, values in top1.items():
        epochs = range(1, len(values) + 1)
        detail = {
            "by_epoch": list(values),
            "macs_by_epoch": [macs_an_epoch * epoch for epoch in epochs],
            "seconds_by_epoch": [10.0 * epoch for epoch in epochs],
        }
        if target:
            detail |= {"target": target, "reached": max(values) >= target}
        made.append(
            record(label, frames, "accuracy", "val_top1_best", max(values), detail=detail,
                   **place(label, frames, seed))
        )  # fmt: skip
    return made


def planted(share: float, clips: int = 200, shift: int = 0) -> list[bool]:
    """A share of clips that are right, spread over them; `shift` moves which ones."""
    return [((7 * (clip + shift)) % clips) < round(share * clips) for clip in range(clips)]
