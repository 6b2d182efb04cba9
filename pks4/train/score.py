"""Scores of predictions, with Wilson intervals over clips."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.stats import binomtest
from torch import Tensor

from pks4.data.kinetic_digits.tasks import class_names, pairs_of


@dataclass(frozen=True, eq=False)
class Score:
    """Which clips were right, and their share with its 95 % Wilson interval."""

    hit: Tensor  # (clips,) bool
    label: Tensor  # (clips,)
    chance: float

    @property
    def clips(self) -> int:
        """Number of clips."""
        return len(self.hit)

    @property
    def right(self) -> int:
        """Number of right clips."""
        return int(self.hit.sum())

    @property
    def value(self) -> float:
        """Share of right clips."""
        return self.right / self.clips

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval."""
        interval = binomtest(self.right, self.clips).proportion_ci(method="wilson")
        return float(interval.low), float(interval.high)


def top1(logits: Tensor, label: Tensor) -> Score:
    """Share of clips whose largest logit (n, classes) is the label's."""
    return Score(logits.argmax(1) == label, label, 1 / logits.shape[1])


def topk(logits: Tensor, label: Tensor, k: int) -> Score:
    """Share of clips whose label is among the k largest logits (n, classes)."""
    predicted = logits.topk(k, dim=1).indices
    return Score((predicted == label[:, None]).any(1), label, k / logits.shape[1])


def by_class(logits: Tensor, label: Tensor, classes: Sequence[str]) -> dict[str, list[int]]:
    """class -> [right, clips], for every class with clips."""
    right = logits.argmax(1) == label
    masks = {name: label == position for position, name in enumerate(classes)}
    return {n: [int(right[m].sum()), int(m.sum())] for n, m in masks.items() if m.any()}


def within_pair(
    logits: Tensor, label: Tensor, kind: str | None = None, task: str = "temporal"
) -> Score:
    """Share of right clips when only the two classes of the clip's reversal pair compete.

    A bag of frames cannot tell a class from its time reversal, so chance is 1/2 whatever single
    frames show. Leaves out the oscillations, which have no partner. `kind` keeps only the "motion"
    or the "order" pairs.
    """
    names = class_names(task)
    hit = torch.zeros_like(label, dtype=torch.bool)
    in_pairs = hit.clone()
    for pair in pairs_of(task):
        if kind not in (None, pair.kind):
            continue
        both = torch.tensor([names.index(pair.first), names.index(pair.second)])
        of_pair = (label[:, None] == both).any(1)
        predicted = both[logits[of_pair][:, both].argmax(1)]
        in_pairs |= of_pair
        hit[of_pair] = predicted == label[of_pair]
    return Score(hit[in_pairs], label[in_pairs], 0.5)
