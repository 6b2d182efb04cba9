"""The inputs of a measure: its cell, its settings, and fresh models and clips of the cell."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pks4.bench.contestants import build as building
from pks4.bench.contestants import catalogue, modules
from pks4.bench.plan.cell import Cell

if TYPE_CHECKING:
    from torch import Tensor


def _quiet(done: float, total: float, text: str) -> None:
    """A progress callback that does nothing."""


@dataclass(frozen=True)
class MeasureInput:
    """One cell with the settings of one measure."""

    cell: Cell
    settings: dict[str, Any]  # of this measure
    progress: Callable[[float, float, str], None] = field(default=_quiet)
    scratch: Path | None = None  # a folder that is kept until the measure is recorded

    def build(self, device: str = "cpu", frames: int | None = None) -> Any:
        """A fresh model of this cell's contestant, in train mode, from a fixed seed.

        An nn.Module with the methods of the contract in docs/extend.md, such as macs().
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

    def small(self, frames: int) -> "MeasureInput":
        """The same contestant with `frames` frames, at tiny scale if it has one."""
        entry, cell = self._entry(), self.cell
        step = entry.frames_step(cell.options)
        change: dict[str, Any] = {"frames": -(-frames // step) * step, "batch": 1}
        scales = entry.facts["SCALES"]
        if "tiny" in scales and scales is not catalogue.PLAIN_SCALES:
            sizes = scales[cell.scale]
            chosen = {k: v for k, v in cell.options.items() if k not in sizes or sizes[k] != v}
            change |= {"options": {**scales["tiny"], **chosen}, "scale": "tiny"}
        return MeasureInput(cell.model_copy(update=change), self.settings)

    def stages(self) -> dict[str, tuple[str, ...]] | None:
        """`STAGES` of the contestant's file: stage -> parts of module names; None if not stated."""
        return self._entry().facts.get("STAGES")

    def module(self) -> Any:
        """The class of the user's own that stands where PKS4 stands; None for any other model."""
        entry = self._entry()
        return entry.module_class() if entry.module else None

    def module_facts(self) -> dict[str, Any]:
        """File, hash and class of that module, and whether it starts as the identity; or empty."""
        entry = self._entry()
        return modules.facts(entry) if entry.module else {}

    def asked_attention(self) -> str | None:
        """The option `attention`, given or default; None for a contestant without it."""
        return self.cell.options.get("attention", self._entry().defaults.get("attention"))

    def _entry(self) -> catalogue.Entry:
        return catalogue.models()[self.cell.model]


def build(
    cell: Cell,
    device: str = "cpu",
    frames: int | None = None,
    num_classes: int | None = None,
    seed: int = 0,
) -> Any:
    """Build a cell's contestant from a seed; on meta nothing is initialised."""
    return building.build(
        catalogue.models()[cell.model],
        cell.options,
        frames=frames or cell.frames,
        num_classes=num_classes or cell.num_classes,
        device=device,
        seed=seed,
    )
