"""What an accuracy cell trains and is scored on: embedded clips, or a user's indexed data set.

Embedded splits are decoded once into memory, or on use where the cell's settings ask for
`decode_on_use` or its `data` is a folder. An indexed data set is decoded on use, by `workers`
processes, but for training clips whose frames fit in `decoded_gib`: these are decoded once. It is
sampled as `sampling` and the settings after it say.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

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


@dataclass(frozen=True)
class Data(ABC):
    """A cell's data set: its classes in the order of labels, and how its splits are read."""

    files: Any  # the data set on the disk
    cell: Cell
    settings: dict[str, Any]  # of accuracy
    mirrors: ClassVar[bool]  # clips come flipped already, where the recipe and their class allow it

    @property
    def task(self) -> str | None:
        """The task of embedded clips, named by the cell or read from its folder."""
        return None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of labels."""
        return self.files.classes

    @property
    def batch(self) -> int:
        """Number of clips that are scored at once."""
        return VIEWS

    @property
    @abstractmethod
    def digest(self) -> str:
        """Hash of the data set."""

    @abstractmethod
    def source(self, split: str, *, training: bool = False) -> "Source":
        """The clips of a split, sampled at random for training, or all their views."""

    @abstractmethod
    def decoding(self, split: str) -> "Source":
        """The clips of a split as in testing, each decoded when it is asked for."""

    def about(self) -> dict[str, str]:
        """Facts that must equal those of a checkpoint for a training to resume from it."""
        return {"data": self.digest}

    def evidence(self) -> dict[str, Any]:
        """Entries of a record's evidence: reader, digest, and where clips are decoded."""
        from pks4.data.readers import reader_info

        info = reader_info(self.settings["reader"])
        reader = f"{info['name']} {info['version']}"
        return {"reader": reader, "data": self.digest, "decoded": "on use"}


@dataclass(frozen=True)
class Embedded(Data):
    """Kinetic digits."""

    files: "Dataset"
    mirrors = False

    @property
    def task(self) -> str | None:
        """Its task."""
        return self.files.task

    @property
    def digest(self) -> str:
        """Hash of the clips."""
        return self.files.digest

    @property
    def on_use(self) -> bool:
        """Whether clips are decoded when a batch asks for them."""
        return bool(self.cell.data) or self.settings["decode_on_use"]

    def source(self, split: str, *, training: bool = False) -> "Source":
        """The clips of a split, the same in training and in testing."""
        from pks4.data.decoded_split import load_split
        from pks4.train.batches import InMemory

        if self.on_use:
            return self.decoding(split)
        reader = self.settings["reader"]
        clips = load_split(self.files, split, self.cell.frames, reader=reader)
        return InMemory(clips.video, clips.label)

    def decoding(self, split: str) -> "Source":
        """The clips of a split, each decoded when it is asked for."""
        from pks4.data.integrity import check_unchanged
        from pks4.data.manifest import read_manifest
        from pks4.errors import unknown_name
        from pks4.train.batches import Decoding

        dataset = self.files
        if split not in dataset.splits:
            raise DataError(unknown_name("split", split, dataset.splits))
        check_unchanged(dataset)
        entries = read_manifest(dataset.splits[split], classes=dataset.classes)
        return Decoding(entries, self.cell.frames, dataset.size, self.settings["reader"])

    def evidence(self) -> dict[str, Any]:
        """Reader, digest, and where clips are decoded."""
        return super().evidence() | ({} if self.on_use else {"decoded": "into memory"})


@dataclass(frozen=True)
class Real(Data):
    """A user's data set, by its index."""

    files: "Indexed"
    mirrors = True
    decoded: dict[str, str] = field(default_factory=dict)  # evidence of the training split

    @property
    def batch(self) -> int:
        """Number of clips whose views together are about `VIEWS`."""
        return max(1, VIEWS // self.sampling().views)

    @property
    def digest(self) -> str:
        """Hash of the annotations."""
        return self.files.annotations_sha256

    def sampling(self) -> "Sampling":
        """Frames and crops that are taken of a video; DataError for settings that do not fit."""
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
        """The clips of a split, sampled at random for training, or all their views."""
        from pks4.data.video_dataset import Videos

        videos = Videos(
            self.files.entries(split),
            self.sampling(),
            training=training,
            seed=self.settings["seed"],
            reader=self.settings["reader"],
            may_flip=self.files.may_flip,
        )
        if training:
            kept = videos.keep(int(self.settings.get("decoded_gib", 0.0) * 2**30))
            if kept:
                clips = f"{len(videos.kept)} of {len(videos)} clips"
                self.decoded["decoded"] = f"once, {clips}, {kept} bytes; others on use"
        return videos

    def decoding(self, split: str) -> "Source":
        """All views of the clips of a split, which are decoded on use anyway."""
        return self.source(split)

    def about(self) -> dict[str, str]:
        """The index and its sampling."""
        return super().about() | {"sampling": self.sampling().model_dump_json()}

    def evidence(self) -> dict[str, Any]:
        """Reader, index, sampling with its views, and the share of the published classes."""
        from pks4.data.readers import images

        index, of_files = self.files, super().evidence()
        pictures = " ".join(images.info().values())
        readers = {"images": pictures, "images and pyav": f"{of_files['reader']} and {pictures}"}
        return of_files | {
            "reader": readers.get(index.reader.get("name", ""), of_files["reader"]),
            "data_set": index.name,
            "fold": index.fold,
            **({"split_by": index.split_by} if index.split_by else {}),
            "clips_indexed": index.counts,
            "clips_bad_in_index": index.bad,
            "frames_counted_by": index.counted_by,
            "classes": f"{len(index.classes)} of {index.published_classes}",
            "sampling": self.sampling().describe(),
            "never_flipped": len(index.no_flip),
            "max_bad": self.settings["max_bad"],
            **self.decoded,
        }


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
    """The data set of an accuracy cell; embedded clips that are missing are made."""
    from pks4.data.dataset import DESCRIPTION, Dataset
    from pks4.data.index_folder import Indexed
    from pks4.data.kinetic_digits.make_dataset import make

    settings = cell.settings["accuracy"]
    if not cell.data:
        (dataset,) = (make(**wanted) for wanted in data_needed(cell))
        return Embedded(dataset, cell, settings)
    if (Path(cell.data) / DESCRIPTION).is_file():
        defaults = catalogue.measures()["accuracy"].facts["SETTINGS"]
        changed = [key for key in OF_AN_INDEX if settings[key] != defaults[key]]
        if changed:
            raise DataError(f"{changed[0]} is for indexed data; {cell.data} holds embedded clips")
        return Embedded(Dataset.read(cell.data), cell, settings)
    return Real(Indexed.read(cell.data), cell, settings)
