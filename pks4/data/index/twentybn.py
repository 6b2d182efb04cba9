"""Jester V1 and Something-Something V1: folders of numbered JPEG frames, and lists with semicolons.

The labels are one class a line; train and validation are `<folder>;<class>` lines; the test list
holds folders alone, so it is left out.  A mirror turns "Swiping Left", "Turning Hand Clockwise" and
"from left to right" into other classes, which are not flipped.
"""

from pathlib import Path

from pks4.data.errors import ManifestError
from pks4.data.index.parts.listing import Asked, Clip, Listing, naming_a_side, safe_name
from pks4.data.index.parts.text import lines, visible

DATASETS = {"jester": 27, "ssv1": 174}
SPLITS = ("train", "val")
EXPECTS = (
    "a folder with <name>-labels.csv, <name>-train.csv and <name>-validation.csv, where <name> is "
    "jester-v1 or something-something-v1; videos in folders <id>/00001.jpg, …, or <id>.webm"
)


def read(asked: Asked) -> Listing:
    """Train and validation; the classes in the order of the labels' file."""
    source = _one(asked.annotations, "labels")
    classes = tuple(line for _, line in lines(source))
    clips = []
    for split, name in (("train", "train"), ("val", "validation")):
        for where, line in lines(_one(asked.annotations, name)):
            video, semicolon, class_name = line.partition(";")
            if not semicolon:
                raise ManifestError(f"{where}: {line!r} is not <folder>;<class>; correct it")
            stem = safe_name(where, video.strip())
            clips.append(
                Clip(where=where, split=split, class_name=class_name.strip(), stems=(stem,))
            )
    tests = visible(asked.annotations, "*test.csv")
    return Listing(
        clips=tuple(clips), classes=classes, no_flip=naming_a_side(classes),
        left_out=tuple(f"{path} has no labels" for path in tests),
    )  # fmt: skip


def _one(folder: Path, name: str) -> Path:
    """The only list of this name. Raises ManifestError for none or several."""
    found = visible(folder, f"*{name}.csv")
    if len(found) != 1:
        several = f"{found[0].name} and {found[1].name}" if found else f"no *-{name}.csv"
        raise ManifestError(f"{folder}: {several} here; give the official annotations of one set")
    return found[0]
