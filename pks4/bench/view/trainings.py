"""What an accuracy rests on: image model and frames seen at the start, the curve at the end."""

from collections.abc import Iterable
from typing import NamedTuple

from pks4.bench import units
from pks4.bench.stats import plateau
from pks4.bench.view import curves
from pks4.bench.view.rows import Row, Setting
from pks4.bench.view.view import View


def image_top1(view: View, row: Row) -> float | None:
    """Share of held-out stills that the image model behind a row gets right; None: not stated.

    Records from before it stood beside top-1 have it with the MACs of the training.
    """
    top1, macs = (
        view.find(row.setting, metric, row.label, row.frames)
        for metric in ("top1", "training_macs")
    )
    if top1 and "image_top1" in top1.detail:
        return top1.detail["image_top1"]
    return macs.detail.get("image_model", {}).get("val_top1") if macs else None


def image_words(view: View, rows: Iterable[Row]) -> str:
    """The image models behind these rows, in one clause; empty where none is stated."""
    known = [(top1, view.name(r.label)) for r in rows if (top1 := image_top1(view, r)) is not None]
    if not known:
        return ""
    (low, lowest), (high, highest) = min(known), max(known)
    if low == high:
        return f"image models at {units.percent(low)} of digits"
    return (
        f"image models from {units.percent(low)} ({lowest}) to {units.percent(high)} ({highest}) "
        "of digits"
    )


def sees_least(view: View, top1: Row) -> float | None:
    """The share of the frame that is seen least, over seeds; None where it was not measured."""
    shares = [member.detail.get("sees_least") for member in view.members(top1).values()]
    known = [share for share in shares if share is not None]
    return min(known, default=None)


class End(NamedTuple):
    """What the last fifth of a training still changed: whether it was flat, and in words."""

    flat: bool
    words: str


def end_of(view: View, setting: Setting, label: str, frames: int) -> End | None:
    """The end of a contestant's trainings, as the mean over seeds; None where it is not known.

    Where there is a validation curve it decides, because a training loss also falls by learning
    clips by heart.
    """
    curve = view.find(setting, curves.METRIC, label, frames)
    if curve is not None:
        change = plateau.change_at_end(curves.mean(curves.of(view, curve))[0])
        if change is None:
            return None
        return End(change <= plateau.TOP1_POINTS, f"{units.points(change)} points")
    loss = view.find(setting, "final_train_loss", label, frames)
    seeds = [one.detail.get("losses", []) for one in view.members(loss).values()] if loss else []
    means = [sum(epoch) / len(seeds) for epoch in zip(*seeds, strict=False)]
    fall = plateau.loss_fall(means)
    if fall is None:
        return None
    return End(fall <= plateau.LOSS_SHARE, f"loss {units.percent(fall)}")
