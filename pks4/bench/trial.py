"""What a measure is given: its cell, its settings, fresh models and clips for them."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pks4.bench import catalogue
from pks4.bench.plan import Cell

if TYPE_CHECKING:
    from torch import Tensor, nn


def _quiet(done: float, total: float, text: str) -> None:
    """A progress callback that says nothing."""


@dataclass(frozen=True)
class Trial:
    """One cell as a measure sees it."""

    cell: Cell
    settings: dict[str, Any]  # of this measure
    progress: Callable[[float, float, str], None] = field(default=_quiet)
    scratch: Path | None = None  # kept until this measure of the cell is recorded

    def build(self, device: str = "cpu", frames: int | None = None) -> Any:
        """A fresh model of this cell's contestant, in train mode, from a fixed seed.

        An nn.Module with the methods of the contract in CONTRIBUTING.md, such as macs().
        """
        return build(self.cell, device, frames)

    def clip(
        self, device: str = "cpu", frames: int | None = None, batch: int | None = None
    ) -> "Tensor":
        """A random clip of this cell's size: (batch, frames, 3, image_size, image_size)."""
        import torch

        size = self.cell.options["image_size"]
        shape = (batch or self.cell.batch, frames or self.cell.frames, 3, size, size)
        if device == "meta":
            return torch.empty(shape, device="meta")
        return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)


def build(
    cell: Cell,
    device: str = "cpu",
    frames: int | None = None,
    num_classes: int | None = None,
    seed: int = 0,
) -> Any:
    """Build a cell's contestant from a seed; on meta nothing is initialised."""
    import torch

    module = catalogue.models()[cell.model].load()
    torch.manual_seed(seed)
    where = torch.device("meta") if device == "meta" else contextlib.nullcontext()
    with where:
        model = module.build(
            frames=frames or cell.frames,
            num_classes=num_classes or cell.num_classes,
            **cell.options,
        )
    return model.to(device).train()


def scan_backend(model: "nn.Module", device: str = "cpu") -> str | None:
    """The scan backends that run in a model's layers, or None where there is no scan.

    In float32, which is what is measured; "auto" is replaced by what it takes.
    """
    from pks4.scan import resolve

    named = {str(m.scan_backend) for m in model.modules() if hasattr(m, "scan_backend")}
    return "+".join(sorted({resolve(name, device) for name in named})) or None
