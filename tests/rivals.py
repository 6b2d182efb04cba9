"""Every contestant at tiny scale, as its file declares it: variants, frames, what stays silent."""

import pytest
import torch

from pks4.bench.contestants import catalogue
from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.plan.cell import Cell

MODELS = catalogue.models()
VARIANTS = [
    pytest.param(name, options, id=f"{name}-{variant}")
    for name, entry in MODELS.items()
    for variant, options in entry.facts.get("VARIANTS", {"default": {}}).items()
]
every_variant = pytest.mark.parametrize(("name", "options"), VARIANTS)


def tiny(name, options, frames=3, device="cpu", **more):
    """A contestant at tiny scale with these options, the same weights each time."""
    torch.manual_seed(0)
    settings = {**MODELS[name].facts["SCALES"]["tiny"], **options, **more}
    with torch.device(device):
        return MODELS[name].load().build(frames=frames, num_classes=5, **settings)


def inputs(name, options, frames, settings):
    """The same contestant as a measure gets it."""
    sizes = MODELS[name].facts["SCALES"]["tiny"]
    cell = Cell(
        id="cell", grid="grid", label=name, title=name, model=name, family="", scale="tiny",
        frames=frames, batch=2, num_classes=5, task=None, options={**sizes, **options},
        measures=[], settings={}, time_limit_seconds=60, alone=False,
    )  # fmt: skip
    return MeasureInput(cell, settings)


def clip(frames=3, batch=2, size=64, device="cpu"):
    """A clip of noise (b, t, 3, h, w), the same each time."""
    if device == "meta":
        return torch.empty(batch, frames, 3, size, size, device="meta")
    g = torch.Generator().manual_seed(1)
    return torch.randn(batch, frames, 3, size, size, generator=g)


def shake(model):
    """Large random values for every weight but A_log, so that nothing is silent."""
    g = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if not name.endswith("_log"):
                p.copy_(0.3 * torch.randn(p.shape, generator=g) + (p.ndim == 1))
    return model


def frames_that_fit(name, options, frames):
    """Whether a contestant takes so many frames: FRAMES_STEP says which multiples."""
    step = options.get("tubelet", MODELS[name].facts.get("FRAMES_STEP", 1))
    return frames % step == 0
