"""A tiny data set in the layout of Something-Something V2, made on the fly and indexed."""

import json
from pathlib import Path

import numpy as np

from pks4.data.index.parts.build import build
from pks4.data.index_folder import Indexed
from pks4.data.kinetic_digits.encode import encode

FRAMES = 12
SIDED = "Pushing something from left to right"  # the class that is never flipped
CLASSES = (*(f"Moving something {k}" for k in range(4)), SIDED)


def made_index(root: Path, train: int = 20, val: int = 10) -> Indexed:
    """The index in `root/out` of coloured noise, whose colour tells the class, 64 x 48 pixels."""
    (root / "a").mkdir()
    (root / "v").mkdir()
    labels = {name: str(label) for label, name in enumerate(CLASSES)}
    (root / "a/labels.json").write_text(json.dumps(labels))
    for file, split, count in (("train", "t", train), ("validation", "v", val)):
        clips = []
        for number in range(count):
            label = number % len(CLASSES)
            random = np.random.default_rng([number, count])
            frames = random.integers(0, 60, (FRAMES, 6, 8, 3), np.uint8)
            frames[..., label % 3] += np.uint8(60 * (1 + label // 3))
            large = frames.repeat(8, axis=1).repeat(8, axis=2)
            (root / f"v/{split}{number}.webm").write_bytes(encode(large, 12))
            template = CLASSES[label].replace("something", "[something]")
            clips.append({"id": f"{split}{number}", "label": "", "template": template})
        (root / f"a/{file}.json").write_text(json.dumps(clips))
    return build("ssv2", root / "a", root / "v", root / "out", workers=1)
