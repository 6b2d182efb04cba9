"""How many clips a training sees and what they take on a disk, known without the videos.

From an index, if one is given; of embedded tasks from the settings; else from published figures:
`results/published/cost.csv` has one line a figure, with its source. None was measured here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pks4.bench.contestants import catalogue, published
from pks4.bench.plan.cell import Cell
from pks4.data.dataset import DESCRIPTION
from pks4.data.kinetic_digits.tasks import TASKS, class_names
from pks4.errors import UserError, unknown_name

COLUMNS = ("subject", "quantity", "value", "source_url", "where", "note")
GPU = "gpu"


@dataclass(frozen=True, kw_only=True)
class CostFigure:
    """One figure in SI units (clips, B, FLOP/s, a share of 1), and where it is printed."""

    subject: str  # a data set as `pks4-bench data index` names it, or gpu
    quantity: str
    value: float
    source_url: str
    where: str
    note: str

    @property
    def source(self) -> str:
        """Where it is printed, and what it covers, for a line of text."""
        return f"{self.source_url} ({self.where})" + (f": {self.note}" if self.note else "")


def read(path: Path | None = None) -> dict[tuple[str, str], CostFigure]:
    """Every figure by subject and quantity.

    Raises UserError naming file and row of a line that is none, or stands twice.
    """
    path = path or catalogue.published() / "cost.csv"
    found: dict[tuple[str, str], CostFigure] = {}
    for row, fields in published.fields(path, COLUMNS):
        figure = _figure(f"{path}, row {row}", fields)
        key = (figure.subject, figure.quantity)
        if key in found:
            raise UserError(f"{path}, row {row}: {' '.join(key)} stands twice; keep one")
        found[key] = figure
    return found


def _figure(where: str, fields: dict[str, str]) -> CostFigure:
    text = dict(fields)
    given = text.pop("value")
    try:
        value = float(given)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UserError(f"{where}, column value: must be a number above 0, got {given!r}")
    if not text["source_url"].startswith("https://"):
        raise UserError(f"{where}, column source_url: must begin with https://")
    return CostFigure(value=value, **text)


Figures = Mapping[tuple[str, str], CostFigure]
MEGABYTE = 1e6


@dataclass(frozen=True, kw_only=True)
class DataSize:
    """A data set in numbers: clips by split, classes, bytes (None: not known), and where from."""

    name: str
    clips: dict[str, int]
    classes: int
    bytes_: float | None
    sources: tuple[str, ...]

    def of(self, split: str, cell: str) -> int:
        """Clips of a split; UserError where it has none."""
        if split not in self.clips:
            raise UserError(f"cell {cell}: {unknown_name('split', split, self.clips)}")
        return self.clips[split]


def size_of(cell: Cell, figures: Figures, clip_megabytes: float | None = None) -> DataSize:
    """The size of the data set that an accuracy cell learns from; nothing is rendered or opened.

    `clip_megabytes`: the mean of a clip, in 10^6 bytes; then bytes are clips times that.

    Raises UserError for a data set of which neither an index nor published figures are there.
    """
    name, clips, classes, said = _counted(cell, figures)
    sources = list(said)
    bytes_: float | None = None
    if clip_megabytes:
        bytes_ = sum(clips.values()) * clip_megabytes * MEGABYTE
        sources.append(f"bytes: {sum(clips.values()):,} clips of {clip_megabytes:g} MB, as given")
    elif figure := figures.get((name, "bytes")):
        bytes_ = figure.value
        sources.append(f"bytes: {figure.source}")
    return DataSize(name=name, clips=clips, classes=classes, bytes_=bytes_, sources=tuple(sources))


def _counted(cell: Cell, figures: Figures) -> tuple[str, dict[str, int], int, tuple[str, ...]]:
    """Name, clips by split, classes, and where they are from."""
    if cell.data:
        return _on_disk(Path(cell.data))
    name = str(cell.task)
    if name in TASKS:
        counts = cell.settings["accuracy"]["clips"]
        return name, dict(counts), len(class_names(name)), ("clips: settings of the suite",)
    found = {key[1].removeprefix("clips_"): figure for key, figure in figures.items()
             if key[0] == name and key[1].startswith("clips_")}  # fmt: skip
    if not found:
        raise UserError(
            f"cell {cell.id}: no published size of {name!r} in results/published/cost.csv; "
            "add --data FOLDER with its index"
        )
    clips = {split: int(figure.value) for split, figure in found.items()}
    said = dict.fromkeys(f"clips: {figure.source}" for figure in found.values() if figure.note)
    plain = dict.fromkeys(f"clips: {figure.source}" for figure in found.values())
    return name, clips, cell.num_classes, tuple(said or plain)


def _on_disk(folder: Path) -> tuple[str, dict[str, int], int, tuple[str, ...]]:
    from pks4.data.dataset import Dataset
    from pks4.data.index_folder import Indexed

    if (folder / DESCRIPTION).is_file():
        made = Dataset.read(folder)
        return made.task, made.counts, len(made.classes), (f"clips: {folder}",)
    index = Indexed.read(folder)
    return index.name, index.counts, len(index.classes), (f"clips: the index {folder}",)
