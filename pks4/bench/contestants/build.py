"""Builds every contestant from its catalogue entry and options; counts parameters and MACs.

The counts are taken from a model on meta, so nothing is computed.
"""

import contextlib
from dataclasses import dataclass
from typing import Any

from pks4.bench.contestants.catalogue import Entry
from pks4.errors import UserError, unknown_name


def build(
    entry: Entry,
    options: dict[str, Any],
    *,
    frames: int,
    num_classes: int,
    device: str = "meta",
    seed: int = 0,
) -> Any:
    """The model with exactly these options, in train mode; on meta nothing is initialised.

    An nn.Module with the methods of the contract in docs/extend.md, such as macs(). It is built on
    the CPU and moved, so that a seed gives the same weights on every device. Raises UserError, one
    line, for a value that the model refuses.
    """
    import torch

    from pks4.models import training_options

    common = {name: options[name] for name in entry.common if name in options}
    given = {name: value for name, value in options.items() if name not in common}
    module = entry.load()
    torch.manual_seed(seed)
    where = torch.device("meta") if device == "meta" else contextlib.nullcontext()
    try:
        with where:
            model = module.build(frames=frames, num_classes=num_classes, **given)
            training_options.apply(model, **common, stages=entry.facts.get("STAGES"))
    except (ValueError, TypeError) as error:
        raise UserError(f"model {entry.name!r}: {' '.join(str(error).split())}") from error
    return model.to(device).train()


def draw_zeros(model: Any) -> None:
    """Draw weights that are all 0, such as a gate, from a normal, from a fixed seed.

    With a closed gate a model gives the same whatever lies behind it.
    """
    import torch

    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if not weight.any():
                weight.normal_(0, 0.1, generator=chance)


PAPER_SCALE = "paper"
PAPER_CLASSES = 400  # Kinetics-400


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Parameters of a configuration, and MACs of one clip by stage."""

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

    The MACs are the model's closed form, which the measure `macs` checks.
    """
    model = build(entry, options, frames=frames, num_classes=num_classes)
    parameters = list(model.parameters())
    return Counts(
        params_total=sum(p.numel() for p in parameters),
        params_trainable=sum(p.numel() for p in parameters if p.requires_grad),
        macs=model.macs(),
    )
