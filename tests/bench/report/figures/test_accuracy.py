"""Figures of accuracy and convergence: what is drawn, what captions say, what the CSV holds."""

import pytest

from pks4.bench.report import report
from pks4.bench.report.figures import accuracy as accuracy_figures
from pks4.bench.report.figures import common, shares
from pks4.bench.report.figures import curves as curves_figures
from pks4.bench.report.figures.common import Omitted, Plot, cast
from pks4.bench.view.view import View
from tests.factories.records import (
    accuracy_records,
    clip_records,
    cost_records,
    curve_records,
    frame,
    header,
    planted,
    synthetic_run,
)

LONG = [0.1, 0.2, 0.3, 0.35, 0.4]


def view_of(records):
    return View(frame(records), header(records))


@pytest.fixture(scope="module")
def frames_plot():
    records = [
        one
        for label, less in (("pks4", 0.0), ("joint", 0.2))
        for t in (8, 16)
        for one in clip_records(label, {None: planted(0.5 + t / 40 - less)}, frames=t)
    ]
    return accuracy_figures.build(view_of(records))


@pytest.fixture(scope="module")
def curve_plots():
    ours = curve_records("pks4", {0: LONG, 1: [v + 0.1 for v in LONG]}, target=0.3)
    return curves_figures.build(view_of([*ours, *curve_records("joint", {0: LONG}, target=0.3)]))


def test_one_scatter_a_task_and_nothing_against_one_t():
    made = accuracy_figures.build(view_of(synthetic_run()))
    assert [plot.name for plot in made] == [
        "accuracy-accuracy-tiny-b32-temporal",
        "accuracy-accuracy-tiny-b32-spatial",
    ]


def test_the_caption_names_who_is_on_the_front():
    """Temporal, top-1: PKS4 is both best and, with the frame mean, the one that costs least."""
    records = [r for s in ("pks4", "joint", "frame_mean") for r in accuracy_records(s, "temporal")]
    (plot,) = accuracy_figures.build(view_of(records))
    told = "(top-1 accuracy at T = 16: Mean of frames and PKS4 (frozen backbone); within-pair"
    assert told in plot.caption
    assert "does not weigh the bars" in plot.caption


def test_a_scatter_says_how_good_the_image_models_are():
    records = [r for s in ("pks4", "mamba") for r in accuracy_records(s, "temporal")]
    (plot,) = accuracy_figures.build(view_of(records))
    assert "image models" not in plot.caption  # of old records
    for one in records:
        if one["metric"] == "top1":
            one["detail"] |= {"image_top1": 0.96 if one["label"] == "pks4" else 0.853}
    (plot,) = accuracy_figures.build(view_of(records))
    told = "image models from 85.3 % (VideoMamba) to 96.0 % (PKS4 (frozen backbone)) of digits"
    assert told in plot.caption
    assert list(plot.data["image_top1"]) == 2 * [0.96, 0.853]  # of top-1 and within pairs


def test_at_equal_compute_there_is_no_front():
    records = [
        *clip_records("pks4", {None: planted(0.5)}, macs=1_000_000),
        *clip_records("joint", {None: planted(0.7)}, macs=1_010_000),
    ]
    (plot,) = accuracy_figures.build(view_of(records))
    assert "none is drawn, since all cost the same" in plot.caption
    assert list(plot.data["on_front"]) == [False, False]


def test_the_csv_of_a_scatter_says_who_is_on_the_front():
    records = [r for s in ("pks4", "joint") for r in accuracy_records(s, "spatial")]
    data = accuracy_figures.build(view_of(records))[0].data
    assert list(data["on_front"]) == [True, True]  # PKS4 80.0 %, joint attention 82.0 % for more
    assert list(data["share"]) == [0.8, 0.82]
    assert list(data["training_macs"]) == [18 * 10**9 * 20_000, 16 * 10**9 * 60_000]


def test_a_scatter_shows_one_t_the_one_that_most_share(frames_plot):
    scatter = frames_plot[0]
    assert set(scatter.data["frames"]) == {16}
    assert "T = 16" in scatter.figure.axes[0].get_title(loc="left")


def test_accuracy_against_t_has_plain_frames_and_an_axis_in_percent(frames_plot):
    plot = frames_plot[1]
    axes = plot.figure.axes[0]
    assert plot.name == "top1-frames-learn-tiny-b8-temporal"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["8", "16"]
    assert all(text.get_text().endswith(" %") for text in axes.get_yticklabels())
    assert list(plot.data["share"]) == pytest.approx([0.7, 0.9, 0.5, 0.7])
    assert "95 % Wilson intervals over the clips" in plot.caption


