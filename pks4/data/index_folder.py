"""An indexed data set of a user: its manifests in one folder; the videos stay where they are.

The folder holds `index.json`, one manifest a split with paths relative to the folder of videos,
`bad.csv` with the clips that are left out, and `opened.jsonl`, from which an interrupted index
resumes.  `index.json` is written last: a folder without it is not finished.
"""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pks4.data.dataset import SCHEMA_VERSION, read_description
from pks4.data.errors import DataError
from pks4.data.manifest import Entry, leaves_folder, read_manifest
from pks4.errors import unknown_name

INDEX = "index.json"
BAD = "bad.csv"


class Indexed(BaseModel):
    """An indexed data set.

    `classes` are in the order of labels; the full data set has `published_classes` of them.
    `no_flip` names the classes that a mirror turns into others.  `counts` are the usable clips of
    each split, `bad` the clips left out of each.  `counted_by` says how num_frames was counted: by
    packets of the container, or by decoded frames.  `annotations_sha256` is over classes and clips.
    `split_by` says how clips were split that had no split; `left_out`, which lists, links and
    folders were not used.
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
    split_by: str | None = None
    left_out: tuple[str, ...] = ()

    @classmethod
    def read(cls, root: Path | str) -> "Indexed":
        """The finished index in folder `root`. Raises DataError if there is none."""
        root = Path(root)
        remedy = "run `pks4-bench data index` again"
        index = read_description(cls, root, INDEX, "index", remedy)
        for split in index.counts:
            if leaves_folder(split):
                fault = f"counts: split {split!r} leaves the folder"
                raise DataError(f"{root / INDEX}: {fault}; {remedy}")
        return index

    def text(self) -> str:
        """The content of `index.json`: every field but the root."""
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
