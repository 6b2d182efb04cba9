"""Kinetics-400, -600 and -700: one CSV a split.

The official lists name a clip by its video and its seconds.  Its file is `<id>_<start>_<end>` with
six digits each (the names of the public crawlers), else `<id>`, which must be the trimmed clip.
"""

from pathlib import Path

from pks4.data.errors import ManifestError
from pks4.data.index.parts.listing import Clip, Listing, safe_name
from pks4.data.index.parts.text import csv_rows, whole_number

DATASETS = {"kinetics400": 400, "kinetics600": 600, "kinetics700": 700}
SPLITS = ("train", "val")
EXPECTS = (
    "a folder of CSV files, label,youtube_id,time_start,time_end,split; "
    "videos <id>_<start>_<end>.mp4 or <id>.mp4, in any folders"
)
_COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")
_NAMES = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}


def read(annotations: Path, fold: int) -> Listing:
    """All CSV files of the folder; the classes are those of the training clips, sorted."""
    paths = sorted(annotations.glob("*.csv"))
    if not paths:
        raise ManifestError(f"{annotations}: no CSV file here; give the official annotations")
    clips = [_clip(where, row) for path in paths for where, row in csv_rows(path, _COLUMNS)]
    classes = sorted({clip.class_name for clip in clips if clip.split == "train"})
    return Listing(clips=tuple(clips), classes=tuple(classes))


def _clip(where: str, row: dict[str, str]) -> Clip:
    if row["split"] not in _NAMES:
        raise ManifestError(f"{where}: split {row['split']!r}; it must be one of {list(_NAMES)}")
    video = safe_name(where, row["youtube_id"])
    start, end = (whole_number(where, name, row[name]) for name in ("time_start", "time_end"))
    return Clip(
        where=where, split=_NAMES[row["split"]], class_name=row["label"],
        stems=(f"{video}_{start:06d}_{end:06d}", video),
    )  # fmt: skip
