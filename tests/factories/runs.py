"""Made-up runs for the tests of compare, claims and history: nothing here was measured.

A run has one cell of each kind: exact bytes, paired times of three processes, top-1 with per-clip
predictions of three seeds. `change` plants a difference in one of them.
"""

from pathlib import Path

import numpy as np

from pks4.bench.plan.cell import Cell
from pks4.bench.records.record import Record, RunHeader
from pks4.bench.records.run_file import RunFile

CLIPS, CLASSES = 400, 4
MACHINE = {"cpu": "CPU A", "cores": 2, "os": "Linux x86_64"}
SOURCE = {
    "versions": {"torch": "2.15.0"}, "commit": "a" * 40, "dirty": False, "environment": MACHINE,
}  # fmt: skip
SUITE_TEXT = 'name = "made"'


def cell(cell_id, measures, settings=None, **more):
    """A cell of the plan; grid, label and frames are read off its id."""
    grid, label, frames = cell_id.split("/")[:3]
    fields = {
        "id": cell_id, "grid": grid, "label": label, "title": label, "model": label,
        "family": "PKS4", "scale": "tiny", "frames": int(frames[1:]), "batch": 1,
        "num_classes": 5, "task": None, "options": {}, "measures": measures,
        "settings": settings or {m: {} for m in measures}, "time_limit_seconds": 60.0,
        "alone": False,
    }  # fmt: skip
    return Cell(**fields | more)


def record(where, measure, metric, value, kind, unit="1", run="base-1", **more):
    """A record in a cell."""
    shared = where.model_dump(include=set(Record.model_fields) & set(Cell.model_fields))
    fields = {
        **SOURCE, **shared, "run": run, "cell": where.id, "measure": measure, "metric": metric,
        "parts": 1, "status": "ok", "value": value, "unit": unit, "kind": kind,
        "evidence": {"rule": f"{measure}/v1", "kernel": "flash_cpu"},
        "created": "2026-01-01T00:00:00Z", "seconds": 0.1,
    }  # fmt: skip
    return Record(**fields | more)


def failed(where, measure, reason, **more):
    """The record of a measure that gave no number."""
    return record(
        where, measure, "*", None, None, unit=None, status="failed", reason=reason, **more
    )


def run_file(records, cells, name="base-1", suite="made", path=None, **source):
    """A run as it is read."""
    created = {"created": "2026-01-01T00:00:00Z"} | source
    header = RunHeader(
        run=name, suite=suite, suite_text=SUITE_TEXT, cells=cells, **{**SOURCE, **created}
    )
    named = [r.model_copy(update={"run": name}) for r in records]
    return RunFile(path or Path(f"{name}.jsonl"), header, named)


def time_records(where, chance, factor=1.0, processes=3, rounds=7, spread=(0.01, 0.02)):
    """Both records of a forward; `spread` is the log sd between processes and between rounds."""
    level = np.repeat(chance.normal(0, spread[0], processes), rounds)
    n = processes * rounds
    reference, again = (0.01 * np.exp(chance.normal(0, spread[1], n)) for _ in range(2))
    candidate = 0.02 * factor * np.exp(level + chance.normal(0, spread[1], n))
    by_process = [rounds] * processes
    seconds = {"samples_seconds": candidate.tolist(), "rounds_by_process": by_process}
    ratio = {
        "reference_seconds": reference.tolist(), "again_seconds": again.tolist(),
        "rounds_by_process": by_process,
    }  # fmt: skip
    value = float(np.median(candidate / reference))
    return [
        record(where, "time", "forward_seconds", float(np.median(candidate)), "noisy", "s",
               parts=2, detail=seconds),
        record(where, "time", "forward_ratio", value, "noisy", parts=2, detail=ratio),
    ]  # fmt: skip


def top1_record(where, share, chance, label=None, **more):
    """A top-1 with so many of its clips right."""
    label = np.arange(CLIPS) % CLASSES if label is None else label
    right = chance.permutation(len(label)) < round(share * len(label))
    predicted = np.where(right, label, (label + 1) % CLASSES)
    detail = {
        "clips": len(label), "label": label.tolist(), "predicted": predicted.tolist()
    }  # fmt: skip
    return record(where, "accuracy", "top1", float(right.mean()), "sampled", detail=detail, **more)


COST = cell("cost/ours/t8", ["saved_bytes"])
TIME = cell("time/ours/t8", ["time"])
LEARN = [cell(f"learn/ours/t8/seed{s}", ["accuracy"], task="temporal") for s in range(3)]
CELLS = [COST, TIME, *LEARN]


def made(name="base-1", *, saved=1000, factor=1.0, share=0.6, noise=0, drop=(), **source):
    """A whole run: exact, noisy and sampled numbers; `noise` is the seed of what chance makes."""
    chance = np.random.default_rng([noise, 1])
    by_class = {"Linear": saved - 400, "LayerNorm": 400}
    records = [
        record(COST, "saved_bytes", "saved_bytes", saved, "exact", "B",
               detail={"by_class": by_class}),
        *time_records(TIME, chance, factor, spread=(0.002, 0.008)),
        *(top1_record(c, share, np.random.default_rng([2, s])) for s, c in enumerate(LEARN)),
    ]  # fmt: skip
    kept = [r for r in records if r.metric not in drop]
    return run_file(kept, CELLS, name, **source)


def written(run, folder):
    """The run as a file in a folder, and its path."""
    path = folder / f"{run.header.run}.jsonl"
    lines = [run.header.model_dump_json(), *(r.model_dump_json() for r in run.records)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path
