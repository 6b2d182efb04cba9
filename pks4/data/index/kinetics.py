"""Kinetics-400, -600 and -700: one CSV a split.

The official lists name a clip by its video and its seconds.  Its file is `<id>_<start>_<end>` with
six digits each (the names of the public crawlers), else `<id>`, which must be the trimmed clip.
"""

from pks4.data.errors import ManifestError
from pks4.data.index.parts.listing import Asked, Clip, Listing, safe_name
from pks4.data.index.parts.text import csv_rows, visible, whole_number

DATASETS = {"kinetics400": 400, "kinetics600": 600, "kinetics700": 700}
SPLITS = ("train", "val")
EXPECTS = (
    "a folder of CSV files, label,youtube_id,time_start,time_end,split; "
    "videos <id>_<start>_<end>.mp4 or <id>.mp4, in any folders"
)
_COLUMNS = ("youtube_id", "time_start", "time_end", "split")  # and label, but for a test list
_NAMES = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}


def read(asked: Asked) -> Listing:
    """All CSV files of the folder; the classes are those of the training clips, sorted."""
    paths = visible(asked.annotations, "*.csv")
    if not paths:
        raise ManifestError(f"{asked.annotations}: no CSV file here; give the official annotations")
    clips, left_out = list[Clip](), list[str]()
    for path in paths:
        rows = list(csv_rows(path, _COLUMNS))
        if any(row.get("label") for _, row in rows):
            clips += [_clip(where, row) for where, row in rows]
        else:
            left_out.append(f"{path} has no labels")
    classes = sorted({clip.class_name for clip in clips if clip.split == "train"})
    return Listing(clips=tuple(clips), classes=tuple(classes), left_out=tuple(left_out))


def _clip(where: str, row: dict[str, str]) -> Clip:
    if row["split"] not in _NAMES:
        raise ManifestError(f"{where}: split {row['split']!r}; it must be one of {list(_NAMES)}")
    if not row["label"]:
        raise ManifestError(f"{where}: no label; give it, or remove the line")
    video = safe_name(where, row["youtube_id"])
    start, end = (whole_number(where, name, row[name]) for name in ("time_start", "time_end"))
    return Clip(
        where=where, split=_NAMES[row["split"]], class_name=row["label"],
        stems=(f"{video}_{start:06d}_{end:06d}", video),
    )  # fmt: skip
