"""Whether a task leaks: classifiers that see too little of a clip, against what they may reach.

A view (leak_views.py) is the part of a clip that a probe sees.  For each view one classifier is
trained on one split and tested on another: the mean probabilities of a logistic regression and of
extremely randomised trees.  A *guard* is a view, a metric and an upper bound for a sound data set:

* temporal: a single frame, the bag and the shuffled frames: 1/2 within a reversal pair, and 11/18
  of all classes (the pair is known but not its order; the oscillations are known);
* long: a single frame 1/12, bag and shuffled frames 1/4, either half 1/3, frames sampled as far
  apart as a cue is long, 1/12;
* spatial: only the direction of the sprite's centre, 1/10.

A guard leaks if its whole Wilson interval lies above the bound.  The level of the intervals is
Bonferroni-corrected over all guards to 99 %: one of a hundred sound data sets is called leaky.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, computed_field

from pks4.data.dataset import Dataset
from pks4.data.errors import DataError
from pks4.data.kinetic_digits.leak_views import SAMPLES, Floats, track, views
from pks4.data.kinetic_digits.long_task import BAG_BOUND, CUE_FRAMES
from pks4.data.kinetic_digits.tasks import HALF_CLIP_BOUND, pairs_of
from pks4.data.manifest import Entry, read_manifest
from pks4.data.readers import read_frames
from pks4.errors import unknown_name

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin

CONFIDENCE = 0.99  # that no guard of a sound data set lies above its bound
TREES = 100
SEED = 0

Progress = Callable[[int, int], None]
Labels = NDArray[np.int64]
ViewsAndLabels = tuple[dict[str, Floats], Labels]  # view -> (n, f), and the labels (n,)


class Score(BaseModel):
    """The score of a probe: right clips of all, Wilson's interval, chance.

    `bound` is the upper bound for a sound data set; None if the view may know the answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    view: str
    metric: str
    right: int
    clips: int
    value: float
    interval: tuple[float, float]
    chance: float
    bound: float | None

    @computed_field
    @property
    def leaks(self) -> bool:
        """Whether the whole interval lies above the bound."""
        return self.bound is not None and self.interval[0] > self.bound


class Findings(BaseModel):
    """All scores of a data set, and those that are leaks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    size: int
    frames: int
    digest: str
    fit_clips: int
    judge_clips: int
    scores: tuple[Score, ...]

    @property
    def leaks(self) -> tuple[Score, ...]:
        """The scores above their bounds."""
        return tuple(score for score in self.scores if score.leaks)


def probe(
    dataset: Dataset,
    *,
    fit: str = "train",
    judge: str = "test",
    only: Sequence[str] | None = None,
    workers: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Findings:
    """Train every probe on split `fit` and test it on split `judge`.

    `only` selects views; `workers` processes decode the clips (default: one a core);
    `progress(done, total)` counts clips and then views.

    Raises DataError for an unknown view or split or one that is too small, VideoError for a clip
    that cannot be read.
    """
    names = view_names(dataset.task, only)
    splits = {split: _entries(dataset, split) for split in (fit, judge)}
    total = sum(map(len, splits.values())) + len(names)
    counter = _Counter(progress, total)
    read = {split: _read_views(dataset, e, workers, counter) for split, e in splits.items()}
    counts: list[tuple[str, str, int, int]] = []
    for view in names:
        counts += _judge(dataset, view, read[fit], read[judge])
        counter.advance()
    guards = sum(_bound(dataset, view, metric) is not None for view, metric, *_ in counts)
    return Findings(
        task=dataset.task,
        size=dataset.size,
        frames=dataset.frames,
        digest=dataset.digest,
        fit_clips=len(splits[fit]),
        judge_clips=len(splits[judge]),
        scores=tuple(_score(dataset, *each, guards) for each in counts),
    )


class _Counter:
    """Counts steps and reports them to `progress`."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.progress, self.done, self.total = progress, 0, total

    def advance(self) -> None:
        self.done += 1
        self.progress(self.done, self.total)


def _entries(dataset: Dataset, split: str) -> list[Entry]:
    if split not in dataset.splits:
        raise DataError(f"the data set has no split {split!r} to probe; make it with some clips")
    entries = read_manifest(dataset.splits[split], classes=dataset.classes)
    least = 2 * len(dataset.classes)
    if len(entries) < least:
        raise DataError(f"{split} has {len(entries)} clips; a probe takes at least {least}")
    return entries


