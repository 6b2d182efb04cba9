"""Splits of data of one's own: by the names of lists or folders, or by share."""

import hashlib
from dataclasses import dataclass
from itertools import accumulate

from pks4.data.errors import DataError

NAMES = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validate": "val",
    "validation": "val", "test": "test", "testing": "test",
}  # fmt: skip


def split_named(word: str) -> str | None:
    """The split that a word names, in any case of letters; None if it names none."""
    return NAMES.get(word.strip().lower())


@dataclass(frozen=True)
class Shares:
    """Shares of train, val and test, in percent."""

    percents: tuple[float, float, float]

    @classmethod
    def parse(cls, text: str) -> "Shares":
        """From 80/10/10, or 80/20 without val. Raises DataError."""
        try:
            numbers = [float(part) for part in text.split("/")]
        except ValueError:
            numbers = []
        if len(numbers) == 2:
            numbers.insert(1, 0.0)
        right = len(numbers) == 3 and abs(sum(numbers) - 100) < 1e-6 and min(numbers) >= 0
        if not right or not numbers[0]:
            raise DataError(
                f"--split {text!r}: give percents of train, val and test that make 100, as in "
                "80/10/10, or of train and test, as in 80/20"
            )
        return cls((numbers[0], numbers[1], numbers[2]))

    def split_of(self, key: str) -> str:
        """The split of a clip, by a hash of its path, or of its group: others do not move it."""
        place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64 * 100
        ends = accumulate(self.percents)
        named = zip(("train", "val", "test"), ends, strict=True)
        return next((name for name, end in named if place < end), "test")
