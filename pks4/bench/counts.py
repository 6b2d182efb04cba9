"""Parameters and MACs of a model, counted on the spot: built on meta, nothing is computed."""

from dataclasses import dataclass
from typing import Any

from pks4.bench.building import build
from pks4.bench.catalogue import Entry
from pks4.errors import UserError, unknown_name

PAPER_SCALE = "paper"
PAPER_CLASSES = 400  # Kinetics-400


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What one configuration holds and costs: parameters, and MACs of one clip by stage."""

    params_total: int
    params_trainable: int
    macs: dict[str, int]


def configured(entry: Entry, options: dict[str, Any], scale: str = PAPER_SCALE) -> dict[str, Any]:
    """The options over a scale's sizes. Raises UserError for an unknown scale or option."""
    scales = entry.facts.get("SCALES", {})
    if scale not in scales:
        raise UserError(f"model {entry.name!r}: {unknown_name('scale', scale, scales)}")
    for name in options:
        if entry.options is not None and name not in entry.options:
            raise UserError(f"model {entry.name!r}: {unknown_name('option', name, entry.options)}")
    return {**scales[scale], **options}


def count(entry: Entry, options: dict[str, Any], frames: int, num_classes: int) -> Counts:
    """Counts of the model with exactly these options of its `build`.

    The MACs are the model's closed form; the measure `macs` is what checks it.
    """
    model = build(entry, options, frames=frames, num_classes=num_classes)
    parameters = list(model.parameters())
    return Counts(
        params_total=sum(p.numel() for p in parameters),
        params_trainable=sum(p.numel() for p in parameters if p.requires_grad),
        macs=model.macs(),
    )
