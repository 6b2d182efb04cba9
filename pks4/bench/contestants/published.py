"""Published numbers beside ours: parameters and GFLOPs that a configuration can be compared with.

`results/published/comparable.csv` has one row for each figure: where it was printed, with which
rounding, what its count leaves out, and why ours differs where it does by more than 1 %. This
module reads the file and compares it with our counts. GFLOPs of these papers are multiply-adds, as
our MACs are, and are compared with the forward of one view.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, computed_field, field_validator

from pks4.bench.contestants import catalogue
from pks4.bench.contestants.build import PAPER_SCALE, Counts
from pks4.bench.contestants.csv_rows import (
    Amount,
    Count,
    CsvRow,
    Link,
    Options,
    Text,
    amount,
    read_rows,
)
from pks4.errors import unknown_name

SCALES = {"params_total": 1e6, "params_trainable": 1e6, "gmacs": 1e9}
NEAR = 0.01  # a difference above this needs a reason


class Figure(CsvRow):
    """One published figure, and the configuration of ours that it can be compared with."""

    model: Text
    options: Options  # over the paper scale
    frames: Count
    num_classes: Count
    quantity: str
    printed: str = Field(alias="published")  # the digits, in M or G, for `views` views
    views: Count
    printed_half_unit: Amount = Field(alias="half_unit", exclude=True)  # of the last digit
    stages: tuple[str, ...]  # the stages of our MACs that their count holds; none: all
    source_url: Link
    where: str  # in the source
    counted: str  # what their count holds or leaves out; empty: as ours
    reason: str  # why ours differs by more than 1 %; empty: it does not

    @field_validator("quantity")
    @classmethod
    def _known(cls, quantity: str) -> str:
        if quantity not in SCALES:
            raise ValueError(unknown_name("quantity", quantity, SCALES))
        return quantity

    @field_validator("printed")
    @classmethod
    def _number(cls, text: str) -> str:
        amount(text)
        return text

    @field_validator("stages", mode="before")
    @classmethod
    def _split(cls, text: str, row: ValidationInfo) -> tuple[str, ...]:
        if text and row.data.get("quantity") != "gmacs":
            raise ValueError("only gmacs have stages")
        return tuple(text.split("+")) if text else ()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def published(self) -> int:
        """In parameters, or in MACs of one view."""
        return round(float(self.printed) * self._unit)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def half_unit(self) -> float:
        """Half a unit of the last printed digit, in the same unit as `published`."""
        return self.printed_half_unit * self._unit

    @property
    def _unit(self) -> float:
        return SCALES[self.quantity] / self.views

    @property
    def configuration(self) -> tuple[str, str, int, int]:
        """Model, options as text, frames and classes: equal for figures of one configuration."""
        return self.model, json.dumps(self.options, sort_keys=True), self.frames, self.num_classes


COLUMNS = Figure.columns()


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A published figure and ours; `alike` is ours in those stages that theirs holds."""

    figure: Figure
    ours: int
    alike: int | None = None

    @property
    def difference(self) -> float:
        """Ours over theirs, less 1."""
        return self.ours / self.figure.published - 1

    @property
    def alike_difference(self) -> float | None:
        """The same, in the stages that both count."""
        return None if self.alike is None else self.alike / self.figure.published - 1

    @property
    def rounds_to_it(self) -> bool:
        """Whether ours, rounded like theirs, gives the printed digits."""
        return abs(self.ours - self.figure.published) <= self.figure.half_unit * (1 + 1e-9)

    @property
    def needs_reason(self) -> bool:
        """Whether the two differ by more than 1 % and more than by rounding."""
        return not self.rounds_to_it and abs(self.difference) > NEAR

    @property
    def verdict(self) -> str:
        """The difference judged, in words."""
        if self.rounds_to_it:
            return "equal as printed"
        return (self.figure.reason or "not explained") if self.needs_reason else "within 1 %"


def pair(figure: Figure, counts: Counts) -> Pair:
    """A figure and the counts of its configuration."""
    if figure.quantity != "gmacs":
        return Pair(figure=figure, ours=getattr(counts, figure.quantity))
    return pair_macs(figure, sum(counts.macs.values()), counts.macs)


def pair_macs(figure: Figure, macs: int, by_stage: Mapping[str, int]) -> Pair:
    """A figure in MACs and ours: all stages and, where known, those that their count holds."""
    known = figure.stages and all(stage in by_stage for stage in figure.stages)
    alike = sum(by_stage[stage] for stage in figure.stages) if known else None
    return Pair(figure=figure, ours=macs, alike=alike)


def find(
    figures: list[Figure], model: str, options: Mapping[str, Any], frames: int, num_classes: int
) -> list[Figure]:
    """The figures of this configuration; `options` are all that `build` was given.

    Defaults of `build` count as given, so that an option that says what holds anyway fits.
    """
    entry = catalogue.models().get(model)
    scale = entry.facts.get("SCALES", {}).get(PAPER_SCALE) if entry else None
    if entry is None or scale is None:
        return []
    ours = _listed({**entry.defaults, **options})
    return [
        figure
        for figure in figures
        if (figure.model, figure.frames, figure.num_classes) == (model, frames, num_classes)
        and _listed({**entry.defaults, **scale, **figure.options}) == ours
    ]


def _listed(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with lists for tuples, as records have them."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}


def read(path: Path | None = None) -> list[Figure]:
    """Every figure of the file. Raises UserError naming file, row and column of what is wrong."""
    return read_rows(path or catalogue.published() / "comparable.csv", Figure)
