"""Image models that a suite's trainings start from, made by themselves: `pks4-bench data pretrain`.

They are the ones that the measure `accuracy` would ask for, made by the same code.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pks4.bench.measure.parts.image_models import (
    STILLS,
    asked_of,
    build_twin,
    image_twin,
    kernel_on,
)
from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.plan.cell import Cell
from pks4.errors import UserError, unknown_name

if TYPE_CHECKING:
    from pks4.train.image_pretraining import Asked

Progress = Callable[[float, float, str], None]


@dataclass(frozen=True)
class Pretraining:
    """An image model that contestants of a suite start from, and one of their cells."""

    asked: "Asked"
    inputs: MeasureInput
    contestants: tuple[str, ...]  # labels


@dataclass(frozen=True)
class Made:
    """A file that was written, its facts, and whether the shipped file has the same weights."""

    path: Path
    facts: dict[str, Any]
    as_shipped: bool | None  # None: no such file is shipped


def pretrainings(cells: Sequence[Cell], twins: Sequence[str] = ()) -> list[Pretraining]:
    """The distinct image models of these cells, all or those of the named twins.

    Raises UserError if there is none, or for a name that is no twin of these cells.
    """
    found: dict[str, Pretraining] = {}
    for cell in cells:
        settings = cell.settings.get("accuracy", {})
        if settings.get("image_weights") != STILLS:
            continue
        inputs = MeasureInput(cell, settings)
        asked = asked_of(inputs, image_twin(cell.model))
        labels = (*found[asked.file].contestants, cell.label) if asked.file in found else ()
        unique = tuple(dict.fromkeys(labels or (cell.label,)))
        found[asked.file] = Pretraining(asked, inputs, unique)
    names = sorted({p.asked.model for p in found.values()})
    if not names:
        raise UserError("no contestant of this suite starts from an image model trained on stills")
    for twin in twins:
        if twin not in names:
            raise UserError(unknown_name("image twin of this suite", twin, names))
    return [p for p in found.values() if p.asked.model in (twins or names)]


def make(wanted: Sequence[Pretraining], folder: Path, progress: Progress) -> Iterator[Made]:
    """Train these image models, each to a file of `folder`; a file that is there is kept."""
    from pks4.simulate.attention_kernels import declared_attention
    from pks4.train.image_pretraining import pretrained
    from pks4.weights.image_files import SHIPPED, read_image_model

    for one in wanted:
        path, settings = folder / one.asked.file, one.inputs.settings

        def report(done: float, total: float, text: str, name: str = one.asked.model) -> None:
            progress(done, total, f"{name}: {text}")

        build = build_twin(one.inputs, image_twin(one.inputs.cell.model))
        with declared_attention(kernel_on(settings["device"], "no", settings)):
            model = pretrained(path, one.asked, build, report, settings["device"])
        shipped = SHIPPED / one.asked.file
        same = None
        if shipped.exists():
            same = read_image_model(shipped).facts["digest"] == model.facts["digest"]
        yield Made(path, model.facts, same)
