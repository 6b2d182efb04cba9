"""A user's data set on disk, indexed: manifests in one folder, the videos where they were.

The folder holds `index.json`, one manifest a split with paths relative to the folder of videos,
`bad.csv` with the clips that are left out, and `opened.jsonl`, from which an interrupted index goes
on.  `index.json` is written last: a folder without it is not finished.
"""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pks4.data.errors import DataError
from pks4.data.manifest import Entry, leaves, read_manifest
from pks4.errors import unknown_name

SCHEMA_VERSION = 1
INDEX = "index.json"


class Indexed(BaseModel):
    """An indexed data set.

    `classes` in the order of labels, of `published_classes` that the full data set has; `no_flip`
    names the classes that a mirror turns into others.  `counts` are the usable clips of each split,
    `bad` the clips left out of each.  `counted_by` says how num_frames came about: packets of the
    container, or frames decoded.  `annotations_sha256` is over classes and clips as listed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path
    name: str
    fold: int
    videos: Path
    classes: tuple[str, ...]
    published_classes: int
    no_flip: tuple[str, ...]
    counts: dict[str, int]
    bad: dict[str, int]
    counted_by: str
    annotations_sha256: str
    reader: dict[str, str]

    @classmethod
    def read(cls, root: Path | str) -> "Indexed":
        """The finished index in folder `root`; raises DataError where there is none."""
        path = Path(root) / INDEX
        remedy = "run `pks4-bench data index` again"
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
        except OSError:
            raise DataError(f"{root}: no finished index here; {remedy}") from None
        except (ValueError, RecursionError):
            raise DataError(f"{path}: not JSON; {remedy}") from None
        if not isinstance(fields, dict) or fields.pop("schema_version", None) != SCHEMA_VERSION:
            raise DataError(f"{path}: schema_version is not {SCHEMA_VERSION}; {remedy}")
        try:
            found = cls(root=Path(root), **fields)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise DataError(f"{path}: {place}: {first['msg']}; {remedy}") from None
        for split in found.counts:
            if leaves(split):
                raise DataError(f"{path}: counts: split {split!r} leaves the folder; {remedy}")
        return found

    def text(self) -> str:
        """What `index.json` holds: every field but the root."""
        fields = self.model_dump(mode="json", exclude={"root"})
        return json.dumps({"schema_version": SCHEMA_VERSION, **fields}, indent=1) + "\n"

    def entries(self, split: str, *, check_files: bool = True) -> list[Entry]:
        """The clips of a split, ready to open."""
        if split not in self.counts:
            raise DataError(unknown_name("split", split, self.counts))
        return read_manifest(
            self.root / f"{split}.csv", classes=self.classes, folder=self.videos,
            check_files=check_files,
        )  # fmt: skip

    def may_flip(self, label: int) -> bool:
        """Whether a mirrored clip keeps its class."""
        return self.classes[label] not in self.no_flip