def test_alt_text_of_accuracy_against_t_tells_lowest_and_highest(frames_plot):
    told = "At T = 16 from 70.0 % (Joint attention) to 90.0 % (PKS4 (frozen backbone))."
    assert frames_plot[1].alt.endswith(told)


def test_a_label_starts_where_its_last_point_stands():
    records = [
        r for s in ("pks4", "joint") for r in clip_records(s, {None: planted(0.5)}, frames=16)
    ]
    view = view_of(records)
    first, second = shares.frame_ends(view.series(view.settings("top1")[0], "top1"), cast(view))
    assert first.x < 16 < second.x
    assert first.x * second.x == pytest.approx(16 * 16)


def test_curves_are_drawn_against_epochs_and_against_compute(curve_plots):
    assert [plot.name for plot in curve_plots] == [
        "curve-epochs-learn-tiny-b8-temporal",
        "curve-macs-learn-tiny-b8-temporal",
    ]
    epochs, macs = (plot.figure.axes[0] for plot in curve_plots)
    assert (epochs.get_xscale(), macs.get_xscale()) == ("linear", "log")
    assert epochs.get_xlabel() == "epoch"


def test_every_seed_has_a_thin_line_beside_the_mean(curve_plots):
    drawn = [line.get_ydata() for line in curve_plots[0].figure.axes[0].get_lines()]
    of_five = [list(y) for y in drawn if len(y) == len(LONG)]
    mean = [v + 0.05 for v in LONG]
    assert of_five == [
        pytest.approx(LONG), pytest.approx([v + 0.1 for v in LONG]), pytest.approx(mean),
        pytest.approx(LONG),  # of one seed there is one line
    ]  # fmt: skip
    assert "thin ones: each seed" in curve_plots[0].caption


def test_the_target_is_a_level(curve_plots):
    words = [text.get_text() for text in curve_plots[0].figure.axes[0].texts]
    assert "target, 30 %" in words


def test_the_csv_of_a_curve_has_a_line_for_each_epoch_and_seed(curve_plots):
    data = curve_plots[1].data
    assert len(data) == 3 * len(LONG)
    first = data.iloc[0]
    assert (first["seed"], first["epoch"], first["val_top1"]) == (0, 1, 0.1)
    assert (first["macs"], first["seconds"]) == (10**12, 10.0)


def test_one_seed_is_said_in_the_caption():
    records = [r for s in ("pks4", "joint") for r in curve_records(s, {None: LONG})]
    plot = curves_figures.build(view_of(records))[0]
    assert "no line says how another training would go" in plot.caption


def test_at_most_ten_epochs_have_a_marker_and_the_last_is_one_of_them():
    assert shares._marked(5) == (0, 1)
    start, step = shares._marked(24)
    marked = range(start, 24, step)
    assert len(marked) <= 10
    assert marked[-1] == 23


def test_what_cannot_be_drawn_is_left_out_with_the_reason():
    view = view_of(cost_records("pks4", 8))
    reasons = [one.why for one in (*accuracy_figures.build(view), *curves_figures.build(view))]
    assert reasons == ["no record of top1", "no record of val_top1_best"]
    alone = view_of(curve_records("pks4", {None: LONG}))
    assert all(isinstance(one, Omitted) for one in curves_figures.build(alone))


def test_data_stand_beside_the_figure_and_the_page_links_them(tmp_path):
    records = [r for s in ("pks4", "joint") for r in curve_records(s, {None: LONG})]
    made = report.build(view_of(records))
    report._write_files(tmp_path, made)
    stem = tmp_path / "figures" / "curve-epochs-learn-tiny-b8-temporal"
    assert stem.with_suffix(".csv").read_text().startswith("label,contestant,frames,seed,epoch")
    assert all(stem.with_suffix(end).exists() for end in (".png", ".svg"))
    assert f'href="figures/{stem.name}.csv"' in report.page(made)


def test_equal_records_give_equal_curves(curve_plots):
    again = curves_figures.build(
        view_of(
            [
                *curve_records("pks4", {0: LONG, 1: [v + 0.1 for v in LONG]}, target=0.3),
                *curve_records("joint", {0: LONG}, target=0.3),
            ]
        )
    )
    assert isinstance(again[0], Plot)
    assert common.render(again[0]).files == common.render(curve_plots[0]).files
