"""What an accuracy cell trains and is scored on: embedded clips, or a user's indexed data set.

Embedded splits are decoded once into memory, or on use where the cell's settings ask for
`decode_on_use` or its `data` is a folder. An indexed data set is always decoded on use, by
`workers` processes, and drawn as `sampling` and its neighbours in the settings say.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from pks4.bench.contestants import catalogue
from pks4.bench.plan.cell import Cell
from pks4.bench.plan.plan import OF_AN_INDEX
from pks4.data.errors import DataError

if TYPE_CHECKING:
    from pks4.data.dataset import Dataset
    from pks4.data.index_folder import Indexed
    from pks4.data.sampling import Sampling
    from pks4.train.batches import Source

SHORT_SIDES = (256 / 224, 320 / 224)  # of the picture's side, where short_side is not given
VIEWS = 32  # clips, or views of clips, that are scored at once


class Data(Protocol):
    """A cell's data set: its classes in the order of labels, and how its splits are read."""

    mirrors: bool  # its clips come flipped already, where the recipe and their class allow it

    @property
    def task(self) -> str | None:
        """Of embedded clips, whether the cell names it or a folder."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of labels."""

    @property
    def batch(self) -> int:
        """Clips that are scored at once."""

    def source(self, split: str, *, training: bool = False) -> "Source":
        """The clips of a split, drawn at random for training, or all their views."""

    def about(self) -> dict[str, str]:
        """What a checkpoint must have in common with a training on this data."""

    def evidence(self) -> dict[str, Any]:
        """What a record says of the data."""


@dataclass(frozen=True)
class Embedded:
    """Kinetic digits."""

    dataset: "Dataset"
    cell: Cell
    settings: dict[str, Any]
    mirrors = False
    batch = VIEWS

    @property
    def task(self) -> str | None:
        """Its task."""
        return self.dataset.task

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of labels."""
        return self.dataset.classes

    @property
    def on_use(self) -> bool:
        """Whether clips are decoded when they are asked for."""
        return bool(self.cell.data) or self.settings["decode_on_use"]

    def source(self, split: str, *, training: bool = False) -> "Source":
        """The clips of a split, the same in training and in testing."""
        from pks4.data.decoded_split import load_split
        from pks4.data.integrity import check_unchanged
        from pks4.data.manifest import read_manifest
        from pks4.errors import unknown_name
        from pks4.train.batches import Decoding, InMemory

        dataset, frames, reader = self.dataset, self.cell.frames, self.settings["reader"]
        if not self.on_use:
            clips = load_split(dataset, split, frames, reader=reader)
            return InMemory(clips.video, clips.label)
        if split not in dataset.splits:
            raise DataError(unknown_name("split", split, dataset.splits))
        check_unchanged(dataset)
        entries = read_manifest(dataset.splits[split], classes=dataset.classes)
        return Decoding(entries, frames, dataset.size, reader)

    def about(self) -> dict[str, str]:
        """Its digest."""
        return {"data": self.dataset.digest}

    def evidence(self) -> dict[str, Any]:
        """Reader, digest, and where clips are decoded."""
        return {
            "reader": _reader(self.settings),
            "data": self.dataset.digest,
            "decoded": "on use" if self.on_use else "into memory",
        }


@dataclass(frozen=True)
class Real:
    """A user's data set, by its index."""

    index: "Indexed"
    cell: Cell
    settings: dict[str, Any]
    mirrors = True
    task = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of labels."""
        return self.index.classes

    @property
    def batch(self) -> int:
        """So many clips that all their views are about VIEWS."""
        return max(1, VIEWS // self.sampling().views)

    def sampling(self) -> "Sampling":
        """Which frames and pictures of a video are seen; DataError for settings that do not fit."""
        from pks4.data.sampling import Sampling

        given, size = self.settings, self.cell.options["image_size"]
        low, high = SHORT_SIDES
        try:
            return Sampling(
                rule=given["sampling"],
                frames=self.cell.frames,
                stride=given["stride"],
                clips=given["eval_clips"],
                crops=given["eval_crops"],
                size=size,
                short_side=given["short_side"] or (round(size * low), round(size * high)),
                crop=given["crop"],
                flip=0.5 if given["flip"] else 0.0,
            )
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "sampling"
            raise DataError(f"settings of accuracy: {where}: {first['msg']}") from None

    def source(self, split: str, *, training: bool = False) -> "Source":
        """The clips of a split, drawn at random for training, or all their views."""
        from pks4.data.video_dataset import Videos

        return Videos(
            self.index.entries(split),
            self.sampling(),
            training=training,
            seed=self.settings["seed"],
            reader=self.settings["reader"],
            may_flip=self.index.may_flip,
        )

    def about(self) -> dict[str, str]:
        """The index and how it is drawn from."""
        return {"data": self._digest(), "sampling": self.sampling().model_dump_json()}

    def evidence(self) -> dict[str, Any]:
        """Reader, index, sampling with its views, and classes out of those published."""
        index = self.index
        return {
            "reader": _reader(self.settings),
            "data": self._digest(),
            "data_set": index.name,
            "fold": index.fold,
            "clips_indexed": index.counts,
            "clips_bad_in_index": index.bad,
            "frames_counted_by": index.counted_by,
            "classes": f"{len(index.classes)} of {index.published_classes}",
            "decoded": "on use",
            "sampling": self.sampling().describe(),
            "never_flipped": len(index.no_flip),
            "max_bad": self.settings["max_bad"],
        }

    def _digest(self) -> str:
        return self.index.annotations_sha256


def data_needed(cell: Cell) -> list[dict[str, Any]]:
    """Arguments of `make_dataset.make` for the data sets that this cell reads."""
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
    from pks4.data.dataset import DESCRIPTION, Dataset
    from pks4.data.index_folder import Indexed
    from pks4.data.kinetic_digits.make_dataset import make

    settings = cell.settings["accuracy"]
    if not cell.data:
        (dataset,) = (make(**wanted) for wanted in data_needed(cell))
        return Embedded(dataset, cell, settings)
    if (Path(cell.data) / DESCRIPTION).is_file():
        defaults = catalogue.measures()["accuracy"].facts["SETTINGS"]
        drawn = [key for key in OF_AN_INDEX if settings[key] != defaults[key]]
        if drawn:
            raise DataError(f"{drawn[0]} is for indexed data; {cell.data} holds embedded clips")
        return Embedded(Dataset.read(cell.data), cell, settings)
    return Real(Indexed.read(cell.data), cell, settings)


def _reader(settings: dict[str, Any]) -> str:
    from pks4.data.readers import reader_info

    info = reader_info(settings["reader"])
    return f"{info['name']} {info['version']}"
