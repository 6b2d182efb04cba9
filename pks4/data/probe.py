"""Can a task be cheated?  Simple classifiers inside each time-reversal pair of `temporal`.

Three views of the same clips, one logistic regression a pair and view, trained on one split and
judged on another (chance 1/2, since the pairs are balanced):

* `frame`: the middle frame alone, its grey levels on a coarse grid and the sprite's states in it;
* `bag`: mean, deviation, least and most over time of the same features, so all frames, unordered;
* `motion`: statistics of the sprite's tracked states that change sign when time is reversed.

A sound task keeps `frame` and `bag` near 1/2 and `motion` well above.  The sprite is tracked as the
bright pixels, on the torus: this is a probe of the data, not a model worth comparing with.

Letters: n clips, t frames, f features.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pks4.data.clips import Clips, load_split
from pks4.data.dataset import Dataset
from pks4.data.digits import PAIRS
from pks4.data.errors import DataError

VIEWS = ("frame", "bag", "motion")
GRID = 8  # cells along a side of the coarse picture
BRIGHT = 175  # the least of red, green and blue in a pixel of the sprite

Floats = NDArray[np.float64]


def probe(
    dataset: Dataset, *, fit: str = "train", judge: str = "test", limit: int | None = None
) -> dict[str, Any]:
    """Accuracy within pairs, by view: {"frame": {"mean": 0.5, "left/right": ...}, ...}.

    Fractions, chance 1/2.  `clips` counts the judged clips of all pairs, `standard_error` is that
    of a mean at chance.  Raises DataError for a task without pairs, and what `load_split` raises.
    """
    if dataset.task != "temporal":
        raise DataError(f"task {dataset.task!r} has no time-reversal pairs; probe task 'temporal'")
    views_fit, label_fit = _views(load_split(dataset, fit, dataset.frames, limit=limit))
    views_judge, label_judge = _views(load_split(dataset, judge, dataset.frames, limit=limit))
    clips = int((label_judge < 2 * len(PAIRS)).sum())  # the pairs come first among the labels
    result: dict[str, Any] = {"clips": clips, "standard_error": 0.5 / np.sqrt(clips)}
    for view in VIEWS:
        scores = {}
        for number, pair in enumerate(PAIRS):
            here, there = label_fit // 2 == number, label_judge // 2 == number
            scores[f"{pair.first}/{pair.second}"] = _accuracy(
                (views_fit[view][here], label_fit[here]),
                (views_judge[view][there], label_judge[there]),
            )
        result[view] = {"mean": float(np.mean(list(scores.values()))), **scores}
    return result


def _accuracy(fit: tuple[Floats, NDArray], judge: tuple[Floats, NDArray]) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    return float(model.fit(*fit).score(*judge))


def _views(clips: Clips) -> tuple[dict[str, Floats], NDArray[np.int64]]:
    """Features (n, f) of each view, and the labels (n,)."""
    rows: dict[str, list[Floats]] = {view: [] for view in VIEWS}
    for video in clips.video.numpy():  # (t, 3, h, w)
        states = _track(video)
        coarse = _coarse(video)
        both = np.concatenate([coarse, _flat(states)], axis=1)  # (t, f)
        rows["frame"].append(both[len(both) // 2])
        statistics = [both.mean(0), both.std(0), both.min(0), both.max(0)]
        rows["bag"].append(np.concatenate(statistics))
        rows["motion"].append(_odd_statistics(states))
    return {view: np.stack(rows[view]) for view in VIEWS}, clips.label.numpy()


def _coarse(video: NDArray[np.uint8]) -> Floats:
    """Grey levels on a GRID x GRID picture, (t, GRID * GRID)."""
    frames, _, height, width = video.shape
    high, wide = height // GRID * GRID, width // GRID * GRID
    grey = video[:, :, :high, :wide].mean(axis=1)
    cells = grey.reshape(frames, GRID, high // GRID, GRID, wide // GRID).mean(axis=(2, 4))
    return cells.reshape(frames, -1)


def _track(video: NDArray[np.uint8]) -> dict[str, Floats]:
    """The bright pixels' centre (radians on the torus), log area and axis (radians mod pi)."""
    mask = (video.min(axis=1) > BRIGHT).astype(np.float64)  # (t, h, w)
    height, width = mask.shape[1:]
    area = mask.sum(axis=(1, 2)) + 1
    turn_y, turn_x = (2 * np.pi * np.arange(n) / n for n in (height, width))
    y = np.angle((mask.sum(axis=2) * np.exp(1j * turn_y)).sum(axis=1))
    x = np.angle((mask.sum(axis=1) * np.exp(1j * turn_x)).sum(axis=1))
    dy = np.angle(np.exp(1j * (turn_y - y[:, None])))[:, :, None]
    dx = np.angle(np.exp(1j * (turn_x - x[:, None])))[:, None, :]
    axis = (mask * (dx + 1j * dy) ** 2).sum(axis=(1, 2))  # twice the angle of the long axis
    return {"x": x, "y": y, "area": np.log(area), "axis": np.angle(axis) / 2}


def _flat(states: dict[str, Floats]) -> Floats:
    """States of single frames as numbers without jumps, (t, f)."""
    angles = [states["x"], states["y"], 2 * states["axis"]]
    waves = [wave(angle) for angle in angles for wave in (np.cos, np.sin)]
    return np.stack([*waves, states["area"]], axis=1)


def _odd_statistics(states: dict[str, Floats]) -> Floats:
    """Statistics that change sign when the clip is played backwards, (f,)."""
    dx, dy = (_wrapped(np.diff(states[key])) for key in ("x", "y"))
    turn = _wrapped(2 * np.diff(states["axis"])) / 2
    growth = np.diff(states["area"])
    speed = np.hypot(dx, dy)
    middle = np.arange(len(speed)) - (len(speed) - 1) / 2
    gone = (states["area"] < np.median(states["area"]) - 1.5).astype(float)
    shown = (gone[1:] == 0) & (gone[:-1] == 0)
    hop = (speed > 1) * shown
    late = [
        (gone[: len(hop) - lag] * hop[lag:]).sum() - (gone[lag + 1 :] * hop[: len(hop) - lag]).sum()
        for lag in range(1, max(2, len(hop) // 3))
    ]
    middling = [np.median(each) for each in (dx, dy, turn, growth, np.diff(speed))]
    return np.array([*middling, (middle * speed).sum(), np.sign(growth).sum(), *late])


def _wrapped(angle: Floats) -> Floats:
    return np.angle(np.exp(1j * angle))
