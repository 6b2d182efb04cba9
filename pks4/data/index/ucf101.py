"""UCF101: a class map and, for each of three folds, a training and a test list."""

from pks4.data.errors import ManifestError
from pks4.data.index.parts.files import without_suffix
from pks4.data.index.parts.listing import Asked, Clip, Listing, safe_name
from pks4.data.index.parts.text import first_existing, named_lines, whole_number, word_lines

DATASETS = {"ucf101": 101}
SPLITS = ("train", "test")
EXPECTS = (
    "a folder with classInd.txt, trainlist0N.txt, testlist0N.txt (N by --fold, 1 to 3); "
    "videos v_<Class>_g01_c01.avi"
)


def read(asked: Asked) -> Listing:
    """The lists of one fold; each line names the class by folder, and the label must agree."""
    source = first_existing(asked.annotations, "classInd.txt")
    labels = {
        name: whole_number(where, "label", label) for where, (label, name) in word_lines(source, 2)
    }
    clips = []
    for split in SPLITS:
        path = first_existing(asked.annotations, f"{split}list{asked.fold:02d}.txt")
        for where, name, words in named_lines(path):
            folder, _, name = name.rpartition("/")
            folder = safe_name(where, folder)
            label = words[0] if words else "" if split == "train" else None
            if label is not None and labels.get(folder) != whole_number(where, "label", label):
                raise ManifestError(
                    f"{where}: label {label} is not that of {folder!r} in {source}; correct it"
                )
            stem = without_suffix(safe_name(where, name))
            clips.append(Clip(where=where, split=split, class_name=folder, stems=(stem,)))
    return Listing(clips=tuple(clips), classes=tuple(sorted(labels, key=labels.__getitem__)))
