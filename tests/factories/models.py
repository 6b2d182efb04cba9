"""Every contestant at tiny scale, as its file declares it: variants, frames, what stays silent."""

from importlib.metadata import PackageNotFoundError, distribution

import pytest
import torch

from pks4.bench.contestants import catalogue
from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.plan.cell import Cell
from pks4.weights import imagenet

MODELS = catalogue.models()
VARIANTS = [
    pytest.param(name, options, id=f"{name}-{variant}")
    for name, entry in MODELS.items()
    for variant, options in entry.facts.get("VARIANTS", {"default": {}}).items()
]
every_variant = pytest.mark.parametrize(("name", "options"), VARIANTS)
FRAMES = (1, 3, 8)
LITE0 = "tf_efficientnet_lite0"


def sizes(name, options):
    """Tiny scale with as few blocks as tell one from all of them, and the last ones from the rest.

    What a block costs and keeps does not depend on how many there are.
    """
    settings = {**MODELS[name].facts["SCALES"]["tiny"], **options}
    if "depth" in settings:
        named = {"adapter_layers", "decoder_layers"} & settings.keys()  # the last two blocks
        settings["depth"] = 3 if named else 2
    return settings


def tiny(name, options, frames=3, device="cpu", **more):
    """A contestant of these sizes and options, the same weights each time."""
    torch.manual_seed(0)
    settings = {**sizes(name, options), **more}
    with torch.device(device):
        return MODELS[name].load().build(frames=frames, num_classes=5, **settings)


def inputs(name, options, frames, settings):
    """The same contestant as a measure gets it."""
    cell = Cell(
        id="cell", grid="grid", label=name, title=name, model=name, family="", scale="tiny",
        frames=frames, batch=2, num_classes=5, task=None, options=sizes(name, options),
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


def usual_frames(name, options):
    """The fewest frames above two that a contestant takes."""
    return next(t for t in (3, 4, 8, 10) if frames_that_fit(name, options, t))


def _runs():
    """Each variant at its usual frames, and each model at one and at eight with a first variant."""
    for name in MODELS:
        variants = [param for param in VARIANTS if param.values[0] == name]
        for param in variants:
            usual = usual_frames(*param.values)
            yield pytest.param(*param.values, usual, id=f"{param.id}-{usual}")
        for frames in (1, 8):
            for param in variants:
                if frames_that_fit(*param.values, frames):
                    yield pytest.param(*param.values, frames, id=f"{param.id}-{frames}")
                    break


def first_of_each(params):
    """The first set of parameters of each model."""
    return list({param.values[0]: param for param in reversed(params)}.values())[::-1]


RUNS = list(_runs())
# For what depends on the operators of a model, not on each of its options: PKS4 in all of its
# variants, any other contestant in its first.
CORE = [*first_of_each(VARIANTS), *(p for p in VARIANTS if p.values[0] == "pks4")]
CORE = list({param.id: param for param in CORE}.values())
core_variant = pytest.mark.parametrize(("name", "options"), CORE)
REFUSED = [
    pytest.param(*param.values, frames, id=f"{param.id}-{frames}")
    for param in VARIANTS
    for frames in FRAMES
    if not frames_that_fit(*param.values, frames)
]
every_run = pytest.mark.parametrize(("name", "options", "frames"), RUNS)


def installed():
    """Whether the package of ImageNet weights is."""
    try:
        distribution(imagenet.PACKAGE)
    except PackageNotFoundError:
        return False
    return True


with_weights = pytest.mark.skipif(not installed(), reason="the extra `pretrained` is not installed")
