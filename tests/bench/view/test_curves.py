"""Convergence: epochs of the best, of 98 % of it and of a target, by hand; missed targets stay."""

import pytest

from pks4.bench.report.findings import costs as cost_findings
from pks4.bench.report.tables import accuracy as accuracy_tables
from pks4.bench.report.tables import costs as cost_tables
from pks4.bench.view import curves
from pks4.bench.view.curves import Curve
from pks4.bench.view.view import View
from tests.factories.records import curve_records, frame, header

RISING = [0.10, 0.40, 0.49, 0.50]  # 98 % of the best is 0.49: epoch 3


def view_of(records):
    return View(frame(records), header(records))


def curve(top1, target=None):
    epochs = range(1, len(top1) + 1)
    return Curve(
        seed=0, top1=top1, macs=[100 * e for e in epochs], seconds=[*map(float, epochs)],
        target=target,
    )  # fmt: skip


def line(records):
    (made,) = accuracy_tables.convergence(view_of(records)).rows
    return made


def said(records):
    found = cost_findings.build(view_of(records))
    return [one.words for one in found if one.topic == "Convergence"]


def test_the_best_epoch_is_the_first_that_has_it():
    assert curve(RISING).best == 4
    assert curve([0.2, 0.5, 0.5]).best == 2


def test_98_percent_of_the_best_is_reached_at_its_first_epoch():
    assert curve(RISING).nearly == 3
    assert curve([0.10, 0.40, 0.4899, 0.50]).nearly == 4


def test_a_target_is_reached_at_it_not_above_it_and_may_be_missed():
    assert curve(RISING, target=0.40).reached == 2
    assert curve(RISING, target=0.51).reached is None
    assert curve(RISING).reached is None


def test_a_seed_that_missed_the_target_counts_as_later_than_all():
    fast, slow, never = curve([0.5, 0.5], 0.5), curve([0.1, 0.5], 0.5), curve([0.1, 0.1], 0.5)
    epoch = lambda _, epoch: epoch  # noqa: E731 - as short as what it says
    assert curves.over_seeds([fast, slow, slow], epoch) == (2, 1, 2)
    assert curves.over_seeds([fast, slow, never], epoch) == (2, 1, None)
    assert curves.over_seeds([fast, never, never], epoch) == (None, 1, None)
    assert curves.over_seeds([fast, never], epoch)[0] is None  # of two, the later


def test_the_mean_curve_ends_where_the_shortest_seed_does():
    top1, macs = curves.mean([curve([0.2, 0.4, 0.6]), curve([0.4, 0.6])])
    assert top1 == pytest.approx([0.3, 0.5])
    assert macs == [100, 200]


def test_the_table_says_when_for_one_training():
    made = line(curve_records("pks4", {None: RISING}, target=0.40, macs_an_epoch=10**12))
    assert [made[key].text for key in ("val_top1_best", "best_epoch", "nearly_epoch")] == [
        "50.0", "4", "3",
    ]  # fmt: skip
    assert (made["target"].text, made["reached"].text) == ("40", "1 of 1 seed")
    assert made["epochs_to_target"].value == 2
    assert (made["macs_to_target"].value, made["macs_to_target"].text) == (2 * 10**12, "2.00 TMAC")
    assert (made["seconds_to_target"].value, made["seconds_to_target"].text) == (20.0, "20.0 s")


def test_the_table_takes_medians_over_seeds_and_shows_the_range():
    top1 = {0: [0.1, 0.2, 0.5], 1: [0.1, 0.5, 0.5], 2: [0.5, 0.5, 0.5]}
    made = line(curve_records("pks4", top1, target=0.5))
    assert made["epochs_to_target"].text == "2 (1 to 3)"
    assert made["best_epoch"].text == "2 (1 to 3)"
    assert made["seeds"].value == 3


def test_a_missed_target_is_said_with_its_epochs_and_is_no_number():
    top1 = {0: [0.1, 0.2], 1: [0.1, 0.3], 2: [0.1, 0.5]}
    made = line(curve_records("pks4", top1, target=0.5))
    assert made["reached"].text == "1 of 3 seeds"
    assert made["epochs_to_target"].value is None
    assert made["epochs_to_target"].text == "not reached in 2 epochs"
    none = line(curve_records("pks4", {0: [0.1, 0.2]}, target=0.5))
    assert none["reached"].text == "not reached in 2 epochs"


def test_a_seed_that_missed_it_is_the_end_of_the_range():
    top1 = {0: [0.5, 0.5], 1: [0.1, 0.5], 2: [0.1, 0.1]}
    assert line(curve_records("pks4", top1, target=0.5))["epochs_to_target"].text == (
        "2 (1 to never)"
    )


def test_without_a_target_nothing_is_said_of_one():
    made = accuracy_tables.convergence(view_of(curve_records("pks4", {None: RISING})))
    assert "target" not in [column.key for column in made.shown]


def test_without_curves_there_is_no_table():
    records = [one | {"metric": "top1"} for one in curve_records("pks4", {None: RISING})]
    assert "convergence" not in [made.name for made in cost_tables.build(view_of(records))]


def test_the_sentence_names_the_least_compute_who_missed_and_who_may_still_rise():
    (words,) = said(
        [
            *curve_records("pks4", {None: [0.5, 0.6, 0.55]}, target=0.5, macs_an_epoch=10**12),
            *curve_records("joint", {None: [0.2, 0.4, 0.6]}, target=0.5, macs_an_epoch=10**11),
            *curve_records("mamba", {None: [0.1, 0.2, 0.3]}, target=0.5),
        ]
    )
    assert "The target of 50.0 % top-1 on the validation clips" in words
    assert "T = 8, 3 epochs) was reached by 2 of 3" in words
    assert "with the least compute by Joint attention, 300 GMAC" in words
    assert "; not reached by VideoMamba." in words
    assert words.endswith("perhaps not at the end: Joint attention and VideoMamba.")


def test_nobody_at_the_target_is_told_as_that():
    records = [r for k in ("pks4", "joint") for r in curve_records(k, {0: RISING}, target=0.9)]
    assert "was reached by nobody." in said(records)[0]
