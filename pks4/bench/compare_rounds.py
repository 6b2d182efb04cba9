"""Several rounds of one cell as one measurement: samples of all its processes together."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pks4.bench import pairing
from pks4.bench.compare_noisy import RATIO, SECONDS

# Lists of a time's details that grow by what each round adds.
GROWING = (
    "samples_seconds", "cpu_seconds", "reference_seconds", "again_seconds", "rounds_by_process",
    "device_seconds",
)  # fmt: skip


def joined(rounds: Sequence[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Measure -> one event; a measure that failed in any round has failed."""
    found: dict[str, dict[str, Any]] = {}
    for measure in dict.fromkeys(name for one in rounds for name in one):
        events = [one[measure] for one in rounds if measure in one]
        failed = next((e for e in events if e["event"] == "failed"), None)
        found[measure] = failed or _joined(events)
    return found


def _joined(events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if len(events) == 1:
        return dict(events[0])
    first = events[0]
    readings = {r["metric"]: _reading([_of(e, r["metric"]) for e in events])
                for r in first["readings"]}  # fmt: skip
    for metric, reading in readings.items():
        seconds = readings.get(metric.removesuffix(RATIO) + SECONDS)
        if metric.endswith(RATIO) and seconds is not None:
            _restate(reading, seconds)
    return {
        **first,
        "readings": list(readings.values()),
        "seconds": sum(e["seconds"] for e in events),
    }


def _of(event: dict[str, Any], metric: str) -> dict[str, Any]:
    return next(r for r in event["readings"] if r["metric"] == metric)


def _reading(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The readings of one metric as one: lists joined, the value their median."""
    first = rounds[0]
    detail = dict(first["detail"])
    for name in GROWING:
        if name in detail:
            detail[name] = [x for one in rounds for x in one["detail"][name]]
    if "samples_seconds" in detail:
        cpu, wall = np.array(detail["cpu_seconds"]), np.array(detail["samples_seconds"])
        detail["cpu_per_wall"] = float(np.median(cpu / wall))
        value = float(np.median(wall))
    else:
        value = float(np.median([one["value"] for one in rounds]))
    evidence = {**first["evidence"], "processes": len(rounds)}
    return {**first, "value": value, "detail": detail, "evidence": evidence}


def _restate(ratio: dict[str, Any], seconds: dict[str, Any]) -> None:
    """The ratio and its intervals anew, from the samples of all rounds."""
    detail = ratio["detail"]
    found = pairing.compare(
        *(np.array(x) for x in (
            seconds["detail"]["samples_seconds"], detail["reference_seconds"],
            detail["again_seconds"],
        ))
    )  # fmt: skip
    ratio["value"] = found.value
    detail |= {
        "interval": found.interval,
        "aa_ratio": found.control,
        "aa_interval": found.control_interval,
        "least_effect": found.least_effect,
        "verdict": found.verdict,
    }
