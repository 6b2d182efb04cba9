"""The readings of an accuracy cell: scores of predictions, costs of the training, the curve."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from pks4.bench.records.record import Reading

if TYPE_CHECKING:
    from pks4.train.checkpoint import History
    from pks4.train.predict import Predicted


def scores(
    task: str | None,
    classes: Sequence[str],
    predicted: "Predicted",
    evidence: dict[str, Any],
    starts: dict[str, Any],
) -> Iterator[Reading]:
    """top1; top5 of more than five classes; within reversal pairs where the task has any.

    `starts` says what the training started from; it stands beside top1.
    """
    from pks4.data.kinetic_digits.tasks import HALF_CLIP_BOUND, TASKS, pairs_of
    from pks4.train.engine import NAMED
    from pks4.train.score import by_class, top1, topk, within_pair

    reading = partial(Reading, unit="1", kind="sampled", evidence=evidence)
    logits, label = predicted.scores, predicted.label
    measured = {"top1": top1(logits, label)}
    if len(classes) > 5:
        measured["top5"] = topk(logits, label, 5)
    if task in TASKS:
        kinds = sorted({pair.kind for pair in pairs_of(task)})
        for kind in [None] * bool(kinds) + kinds * (len(kinds) > 1):
            name = f"within_pair_{kind}" if kind else "within_pair"
            measured[name] = within_pair(logits, label, kind, task)
    for metric, score in measured.items():
        if not score.clips:
            continue  # a small split may hold no clip of that kind
        detail = {"interval": score.interval, "clips": score.clips, "chance": score.chance}
        detail["label"] = score.label.tolist()
        if metric != "top1":
            detail["right"] = score.hit.int().tolist()
        else:
            detail["predicted"] = logits.argmax(1).tolist()
            detail["by_class"] = by_class(logits, label, classes)
            detail |= starts
            detail["bad"] = len(predicted.bad)
            detail["bad_named"] = [item.name for item in predicted.bad[:NAMED]]
            if task == "long":
                detail["half_clip_bound"] = HALF_CLIP_BOUND
        yield reading(metric=metric, value=score.value, detail=detail)


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Compute and time of a training."""

    history: "History"
    clip_macs: int  # of a training step with one clip, backward included
    macs_computed: int  # of the whole training; less where features were read
    features_seconds: float  # outside of epochs, to compute or to read features
    image: dict[str, Any]  # facts of the image model
    evidence: dict[str, Any]

    def readings(self) -> Iterator[Reading]:
        """training_macs, training_seconds, data_wait_share, final_train_loss."""
        history, seconds = self.history, sum(self.history.seconds)
        yield self._training_macs()
        noisy = partial(Reading, kind="noisy", evidence=self.evidence)
        yield noisy(
            metric="training_seconds",
            value=seconds,
            unit="s",
            detail={
                "steps": history.steps,
                "by_epoch": _rounded(history.seconds),
                "features_seconds": round(self.features_seconds, 3),
            },
        )
        yield noisy(
            metric="data_wait_share",
            value=sum(history.wait_seconds) / seconds,
            unit="1",
            detail={
                "seconds_by_epoch": _rounded(history.wait_seconds),
                "bad_by_epoch": history.bad,
                "bad_named": history.bad_named,
            },
        )
        yield Reading(
            metric="final_train_loss",
            value=history.losses[-1],
            unit="nat",
            kind="sampled",
            evidence=self.evidence,
            detail={"losses": history.losses},
        )

    def _training_macs(self) -> Reading:
        from pks4.macs import RULE

        clips = self.history.clips
        detail = {
            "macs_per_clip": self.clip_macs,
            "clips": clips,
            "macs_computed": self.macs_computed,
            "image_model": self.image,
        }
        return Reading(
            metric="training_macs",
            value=self.clip_macs * clips,
            unit="MAC",
            kind="exact",
            evidence={**self.evidence, "how": "simulated", "rule": RULE, "device": "meta"},
            detail=detail,
        )

    def curve(self, target_top1: float) -> Iterator[Reading]:
        """val_top1_best and, where the target was reached, the training that it took."""
        history = self.history
        macs = [self.clip_macs * clips for clips in accumulate(history.epoch_clips)]
        seconds = list(accumulate(history.seconds))
        reading = partial(Reading, evidence={**self.evidence, "split": "val"})
        detail: dict[str, Any] = {
            "by_epoch": history.val_top1,
            "macs_by_epoch": macs,
            "seconds_by_epoch": _rounded(seconds),
        }
        reached = next((i for i, v in enumerate(history.val_top1) if v >= target_top1), None)
        if target_top1:
            detail |= {"target": target_top1, "reached": reached is not None}
        best = max(history.val_top1)
        yield reading(metric="val_top1_best", value=best, unit="1", kind="sampled", detail=detail)
        if not target_top1 or reached is None:
            return
        reading = partial(reading, detail={"target": target_top1})
        epochs = reached + 1
        yield reading(metric="epochs_to_target", value=epochs, unit="epoch", kind="sampled")
        yield reading(metric="macs_to_target", value=macs[reached], unit="MAC", kind="sampled")
        yield reading(metric="seconds_to_target", value=seconds[reached], unit="s", kind="noisy")


def _rounded(seconds: Sequence[float]) -> list[float]:
    return [round(s, 3) for s in seconds]
