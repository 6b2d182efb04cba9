"""Breakfast: the dish is in the file's name, the split in the person's number.

Four folds by person, as published with the data: 3-15, 16-28, 29-41, 42-54. The persons of the fold
are the test set, all others the training set.  `--annotations` is the folder of videos, or a folder
of files with the same names (the label files `P03_cam01_P03_cereals.txt`).  The official folders
`P03/cam01/P03_cereals.avi` work too; there each channel of a stereo pair counts as a clip.
"""

import re

from pks4.data.errors import ManifestError
from pks4.data.index.parts.files import SUFFIXES
from pks4.data.index.parts.listing import Asked, Clip, Listing
from pks4.data.index.parts.text import visible

DATASETS = {"breakfast": 10}
SPLITS = ("train", "test")
EXPECTS = (
    "a folder of P03_cam01_P03_cereals or P03/cam01/P03_cereals, .avi or .txt (--fold 1 to 4); "
    "videos of the same names"
)
CLASSES = (
    "cereals", "coffee", "friedegg", "juice", "milk", "pancake", "salat", "sandwich",
    "scrambledegg", "tea",
)  # fmt: skip
_NAME = re.compile(r"P(\d\d)_(?:cam|webcam|stereo)\d\d_P\1_([a-z]+)")
_SUFFIXES = (*SUFFIXES, ".txt")
_FOLDERS = re.compile(r"P(\d\d)/(?:cam\d\d|webcam\d\d|stereo)/P\1_([a-z]+)(?:_ch[01])?$")


def read(asked: Asked) -> Listing:
    """All files named as in the data set; any other video or label file is an error."""
    annotations, fold = asked.annotations, asked.fold
    if not 1 <= fold <= 4:
        raise ManifestError(f"{annotations}: fold {fold} of breakfast; give 1 to 4")
    tested = range(13 * fold - 10, 13 * fold + 3)
    clips = []
    videos = asked.videos
    found = visible(annotations, "**/*")
    if annotations == videos.root:
        found = [videos.root / path for path in videos]  # through links too
    for path in found:
        if path.suffix.lower() not in _SUFFIXES:
            continue
        stem = path.relative_to(annotations).with_suffix("").as_posix()
        match = _NAME.fullmatch(path.stem) or _FOLDERS.search(stem)
        if match is None:
            raise ManifestError(
                f"{path}: not named like P03_cam01_P03_cereals or P03/cam01/P03_cereals; "
                "rename it, or move it elsewhere"
            )
        split = "test" if int(match[1]) in tested else "train"
        clips.append(Clip(where=str(path), split=split, class_name=match[2], stems=(match[0],)))
    return Listing(clips=tuple(clips), classes=CLASSES)
