"""Trainings that had not flattened are told, by the validation curve where there is one."""

from pks4.bench.report.findings import accuracy as findings
from pks4.bench.view.view import View
from tests.factories.records import (
    clip_records,
    curve_records,
    frame,
    header,
    planted,
    record,
    where_trained,
)

FALLING, FLAT = [2.9, 2.6, 2.3, 2.0, 1.7], [2.9, 1.0, 0.5, 0.5, 0.5]
RISING, LEVEL = [0.1, 0.2, 0.3, 0.4, 0.5], [0.1, 0.4, 0.5, 0.5, 0.51]


def trained(label, losses, curve=None):
    """A contestant of seeds 0 and 1, with the same losses, and the same curve if there is one."""
    made = clip_records(label, {seed: planted(0.5, shift=seed) for seed in (0, 1)})
    for seed in (0, 1):
        where = where_trained(label, 8, seed, detail={"losses": losses})
        made.append(record(label, 8, "accuracy", "final_train_loss", losses[-1], **where))
    return made + (curve_records(label, {0: curve, 1: curve}) if curve else [])


def said(*records):
    every = [one for made in records for one in made]
    view = View(frame(every), header(every))
    return [f.words for f in findings.accuracy(view) if "flat over" in f.words.lower()]


def test_a_loss_that_still_falls_is_told_with_its_contestant():
    (words,) = said(trained("pks4", FALLING), trained("joint", FLAT))
    assert words.startswith("Not flat over the last fifth of the epochs (grid learn, tiny scale")
    assert "PKS4 (frozen backbone) (loss 10.3 %). Longer" in words
    assert "Joint" not in words


def test_where_there_is_a_validation_curve_it_decides():
    (words,) = said(trained("pks4", FALLING, LEVEL), trained("joint", FLAT, RISING))
    assert "Joint attention (+10.0 points)" in words
    assert "PKS4" not in words


def test_flat_trainings_are_told_as_that_and_unknown_ones_named():
    (words,) = said(trained("pks4", FLAT), trained("joint", [2.9]))
    assert words.startswith("Every known training was flat over the last fifth")
    assert words.endswith("Not known of Joint attention.")


def test_nothing_is_told_of_records_without_losses():
    assert said(clip_records("pks4", {None: planted(0.5)})) == []
