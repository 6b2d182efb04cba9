"""The numbers of an accuracy trial: scores of its predictions, costs of its training, its curve."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
) -> Iterator[Reading]:
    """top1; top5 of more than five classes; within reversal pairs on the embedded temporal task."""
    from pks4.data.kinetic_digits.tasks import HALF_CLIP_BOUND
    from pks4.train.engine import NAMED
    from pks4.train.score import by_class, top1, topk, within_pair

    logits, label = predicted.scores, predicted.label
    found = {"top1": top1(logits, label)}
    if len(classes) > 5:
        found["top5"] = topk(logits, label, 5)
    if task == "temporal":
        found["within_pair"] = within_pair(logits, label)
        found |= {f"within_pair_{k}": within_pair(logits, label, k) for k in ("motion", "order")}
    for metric, score in found.items():
        if not score.clips:
            continue  # a small split may hold no clip of that kind
        detail = {"interval": score.interval, "clips": score.clips, "chance": score.chance}
        detail["label"] = score.label.tolist()
        if metric != "top1":
            detail["right"] = score.hit.int().tolist()
        else:
            detail["predicted"] = logits.argmax(1).tolist()
            detail["by_class"] = by_class(logits, label, classes)
            detail["bad"] = len(predicted.bad)
            detail["bad_named"] = [item.name for item in predicted.bad[:NAMED]]
            if task == "long":
                detail["half_clip_bound"] = HALF_CLIP_BOUND
        yield Reading(
            metric=metric,
            value=score.value,
            unit="1",
            kind="sampled",
            evidence=evidence,
            detail=detail,
        )


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a training took."""

    history: "History"
    clip_macs: int  # of a training step with one clip, backward included
    image: dict[str, Any]  # facts of the image model
    evidence: dict[str, Any]

    def readings(self) -> Iterator[Reading]:
        """training_macs, training_seconds, data_wait_share, final_train_loss."""
        from pks4.macs import RULE

        history, seconds = self.history, sum(self.history.seconds)
        counted = {**self.evidence, "how": "simulated", "rule": RULE, "device": "meta"}
        yield Reading(
            metric="training_macs",
            value=self.clip_macs * history.clips,
            unit="MAC",
            kind="exact",
            evidence=counted,
            detail={
                "macs_per_clip": self.clip_macs,
                "clips": history.clips,
                "image_model": self.image,
            },
        )
        noisy: dict[str, Any] = {"kind": "noisy", "evidence": self.evidence}
        yield Reading(
            metric="training_seconds",
            value=seconds,
            unit="s",
            **noisy,
            detail={"steps": history.steps, "by_epoch": _rounded(history.seconds)},
        )
        yield Reading(
            metric="data_wait_share",
            value=sum(history.wait_seconds) / seconds,
            unit="1",
            **noisy,
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

    def curve(self, target_top1: float) -> Iterator[Reading]:
        """val_top1_best and, where the target was reached, what it took to get there."""
        history = self.history
        macs = [self.clip_macs * clips for clips in accumulate(history.epoch_clips)]
        seconds = list(accumulate(history.seconds))
        evidence = {**self.evidence, "split": "val"}
        detail: dict[str, Any] = {
            "by_epoch": history.val_top1,
            "macs_by_epoch": macs,
            "seconds_by_epoch": _rounded(seconds),
        }
        reached = next((i for i, v in enumerate(history.val_top1) if v >= target_top1), None)
        if target_top1:
            detail |= {"target": target_top1, "reached": reached is not None}
        yield Reading(
            metric="val_top1_best",
            value=max(history.val_top1),
            unit="1",
            kind="sampled",
            evidence=evidence,
            detail=detail,
        )
        if not target_top1 or reached is None:
            return
        for metric, value, unit, kind in (
            ("epochs_to_target", reached + 1, "epoch", "sampled"),
            ("macs_to_target", macs[reached], "MAC", "sampled"),
            ("seconds_to_target", seconds[reached], "s", "noisy"),
        ):
            yield Reading(
                metric=metric,
                value=value,
                unit=unit,
                kind=kind,  # type: ignore[arg-type]
                evidence=evidence,
                detail={"target": target_top1},
            )


def _rounded(seconds: Sequence[float]) -> list[float]:
    return [round(s, 3) for s in seconds]