def _read_views(
    dataset: Dataset, entries: list[Entry], workers: int | None, counter: _Counter
) -> ViewsAndLabels:
    """All views of the clips of a split, decoded one by one."""
    from joblib import Parallel, delayed

    pool = Parallel(n_jobs=workers or -1, return_as="generator")
    rows = []
    for row in pool(delayed(_views_of)(dataset.task, n, e) for n, e in enumerate(entries)):
        rows.append(row)
        counter.advance()
    labels = np.array([entry.label for entry in entries])
    return {view: np.stack([row[view] for row in rows]) for view in rows[0]}, labels


def _views_of(task: str, index: int, entry: Entry) -> dict[str, Floats]:
    count = entry.num_frames
    return views(task, track(read_frames(entry.path, range(count), num_frames=count)), index)


def view_names(task: str, only: Sequence[str] | None = None) -> tuple[str, ...]:
    """The views of a task, single frames first, or those that `only` names.

    Raises DataError for a view that the task does not have.
    """
    names = ("first", "middle", "last", "bag", "shuffled", "ordered")
    more: dict[str, tuple[str, ...]] = {
        "spatial": ("motion",),
        "long": ("first_half", "second_half", *(f"sampled_{n}" for n in SAMPLES)),
    }
    known = names + more.get(task, ())
    for name in only or ():
        if name not in known:
            raise DataError(unknown_name("view", name, known))
    return known if only is None else tuple(only)


def _judge(
    dataset: Dataset, view: str, fit: ViewsAndLabels, judge: ViewsAndLabels
) -> Iterator[tuple[str, str, int, int]]:
    """(view, metric, right, clips) of one view: over all classes, and within reversal pairs."""
    right = _right((fit[0][view], fit[1]), (judge[0][view], judge[1]))
    yield view, "all", int(right.sum()), len(right)
    pairs = pairs_of(dataset.task)
    by_kind: dict[str, list[NDArray[np.bool_]]] = {pair.kind: [] for pair in pairs}
    for pair in pairs:
        both = [dataset.classes.index(name) for name in pair[:2]]
        masks = [np.isin(labels, both) for _, labels in (fit, judge)]
        parts = [
            (x[view][m], labels[m]) for (x, labels), m in zip((fit, judge), masks, strict=True)
        ]
        by_kind[pair.kind].append(_right(*parts))
    if by_kind:
        right = np.concatenate([each for parts in by_kind.values() for each in parts])
        yield view, "within_pair", int(right.sum()), len(right)
    for kind, parts in by_kind.items() if len(by_kind) > 1 else ():
        right = np.concatenate(parts)
        yield view, f"within_pair_{kind}", int(right.sum()), len(right)


def _right(fit: tuple[Floats, Labels], judge: tuple[Floats, Labels]) -> NDArray[np.bool_]:
    """Whether a classifier is right on each clip of `judge`."""
    return _classifier().fit(*fit).predict(judge[0]) == judge[1]


def _classifier() -> "ClassifierMixin":
    from sklearn.ensemble import ExtraTreesClassifier, VotingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    lines = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    trees = ExtraTreesClassifier(TREES, min_samples_leaf=2, random_state=SEED)
    return VotingClassifier([("lines", lines), ("trees", trees)], voting="soft")


def _bound(dataset: Dataset, view: str, metric: str) -> float | None:
    """The upper bound for a sound data set; None if the view may know the answer."""
    classes = len(dataset.classes)
    single = view in ("first", "middle", "last")
    if pairs := pairs_of(dataset.task):
        if not single and view not in ("bag", "shuffled"):
            return None
        known = classes - len(pairs)  # the pair of a clip, or its oscillation
        return known / classes if metric == "all" else 0.5
    if dataset.task == "spatial":
        return 1 / classes if view == "motion" else None
    if view.startswith("sampled_"):
        apart = dataset.frames / int(view.removeprefix("sampled_"))
        return 1 / classes if apart >= CUE_FRAMES else None
    bounds = {"bag": BAG_BOUND, "shuffled": BAG_BOUND, "first_half": HALF_CLIP_BOUND,
              "second_half": HALF_CLIP_BOUND}  # fmt: skip
    return 1 / classes if single else bounds.get(view)


def _score(dataset: Dataset, view: str, metric: str, right: int, clips: int, guards: int) -> Score:
    from scipy.stats import binomtest

    level = 1 - 2 * (1 - CONFIDENCE) / max(1, guards)  # one-sided: only the lower end matters
    ends = binomtest(right, clips).proportion_ci(level, method="wilson")
    return Score(
        view=view,
        metric=metric,
        right=right,
        clips=clips,
        value=right / clips,
        interval=(float(ends.low), float(ends.high)),
        chance=1 / len(dataset.classes) if metric == "all" else 0.5,
        bound=_bound(dataset, view, metric),
    )
