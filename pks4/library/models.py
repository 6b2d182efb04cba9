"""Contestants by name, and models of one's own beside them."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeVar

from pks4.bench.contestants import catalogue
from pks4.bench.contestants.build import PAPER_CLASSES, PAPER_SCALE, build, configured
from pks4.errors import UserError, unknown_name

if TYPE_CHECKING:
    from torch import nn

Maker = TypeVar("Maker", bound=Callable[..., Any])
FRAMES = 16


def list_models(pattern: str = "*") -> list[str]:
    """Names of the models that `create_model` makes and that match a pattern such as "*mamba*"."""
    return sorted(name for name in catalogue.models() if fnmatchcase(name, pattern))


def create_model(
    name: str,
    *,
    frames: int = FRAMES,
    num_classes: int = PAPER_CLASSES,
    scale: str = PAPER_SCALE,
    device: str = "cpu",
    seed: int = 0,
    **options: Any,
) -> "nn.Module":
    """A contestant for clips (b, frames, 3, h, w), giving logits (b, num_classes), in train mode.

    `scale` is "paper", the published main configuration, or "tiny"; `options` replace its sizes
    (`pks4-bench show model NAME` lists them). Weights are drawn from `seed`, and the caller's
    random numbers go on as they were; on device "meta" there are none. Raises UserError for a name,
    a scale, an option or a value that the model does not know.
    """
    import torch

    entry = entry_named(name)
    with torch.random.fork_rng(devices=[]):
        model: nn.Module = build(
            entry, configured(entry, options, scale),
            frames=frames, num_classes=num_classes, device=device, seed=seed,
        )  # fmt: skip
    return model


def entry_named(name: str) -> catalogue.Entry:
    """A model's entry in the catalogue. Raises UserError for an unknown name."""
    known = catalogue.models()
    if name not in known:
        raise UserError(unknown_name("model", name, known))
    return known[name]


def register_model(maker: Maker) -> Maker:
    """A class or function of yours as a contestant under its own name; a decorator.

    It is called with those of `frames`, `num_classes` and `image_size` that it takes, and makes an
    nn.Module for clips (b, t, 3, h, w). In a file it also works with `--model FILE`, in a package
    by an entry point `NAME = "package.module:NAME"` of the group `pks4.models`. Raises UserError
    where the name is taken.
    """
    catalogue.register(maker)
    return maker
