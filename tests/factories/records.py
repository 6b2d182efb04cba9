"""Synthetic records for the tests of tables, figures and report: nothing here was measured.

Every number follows from a formula that a test can compute by hand. `synthetic_run` is a small
complete run; `record` makes one record; a test changes or drops what it is about. The records of
trainings hold what was said of each clip and the curve over epochs. A seed of None is a cell
without seeds, as in a grid that names none.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pks4.bench.records.record import Record

RUN = "synthetic-20260101-000000-0000000"
FRAMES = (8, 16, 32, 64)
MIB = 2**20
GIGA = 10**9

# label: (title, family, MACs per T, MACs per T², saved bytes per T, trainable parameters)
COSTS = {
    "pks4": ("PKS4 (frozen backbone)", "PKS4", 18 * GIGA, 0, 4 * MIB, 1_000_000),
    "pks4_tuned": ("PKS4 (tuned backbone)", "PKS4", 18 * GIGA, 0, 120 * MIB, 87_000_000),
    "joint": ("Joint attention", "temporal attention", 16 * GIGA, GIGA // 8, 110 * MIB, 86_000_000),
    "adapter": ("ST-Adapter", "adapters", 19 * GIGA, 0, 84 * MIB, 7_000_000),
    "mamba": ("VideoMamba", "video Mamba", 14 * GIGA, 0, 100 * MIB, 74_000_000),
    "frame_mean": ("Mean of frames", "2D floor", 17 * GIGA, 0, 0, 100_000),
}
Right = Mapping[int | None, Sequence[bool]]  # seed -> whether each clip was right
PARAMS_TOTAL = 90_000_000
# label: (correct of 500 temporal clips, within-pair correct of 400, spatial correct of 500)
SCORES = {
    "pks4": (430, 380, 400),
    "pks4_tuned": (425, 372, 420),
    "joint": (300, 290, 410),
    "adapter": (330, 310, 415),
    "mamba": (250, 260, 380),
    "frame_mean": (120, 202, 405),
}
SECONDS = {"pks4": 0.5, "joint": 0.9, "adapter": 0.75, "mamba": 1.4, "frame_mean": 0.45}

_SIMULATED = {
    "how": "simulated", "rule": "macs/v1", "kernel": "flash_cpu", "scan_backend": None,
    "reader": None, "dtype": "float32", "device": "meta",
}  # fmt: skip


def record(label: str, frames: int, measure: str, metric: str, value: Any, **changes: Any) -> dict:
    """One record with every field of the schema; `changes` replaces fields by name."""
    title, family = COSTS[label][:2] if label in COSTS else (label, "adapters")
    made = {
        "type": "record", "schema_version": 1, "run": RUN, "cell": f"cost/{label}/t{frames}",
        "grid": "cost", "label": label, "title": title, "model": label, "family": family,
        "options": {}, "scale": "paper", "frames": frames, "batch": 1, "task": None,
        "measure": measure, "metric": metric, "status": "ok", "reason": None, "value": value,
        "parts": 1, "unit": "1", "kind": "exact",
        "evidence": _SIMULATED,
        "detail": {}, "versions": {"python": "3.11.7"}, "commit": None, "dirty": False,
        "environment": {}, "created": "2026-01-01T00:00:00Z", "seconds": 0.5,
    }  # fmt: skip
    return made | changes


def failed(label: str, frames: int, measure: str, reason: str, **changes: Any) -> dict:
    """The record of a measure that gave no number."""
    bare = {"status": "failed", "reason": reason, "unit": None, "kind": None} | changes
    return record(label, frames, measure, "*", None, **bare)


def cost_records(label: str, frames: int) -> list[dict]:
    """Parameters, MACs and saved bytes of one contestant: polynomials in T without a constant."""
    _, _, slope, curve, saved, trainable = COSTS[label]
    macs = slope * frames + curve * frames**2
    counted = _SIMULATED | {"agreed": ["torch on meta", "fvcore", "closed form"]}
    return [
        record(label, frames, "params", "params_total", PARAMS_TOTAL),
        record(label, frames, "params", "params_trainable", trainable),
        record(label, frames, "macs", "macs_forward", macs, unit="MAC", evidence=counted),
        record(label, frames, "macs", "macs_train", 3 * macs, unit="MAC", evidence=counted),
        record(label, frames, "saved_bytes", "saved_bytes", saved * frames, unit="B"),
    ]


def time_records(label: str, frames: int) -> list[dict]:
    """Median seconds and the paired ratio of one contestant; PKS4 is the reference."""
    step = SECONDS[label] * frames / 8
    place = {
        "cell": f"time/{label}/t{frames}", "grid": "time", "scale": "tiny", "kind": "noisy",
        "evidence": {"how": "measured", "kernel": "flash_cpu", "dtype": "float32", "device": "cpu"},
    }  # fmt: skip
    samples = [step * factor for factor in (0.9, 0.95, 1.0, 1.1, 1.3)]
    made = [
        record(label, frames, "time", "forward_seconds", step / 3, unit="s", **place),
        record(
            label, frames, "time", "step_seconds", step, unit="s",
            detail={"samples_seconds": samples}, **place,
        ),
    ]  # fmt: skip
    if label == "pks4":
        return made
    ratio = SECONDS[label] / SECONDS["pks4"]
    verdict = "slower" if ratio > 1.2 else "inconclusive"
    detail = {
        "interval": [ratio * 0.95, ratio * 1.05], "aa_interval": [0.99, 1.01],
        "verdict": verdict, "reference": "pks4",
    }  # fmt: skip
    return [*made, record(label, frames, "time", "step_ratio", ratio, detail=detail, **place)]


def accuracy_records(label: str, task: str) -> list[dict]:
    """Top-1 (and within-pair on `temporal`) with made-up intervals of plus and minus 0.04."""
    temporal, pair, spatial = SCORES[label]
    top1 = (temporal if task == "temporal" else spatial) / 500
    chance = 1 / 18 if task == "temporal" else 1 / 10
    place = {
        "cell": f"accuracy/{task}/{label}/t16", "grid": "accuracy", "scale": "tiny", "task": task,
        "batch": 32,
        "evidence": {"how": "measured", "reader": "decord", "dtype": "float32", "device": "cpu",
            "learning_rate": 0.001,
        },
    }  # fmt: skip

    def share(metric: str, value: float, clips: int) -> dict:
        ends = [max(0.0, value - 0.04), min(1.0, value + 0.04)]
        detail = {"interval": ends, "clips": clips, "chance": chance}
        return record(label, 16, "accuracy", metric, value, kind="sampled", detail=detail, **place)

    macs = COSTS[label][2] * 20_000 * (1 if label in ("pks4", "frame_mean") else 3)
    made = [
        share("top1", top1, 500),
        record(label, 16, "accuracy", "training_macs", macs, unit="MAC", **place),
        record(
            label, 16, "accuracy", "training_seconds", 90.0, unit="s", **(place | {"kind": "noisy"})
        ),
    ]
    if task == "temporal":
        made.append(share("within_pair", pair / 400, 400))
    return made


def synthetic_run() -> list[dict]:
    """The records of a complete synthetic run: costs, times, two accuracy tasks, one failure."""
    costs = [one for label in COSTS for frames in FRAMES for one in cost_records(label, frames)]
    times = [one for label in SECONDS for frames in (8, 16) for one in time_records(label, frames)]
    tasks = ("temporal", "spatial")
    scores = [one for task in tasks for label in SCORES for one in accuracy_records(label, task)]
    place = {"cell": "time/joint/t32", "grid": "time", "scale": "tiny", "status": "timeout"}
    slow = failed("joint", 32, "time", "over the limit of 60 s", **place)
    return [*costs, *times, *scores, slow]


def header(records: list[dict]) -> dict:
    """The first line of the run file that these records would follow."""
    measures: dict[str, list[str]] = {}
    for one in records:
        planned = measures.setdefault(one["cell"], [])
        planned += [one["measure"]] * (one["measure"] not in planned)
    firsts = {one["cell"]: one for one in reversed(records)}
    cells = [
        {key: firsts[cell][key] for key in _CELL}
        | {"id": cell, "measures": planned, "num_classes": 400, "time_limit_seconds": 60.0}
        | {"alone": False, "settings": {}}
        for cell, planned in measures.items()
    ]
    return {
        "type": "run", "schema_version": 1, "run": RUN, "suite": "synthetic", "suite_text": "",
        "created": "2026-01-01T00:00:00Z", "cells": cells, "commit": "0" * 40,
        "dirty": True, "versions": {"python": "3.11.7", "torch": "2.14.1"},
        "environment": {"cpu": "Imaginary CPU", "cores": 2, "memory_bytes": 8 * 2**30},
    }  # fmt: skip


_CELL = ("grid", "label", "title", "model", "family", "scale", "frames", "batch", "task", "options")


def frame(records: list[dict]) -> list[Record]:
    """The records as a report takes them; the schema's version is the file's."""
    bare = ({k: v for k, v in one.items() if k != "schema_version"} for one in records)
    return [Record.model_validate(one) for one in bare]


def seed_records(
    label: str, top1: dict[int, float], *, pair: dict[int, float] | None = None, **changes: Any
) -> list[dict]:
    """Accuracy of one contestant with several seeds: seed -> share of 500 clips, all planted."""
    made = []
    for seed in top1:
        place = {
            "cell": f"learn/{label}/t8/seed{seed}", "grid": "learn", "scale": "tiny",
            "task": "temporal", "evidence": {"how": "measured", "seed": seed, "device": "cpu"},
        } | changes  # fmt: skip
        for metric, shares, chance in (("top1", top1, 1 / 18), ("within_pair", pair, 0.5)):
            if shares is not None:
                share = shares[seed]
                ends = [max(0.0, share - 0.04), min(1.0, share + 0.04)]
                detail = {"interval": ends, "clips": 500, "chance": chance, "predicted": [seed]}
                made.append(
                    record(label, 8, "accuracy", metric, share, kind="sampled", detail=detail,
                           **place)
                )  # fmt: skip
        macs = COSTS[label][2] if label in COSTS else GIGA
        made += [
            record(label, 8, "accuracy", "training_macs", macs, unit="MAC", **place),
            record(label, 8, "accuracy", "training_seconds", 60.0 + seed**2, unit="s",
                   **(place | {"kind": "noisy"})),
        ]  # fmt: skip
    return made


def where_trained(label: str, frames: int, seed: int | None, **changes) -> dict:
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
        share, where = sum(clips) / len(clips), where_trained(label, frames, seed)
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
                   **where_trained(label, frames, seed))
        )  # fmt: skip
    return made


def planted(share: float, clips: int = 200, shift: int = 0) -> list[bool]:
    """A share of clips that are right, spread over them; `shift` moves which ones."""
    return [((7 * (clip + shift)) % clips) < round(share * clips) for clip in range(clips)]
