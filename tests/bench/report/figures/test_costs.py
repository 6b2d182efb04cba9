"""Figures: what is drawn, what is left out and why, ticks, labels apart, equal bytes."""

import copy

import matplotlib
import pytest

from pks4.bench.report.figures import (
    charts,
    common,
    drawing,
    headline,
    labels,
    palette,
)
from pks4.bench.report.figures import (
    costs as cost_figures,
)
from pks4.bench.report.figures.common import Omitted, Plot
from pks4.bench.view.view import FAMILIES, View
from tests.factories.records import (
    COSTS,
    FRAMES,
    accuracy_records,
    cost_records,
    frame,
    header,
    record,
    synthetic_run,
)


def view_of(records):
    return View(frame(records), header(records))


def few(frames=FRAMES, contestants=("pks4", "joint", "frame_mean")):
    return [r for label in contestants for t in frames for r in cost_records(label, t)]


@pytest.fixture(scope="module")
def made():
    return cost_figures.build(view_of(synthetic_run()))


def test_one_figure_for_each_metric(made):
    assert [plot.name for plot in made if isinstance(plot, Plot)] == [
        "saved-bytes-cost-paper-b1",
        "macs-forward-cost-paper-b1",
        "macs-train-cost-paper-b1",
        "step-seconds-time-tiny-b1",
    ]
    assert [one.why for one in made if isinstance(one, Omitted)] == ["no record of step_peak_bytes"]


def test_captions_say_how_it_was_measured(made):
    memory, times = made[0], made[3]
    assert "simulated, on meta, float32, attention kernel flash_cpu" in memory.caption
    assert "measured, on cpu" in times.caption
    assert "interquartile range" in times.caption


def test_a_cost_of_zero_is_named_since_a_log_axis_cannot_show_it(made):
    assert "since it is 0: Mean of frames." in made[0].caption


def test_alt_text_tells_the_lowest_and_the_highest(made):
    assert "At T = 64 from 256 MiB (PKS4 (frozen backbone))" in made[0].alt


def test_both_axes_are_logarithmic_with_plain_frame_counts(made):
    axes = made[1].figure.axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [text.get_text() for text in axes.get_xticklabels()] == ["8", "16", "32", "64"]


def test_whiskers_reach_from_first_to_third_quartile():
    values = {"samples_seconds": [1.0, 2.0, 3.0, 4.0, 5.0]}
    row = record("pks4", 8, "time", "step_seconds", 3.0, detail=values)
    view = view_of([row])
    assert charts.quartiles(view.rows[0]) == (2.0, 4.0)


def test_guessing_is_drawn_at_chance_and_at_one_half():
    rows = [r for r in view_of(synthetic_run()).rows if r.metric in ("top1", "within_pair")]
    assert common.levels("within_pair", rows) == {"coin, 50 %": 0.5}
    spatial = [r for r in rows if r.setting.task == "spatial"]
    assert common.levels("top1", spatial) == {"chance, 10.0 %": 0.1}


def test_missing_data_leaves_a_figure_out_with_the_reason():
    made = cost_figures.build(view_of(few(frames=(8,))))
    assert all(isinstance(one, Omitted) for one in made)
    reasons = [one.why for one in made]
    assert "fewer than two frame counts above zero" in reasons
    assert "no record of step_seconds" in reasons


def test_a_line_that_stops_early_says_where():
    records = [r for r in few() if (r["label"], r["frames"]) != ("joint", 64)]
    view = view_of(records)
    series = view.series(view.cost_settings[0], "macs_forward")
    words = [label.words for label in charts.end_labels(series, common.cast(view))]
    assert words == ["PKS4 (frozen backbone)", "Joint attention (to T = 32)", "Mean of frames"]


def test_headline_needs_costs_or_accuracy_only():
    assert isinstance(headline.build(view_of(few(frames=(8,)))), Omitted)
    costs = headline.build(view_of(few()))
    assert len(costs.figure.axes) == 2
    assert costs.caption.endswith("No accuracy measured.")


def test_a_headline_of_one_task_has_three_panels_and_no_empty_place():
    scores = [r for label in ("pks4", "joint") for r in accuracy_records(label, "spatial")]
    _, right, task = headline.build(view_of(few() + scores)).figure.axes
    assert task.get_position().y1 < right.get_position().y0
    assert task.get_position().x1 > right.get_position().x1


def test_equal_records_give_equal_files():
    first, again = (
        drawing.write(headline.build(view_of(copy.deepcopy(few()))).figure, "headline")
        for _ in range(2)
    )
    assert first == again
    assert b"<dc:date>" not in first["svg"]


def test_drawing_leaves_the_global_settings_alone():
    before = dict(matplotlib.rcParams)
    cost_figures.build(view_of(few()))
    assert dict(matplotlib.rcParams) == before


def test_names_are_never_read_as_mathematics():
    records = few(frames=(8, 16))
    for one in records:
        one["title"] += " $\\bad{$ _x_"
    svg = drawing.write(cost_figures.build(view_of(records))[0].figure, "odd")["svg"]
    assert svg.startswith(b"<?xml")


def test_every_family_has_a_colour_and_a_marker_of_its_own():
    assert len({palette.colour(family) for family in FAMILIES}) == len(FAMILIES)
    assert len({palette.marker(family) for family in FAMILIES}) == len(FAMILIES)
    looks = palette.looks(view_of(few(contestants=tuple(COSTS))).contestants)
    assert looks["pks4"].dashes != looks["pks4_tuned"].dashes


@pytest.mark.parametrize(
    ("low", "high", "binary", "ticks"),
    [
        (9.0, 1100.0, False, [10, 100, 1000]),
        (90.0, 1100.0, False, [100, 300, 1000]),
        (250.0, 1300.0, False, [300, 500, 700, 1000]),
        (2.0**20, 2.0**24, True, [2.0**n for n in range(20, 25)]),
        (2.0**20, 2.0**30, True, [2.0**n for n in range(20, 31, 2)]),
    ],
)
def test_ticks_are_round(low, high, binary, ticks):
    assert drawing.round_ticks(low, high, binary=binary) == pytest.approx(ticks)


def test_a_narrow_range_still_has_ticks():
    assert len(drawing.round_ticks(100.0, 101.0, binary=False)) == 3
    assert len(drawing.round_ticks(33.0, 40.0, binary=True)) == 3


def test_labels_move_as_little_as_keeps_them_apart():
    assert labels.spread([0.5, 0.5], 0.2, 0.0, 1.0) == pytest.approx([0.4, 0.6])
    assert labels.spread([0.1, 0.9], 0.2, 0.0, 1.0) == pytest.approx([0.1, 0.9])
    assert labels.spread([0.99, 1.0], 0.2, 0.0, 1.0) == pytest.approx([0.8, 1.0])
    assert labels.spread([0.5] * 6, 0.5, 0.0, 1.0) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])


def test_file_stems_are_safe_whatever_the_records_hold():
    view = view_of([one | {"grid": "../../etc passwd"} for one in cost_records("pks4", 8)])
    assert common.stem("saved_bytes", view.cost_settings[0]) == (
        "saved-bytes-------etc-passwd-paper-b1"
    )
