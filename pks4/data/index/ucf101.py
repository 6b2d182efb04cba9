"""UCF101: a class map and, for each of three folds, a training and a test list."""

from pathlib import Path

from pks4.data.errors import ManifestError
from pks4.data.index.parts.listing import Clip, Listing, safe_name
from pks4.data.index.parts.text import first_existing, whole_number, word_lines

DATASETS = {"ucf101": 101}
SPLITS = ("train", "test")
EXPECTS = (
    "a folder with classInd.txt, trainlist0N.txt, testlist0N.txt (N by --fold, 1 to 3); "
    "videos v_<Class>_g01_c01.avi"
)


def read(annotations: Path, fold: int) -> Listing:
    """The lists of one fold; each line names the class by folder, and the label must agree."""
    source = first_existing(annotations, "classInd.txt")
    labels = {
        name: whole_number(where, "label", label) for where, (label, name) in word_lines(source, 2)
    }
    clips = []
    for split, count in (("train", 2), ("test", 1)):
        path = first_existing(annotations, f"{split}list{fold:02d}.txt")
        for where, parts in word_lines(path, count):
            folder, _, name = parts[0].rpartition("/")
            folder = safe_name(where, folder)
            if count == 2 and labels.get(folder) != whole_number(where, "label", parts[1]):
                raise ManifestError(
                    f"{where}: label {parts[1]} is not that of {folder!r} in {source}; correct it"
                )
            stem = safe_name(where, name).removesuffix(".avi")
            clips.append(Clip(where=where, split=split, class_name=folder, stems=(stem,)))
    return Listing(clips=tuple(clips), classes=tuple(sorted(labels, key=labels.__getitem__)))
