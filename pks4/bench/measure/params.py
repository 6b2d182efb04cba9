"""Parameters: all of them, and those that are trained."""

from collections.abc import Iterator

from pks4.bench.measure.parts.input import Trial
from pks4.bench.records.record import Reading

METRICS = ("params_total", "params_trainable")


def measure(trial: Trial) -> Iterator[Reading]:
    """Count on meta tensors; a parameter used twice counts once."""
    parameters = list(trial.build("meta").parameters())
    evidence = {"how": "counted", "rule": "unique parameters", "device": "meta"}
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    yield Reading(
        metric="params_total",
        value=sum(p.numel() for p in parameters),
        unit="1",
        kind="exact",
        evidence=evidence,
    )
    yield Reading(
        metric="params_trainable", value=trained, unit="1", kind="exact", evidence=evidence
    )
