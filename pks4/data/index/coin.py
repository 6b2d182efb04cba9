"""COIN: whole videos, each with its task as class, in a training and a testing subset.

COIN.json holds {"database": {<video id>: {"subset": "training" or "testing", "class": <task>, …}}}.
The segments of steps within a video are not read.
"""

from pks4.data.errors import ManifestError
from pks4.data.index.parts.listing import Asked, Clip, Listing, safe_name
from pks4.data.index.parts.text import first_existing, json_field, read_json

DATASETS = {"coin": 180}
SPLITS = ("train", "test")
EXPECTS = "a folder with COIN.json; videos <id>.mp4, in any folders"
_SPLITS = {"training": "train", "testing": "test"}


def read(asked: Asked) -> Listing:
    """Every video of the database; the classes are those of the training videos, sorted."""
    path = first_existing(asked.annotations, "COIN.json")
    database = json_field(f"{path}:database", read_json(path, dict), "database", dict)
    clips = []
    for video, item in database.items():
        where = f"{path}:{video}"
        subset = json_field(where, item, "subset")
        if subset not in _SPLITS:
            raise ManifestError(f"{where}: subset {subset!r}; it must be training or testing")
        name = json_field(where, item, "class")
        stem = safe_name(where, video)
        clips.append(Clip(where=where, split=_SPLITS[subset], class_name=name, stems=(stem,)))
    classes = sorted({clip.class_name for clip in clips if clip.split == "train"})
    return Listing(clips=tuple(clips), classes=tuple(classes))
