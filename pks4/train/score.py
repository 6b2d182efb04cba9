"""Scores of predictions, with Wilson intervals over clips."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.stats import binomtest
from torch import Tensor

from pks4.data.kinetic_digits.tasks import PAIRS, class_names


@dataclass(frozen=True, eq=False)
class Score:
    """A share of clips: which were right, of which label, and its 95 % Wilson interval."""

    hit: Tensor  # (clips,) bool
    label: Tensor  # (clips,)
    chance: float

    @property
    def clips(self) -> int:
        """How many clips were judged."""
        return len(self.hit)

    @property
    def right(self) -> int:
        """How many of them were right."""
        return int(self.hit.sum())

    @property
    def value(self) -> float:
        """The share that is right."""
        return self.right / self.clips

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval."""
        found = binomtest(self.right, self.clips).proportion_ci(method="wilson")
        return float(found.low), float(found.high)


def top1(logits: Tensor, label: Tensor) -> Score:
    """Share of clips whose largest logit (n, classes) is the label's."""
    return Score(logits.argmax(1) == label, label, 1 / logits.shape[1])


def topk(logits: Tensor, label: Tensor, k: int) -> Score:
    """Share of clips whose label is among the k largest logits (n, classes)."""
    named = logits.topk(k, dim=1).indices
    return Score((named == label[:, None]).any(1), label, k / logits.shape[1])


def by_class(logits: Tensor, label: Tensor, classes: Sequence[str]) -> dict[str, list[int]]:
    """class -> [right, clips], of the classes that there are clips of."""
    right = logits.argmax(1) == label
    masks = {name: label == position for position, name in enumerate(classes)}
    return {n: [int(right[m].sum()), int(m.sum())] for n, m in masks.items() if m.any()}


def within_pair(logits: Tensor, label: Tensor, kind: str | None = None) -> Score:
    """Share right when only the two classes of the clip's reversal pair may be named.

    Which of a class and its time reversal it is: a bag of frames cannot know, so chance is 1/2
    whatever is seen in single frames. Clips of the oscillations have no partner and are left out.
    `kind` keeps only "motion" or "order" pairs.
    """
    names = class_names("temporal")
    kept, hit = torch.zeros_like(label, dtype=torch.bool), torch.zeros_like(label, dtype=torch.bool)
    for pair in PAIRS:
        if kind not in (None, pair.kind):
            continue
        both = torch.tensor([names.index(pair.first), names.index(pair.second)])
        mine = (label[:, None] == both).any(1)
        named = both[logits[mine][:, both].argmax(1)]
        kept |= mine
        hit[mine] = named == label[mine]
    return Score(hit[kept], label[kept], 0.5)
