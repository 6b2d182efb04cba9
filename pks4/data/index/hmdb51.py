"""HMDB51: one list a class and fold; 1 marks training, 2 test, 0 neither."""

from pks4.data.errors import ManifestError
from pks4.data.index.parts.files import without_suffix
from pks4.data.index.parts.listing import Asked, Clip, Listing, safe_name
from pks4.data.index.parts.text import named_lines, visible

DATASETS = {"hmdb51": 51}
SPLITS = ("train", "test")
EXPECTS = (
    "the folder testTrainMulti_7030_splits of <class>_test_splitN.txt (N by --fold, 1 to 3); "
    "videos <class>/<name>.avi"
)
_SPLITS = {"1": "train", "2": "test"}


def read(asked: Asked) -> Listing:
    """The lists of one fold, without clips of mark 0, as published."""
    end = f"_test_split{asked.fold}.txt"
    clips, classes = [], []
    for path in visible(asked.annotations, f"*{end}"):
        classes.append(path.name.removesuffix(end))
        for where, name, words in named_lines(path):
            mark = words[0] if words else ""
            if mark not in {"0", "1", "2"}:
                raise ManifestError(f"{where}: mark {mark!r}; it must be 0, 1 or 2")
            stem = without_suffix(safe_name(where, name))
            if mark != "0":
                clips.append(Clip(where=where, split=_SPLITS[mark], class_name=classes[-1],
                                  stems=(f"{classes[-1]}/{stem}", stem)))  # fmt: skip
    return Listing(clips=tuple(clips), classes=tuple(classes))
