"""Diving48 V2: a vocabulary of dives (take-off, somersaults, twists, position) and two lists."""

from pks4.data.errors import ManifestError
from pks4.data.index.parts.files import without_suffix
from pks4.data.index.parts.listing import Asked, Clip, Listing, safe_name
from pks4.data.index.parts.text import first_existing, json_field, read_json

DATASETS = {"diving48": 48}
SPLITS = ("train", "test")
EXPECTS = (
    "a folder with Diving48_vocab.json, Diving48_V2_train.json, Diving48_V2_test.json; "
    "videos <vid_name>.mp4"
)


def read(asked: Asked) -> Listing:
    """Both lists; a label is an index of the vocabulary."""
    path = first_existing(asked.annotations, "Diving48_vocab.json")
    classes = []
    for position, dive in enumerate(read_json(path, list)):
        if not isinstance(dive, list) or not all(isinstance(part, str) for part in dive):
            raise ManifestError(f"{path}:[{position}]: not a list of words; restore the file")
        classes.append(" ".join(part for part in dive if part))
    clips = []
    for split in SPLITS:
        source = first_existing(asked.annotations, f"Diving48_V2_{split}.json")
        for position, item in enumerate(read_json(source, list)):
            where = f"{source}:[{position}]"
            label = json_field(where, item, "label", int)
            if not 0 <= label < len(classes):
                raise ManifestError(
                    f"{where}: label {label} is outside the map of {len(classes)} classes"
                )
            stem = without_suffix(safe_name(where, json_field(where, item, "vid_name")))
            clips.append(Clip(where=where, split=split, class_name=classes[label], stems=(stem,)))
    return Listing(clips=tuple(clips), classes=tuple(classes))
