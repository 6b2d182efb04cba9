"""Published numbers beside ours: parameters and GFLOPs that a configuration can be held against.

`results/published/comparable.csv` has one line for each figure: where it was printed, with which
rounding, what its count leaves out, and why ours differs where it does by more than 1 %. Here the
file is read and checked, and joined with counts; nothing of ours is stored in it. GFLOPs of these
papers are multiply-adds, as our MACs are, and are held against the forward of one view.
"""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pks4.bench.contestants import catalogue
from pks4.bench.contestants.build import PAPER_SCALE, Counts
from pks4.errors import UserError, unknown_name

Quantity = Literal["params_total", "params_trainable", "gmacs"]
SCALES = {"params_total": 1e6, "params_trainable": 1e6, "gmacs": 1e9}
COLUMNS = (
    "model", "options", "frames", "num_classes", "quantity", "published", "views", "half_unit",
    "stages", "source_url", "where", "counted", "reason",
)  # fmt: skip
NEAR = 0.01  # a difference above this needs a reason


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One published figure, and the configuration of ours that it can be held against."""

    row: int  # in the file, the header being row 1
    model: str
    options: dict[str, Any]  # over the paper scale
    frames: int
    num_classes: int
    quantity: str
    printed: str  # the digits, in M or G, for `views` views
    views: int
    published: int  # in parameters, or in MACs of one view
    half_unit: float  # half a unit of the last digit that was printed, in the same unit
    stages: tuple[str, ...]  # the stages of our MACs that their count holds; none: all
    source_url: str
    where: str  # in the source
    counted: str  # what their count holds or leaves out; empty: as ours
    reason: str  # why ours differs by more than 1 %; empty: it does not

    @property
    def configuration(self) -> tuple[str, str, int, int]:
        """Model, options as text, frames and classes: equal for figures of one configuration."""
        return self.model, json.dumps(self.options, sort_keys=True), self.frames, self.num_classes


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
        """The same for what both count."""
        return None if self.alike is None else self.alike / self.figure.published - 1

    @property
    def rounds_to_it(self) -> bool:
        """Whether ours, rounded as theirs was, gives what they printed."""
        return abs(self.ours - self.figure.published) <= self.figure.half_unit * (1 + 1e-9)

    @property
    def needs_reason(self) -> bool:
        """Whether the two differ by more than 1 % and more than by rounding."""
        return not self.rounds_to_it and abs(self.difference) > NEAR

    @property
    def verdict(self) -> str:
        """What to make of the difference, in words."""
        if self.rounds_to_it:
            return "equal as printed"
        return (self.figure.reason or "not explained") if self.needs_reason else "within 1 %"


def pair(figure: Figure, counts: Counts) -> Pair:
    """A figure beside what was counted for its configuration."""
    if figure.quantity != "gmacs":
        return Pair(figure=figure, ours=getattr(counts, figure.quantity))
    return pair_macs(figure, sum(counts.macs.values()), counts.macs)


def pair_macs(figure: Figure, macs: int, by_stage: Mapping[str, int]) -> Pair:
    """A figure in MACs beside ours, whole and, where known, in the stages that theirs holds."""
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
    path = path or _path()
    return [_figure(path, row, field) for row, field in fields(path, COLUMNS)]


def fields(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """The lines of a CSV file with these columns, each with its row, from 2.

    Raises UserError naming file and row for other columns, or a line with more or fewer fields.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    header = tuple(lines[0]) if lines else ()
    if header != columns:
        missing = [name for name in columns if name not in header] or "none, but their order"
        raise UserError(f"{path}, row 1: columns must be {', '.join(columns)}; missing: {missing}")
    for row, line in enumerate(lines[1:], start=2):
        if len(line) != len(columns):
            raise UserError(f"{path}, row {row}: {len(line)} fields instead of {len(columns)}")
    return [(row, dict(zip(columns, line, strict=True))) for row, line in enumerate(lines[1:], 2)]


def _path() -> Path:
    return catalogue.published() / "comparable.csv"


def _wrong(path: Path, row: int, column: str, what: str) -> UserError:
    return UserError(f"{path}, row {row}, column {column}: {what}")


def _figure(path: Path, row: int, field: dict[str, str]) -> Figure:
    def number(column: str, kind: type = float) -> Any:
        try:
            value = kind(field[column])
        except ValueError:
            value = None
        if value is None or not 0 < value < float("inf"):
            what = "a whole number" if kind is int else "a number"
            raise _wrong(path, row, column, f"must be {what} above 0, got {field[column]!r}")
        return value

    if not field["model"]:
        raise _wrong(path, row, "model", "is empty")
    if field["quantity"] not in SCALES:
        raise _wrong(path, row, "quantity", unknown_name("quantity", field["quantity"], SCALES))
    if field["stages"] and field["quantity"] != "gmacs":
        raise _wrong(path, row, "stages", "only gmacs have stages")
    if not (url := field["source_url"]).startswith("https://"):
        raise _wrong(path, row, "source_url", f"must begin with https://, got {url!r}")
    views = number("views", int)
    unit = SCALES[field["quantity"]] / views
    return Figure(
        row=row,
        model=field["model"],
        options=_options(path, row, field["options"]),
        frames=number("frames", int),
        num_classes=number("num_classes", int),
        quantity=field["quantity"],
        printed=field["published"],
        views=views,
        published=round(number("published") * unit),
        half_unit=number("half_unit") * unit,
        stages=tuple(field["stages"].split("+")) if field["stages"] else (),
        source_url=url,
        where=field["where"],
        counted=field["counted"],
        reason=field["reason"],
    )


def _options(path: Path, row: int, text: str) -> dict[str, Any]:
    try:
        options = json.loads(text)
    except json.JSONDecodeError as error:
        raise _wrong(path, row, "options", f"not valid JSON: {error}") from error
    if not isinstance(options, dict):
        raise _wrong(path, row, "options", f"must be a JSON object, got {text!r}")
    return options
