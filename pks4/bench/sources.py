"""What an accuracy cell trains and is scored on: embedded clips, or an indexed data set.

Embedded splits are decoded once into memory, unless the cell's settings ask for `decode_on_use`; an
indexed data set (`data` in a grid) is always decoded on use, by `workers` processes.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pks4.bench.plan import Cell

if TYPE_CHECKING:
    from pks4.data.dataset import Dataset
    from pks4.train.batches import Source


@dataclass(frozen=True)
class Data:
    """A cell's data set and how its splits are read."""

    dataset: "Dataset"
    cell: Cell
    settings: dict[str, Any]

    @property
    def on_use(self) -> bool:
        """Whether clips are decoded when they are asked for."""
        return bool(self.cell.data) or self.settings["decode_on_use"]

    def source(self, split: str) -> "Source":
        """The clips of a split."""
        from pks4.data.clips import load_split
        from pks4.data.errors import DataError
        from pks4.data.manifest import read_manifest
        from pks4.errors import unknown_name
        from pks4.train.batches import InMemory
        from pks4.train.decoding import Decoding

        dataset, frames, reader = self.dataset, self.cell.frames, self.settings["reader"]
        if not self.on_use:
            clips = load_split(dataset, split, frames, reader=reader)
            return InMemory(clips.video, clips.label)
        if split not in dataset.splits:
            raise DataError(unknown_name("split", split, dataset.splits))
        entries = read_manifest(dataset.splits[split], classes=dataset.classes)
        return Decoding(entries, frames, reader)

    def evidence(self) -> dict[str, Any]:
        """What a record says of the data."""
        from pks4.data.readers import reader_info

        reader = reader_info(self.settings["reader"])
        return {
            "reader": f"{reader['name']} {reader['version']}",
            "data": self.dataset.digest,
            "decoded": "on use" if self.on_use else "into memory",
        }


def data_needed(cell: Cell) -> list[dict[str, Any]]:
    """Arguments of `pks4.data.make.make` for the data sets that this cell reads."""
    if cell.data:
        return []
    settings = cell.settings["accuracy"]
    return [
        {
            "task": cell.task,
            "counts": settings["clips"],
            "size": cell.options["image_size"],
            "frames": settings["clip_frames"],
        }
    ]


def data_of(cell: Cell) -> Data:
    """The data set of an accuracy cell, made if it is embedded and not there yet."""
    from pks4.data.dataset import Dataset
    from pks4.data.make import make

    if cell.data:
        return Data(Dataset.read(cell.data), cell, cell.settings["accuracy"])
    (dataset,) = (make(**wanted) for wanted in data_needed(cell))
    return Data(dataset, cell, cell.settings["accuracy"])
