"""Digit sprites and background photographs; no split shares any with another.

Sprites are scikit-learn's `load_digits`: 1,797 real handwritten digits of 8 x 8 pixels.  Of each
digit, in the order of that set, the first 60 % go to train, the next 20 % to val, the rest to test.
Backgrounds are china.jpg and flower.jpg of scikit-learn, cut into disjoint bands of columns: 0-60 %
train, 60-80 % val, 80-100 % test.  Nothing is downloaded.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

SPLIT_EDGES = {"train": (0.0, 0.6), "val": (0.6, 0.8), "test": (0.8, 1.0)}


@cache
def sprites() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """All digits: opacities (n, 8, 8) in 0..1, and the digit shown (n,)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return (digits.images / 16).astype(np.float32), digits.target.astype(np.int64)


@cache
def sprite_indices(split: str, digit: int | None = None) -> NDArray[np.int64]:
    """Indices into `sprites()` of one split, for one digit or all ten, ascending."""
    if digit is None:
        return np.sort(np.concatenate([sprite_indices(split, shown) for shown in range(10)]))
    of_digit = np.flatnonzero(sprites()[1] == digit)
    low, high = (round(edge * len(of_digit)) for edge in SPLIT_EDGES[split])
    return of_digit[low:high]


@cache
def backgrounds(split: str) -> tuple[NDArray[np.uint8], ...]:
    """The two photographs' bands of one split, each (h, w, 3)."""
    from sklearn.datasets import load_sample_image

    photographs = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    bands = []
    for photograph in photographs:
        low, high = (round(edge * photograph.shape[1]) for edge in SPLIT_EDGES[split])
        bands.append(np.ascontiguousarray(photograph[:, low:high]))
    return tuple(bands)
