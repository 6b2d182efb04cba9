"""Something-Something V2: templates with brackets; classes that name a side are not flipped.

The class of a clip is its template without the brackets around the placeholders.  A mirror turns
"from left to right" into another class, so every class with "left" or "right" must not be flipped.
The official test set has no labels and is not read.
"""

from pks4.data.errors import ManifestError
from pks4.data.index.parts.listing import Asked, Clip, Listing, naming_a_side, safe_name
from pks4.data.index.parts.text import first_existing, json_field, read_json, whole_number

DATASETS = {"ssv2": 174}
SPLITS = ("train", "val")
EXPECTS = "a folder with labels.json, train.json, validation.json; videos <id>.webm"
_LONG = "something-something-v2-"


def read(asked: Asked) -> Listing:
    """Train and validation, labelled by labels.json."""
    path = first_existing(asked.annotations, "labels.json", f"{_LONG}labels.json")
    labels = {
        name: whole_number(f"{path}:{name}", "label", str(label))
        for name, label in read_json(path, dict).items()
    }
    if sorted(labels.values()) != list(range(len(labels))):
        raise ManifestError(f"{path}: labels are not 0..{len(labels) - 1}, each once; restore it")
    classes = tuple(sorted(labels, key=labels.__getitem__))
    clips = []
    for split, name in (("train", "train.json"), ("val", "validation.json")):
        source = first_existing(asked.annotations, name, f"{_LONG}{name}")
        for position, item in enumerate(read_json(source, list)):
            where = f"{source}:[{position}]"
            video = safe_name(where, str(json_field(where, item, "id", (str, int))))
            template = json_field(where, item, "template").replace("[", "").replace("]", "")
            clips.append(Clip(where=where, split=split, class_name=template, stems=(video,)))
    tests = (asked.annotations / name for name in ("test.json", f"{_LONG}test.json"))
    return Listing(
        clips=tuple(clips), classes=classes, no_flip=naming_a_side(classes),
        left_out=tuple(f"{path} has no labels" for path in tests if path.is_file()),
    )  # fmt: skip
