"""The size of a training's data: clips by split, classes, and bytes on a disk, without the videos.

From an index if one is given, for embedded tasks from the settings, else from published figures:
`results/published/cost.csv` has one row a figure, with its source. Nothing is measured here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pks4.bench.contestants import catalogue
from pks4.bench.contestants.csv_rows import Amount, CsvRow, Link, read_rows
from pks4.bench.plan.cell import Cell
from pks4.data.dataset import DESCRIPTION
from pks4.data.kinetic_digits.tasks import TASKS, class_names
from pks4.errors import UserError, unknown_name

GPU = "gpu"


class CostFigure(CsvRow):
    """One figure in SI units (clips, B, FLOP/s, a share of 1), and where it is printed."""

    subject: str  # a data set as `pks4-bench data index` names it, or gpu
    quantity: str
    value: Amount
    source_url: Link
    where: str
    note: str

    @property
    def source(self) -> str:
        """Where it is printed, and what it covers, for a line of text."""
        return f"{self.source_url} ({self.where})" + (f": {self.note}" if self.note else "")


COLUMNS = CostFigure.columns()


def read(path: Path | None = None) -> dict[tuple[str, str], CostFigure]:
    """Every figure by subject and quantity.

    Raises UserError naming file and row of what is wrong, or there twice.
    """
    path = path or catalogue.published() / "cost.csv"
    figures: dict[tuple[str, str], CostFigure] = {}
    for figure in read_rows(path, CostFigure):
        key = (figure.subject, figure.quantity)
        if key in figures:
            raise UserError(f"{path}, row {figure.row}: {' '.join(key)} stands twice; keep one")
        figures[key] = figure
    return figures


Figures = Mapping[tuple[str, str], CostFigure]
MEGABYTE = 1e6


@dataclass(frozen=True, kw_only=True)
class DataSize:
    """Clips by split, classes and bytes (None: unknown) of a data set, and their sources."""

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
    """The size of an accuracy cell's data set; no clip is rendered or opened.

    `clip_megabytes`: the mean size of a clip in 10^6 bytes, in place of the published bytes.

    Raises UserError for a data set with neither an index nor published figures.
    """
    name, clips, classes, counted_by = _counted(cell, figures)
    sources = list(counted_by)
    bytes_: float | None = None
    if clip_megabytes:
        bytes_ = sum(clips.values()) * clip_megabytes * MEGABYTE
        sources.append(f"bytes: {sum(clips.values()):,} clips of {clip_megabytes:g} MB, as given")
    elif figure := figures.get((name, "bytes")):
        bytes_ = figure.value
        sources.append(f"bytes: {figure.source}")
    return DataSize(name=name, clips=clips, classes=classes, bytes_=bytes_, sources=tuple(sources))


def _counted(cell: Cell, figures: Figures) -> tuple[str, dict[str, int], int, tuple[str, ...]]:
    """Name, clips by split, classes, and the sources of these."""
    if cell.data:
        return _on_disk(Path(cell.data))
    name = str(cell.task)
    if name in TASKS:
        counts = cell.settings["accuracy"]["clips"]
        return name, dict(counts), len(class_names(name)), ("clips: settings of the suite",)
    by_split = {key[1].removeprefix("clips_"): figure for key, figure in figures.items()
             if key[0] == name and key[1].startswith("clips_")}  # fmt: skip
    if not by_split:
        raise UserError(
            f"cell {cell.id}: no published size of {name!r} in results/published/cost.csv; "
            "add --data FOLDER with its index"
        )
    clips = {split: int(figure.value) for split, figure in by_split.items()}
    noted = [figure for figure in by_split.values() if figure.note] or by_split.values()
    sources = dict.fromkeys(f"clips: {figure.source}" for figure in noted)
    return name, clips, cell.num_classes, tuple(sources)


def _on_disk(folder: Path) -> tuple[str, dict[str, int], int, tuple[str, ...]]:
    from pks4.data.dataset import Dataset
    from pks4.data.index_folder import Indexed

    if (folder / DESCRIPTION).is_file():
        embedded = Dataset.read(folder)
        return embedded.task, embedded.counts, len(embedded.classes), (f"clips: {folder}",)
    index = Indexed.read(folder)
    return index.name, index.counts, len(index.classes), (f"clips: the index {folder}",)
