"""Figures of effects and of stages: what is drawn, in which order, and what is left out."""

import numpy as np
import pytest

from pks4.bench.report.figures import common, effects
from pks4.bench.report.figures import stages as figures_stages
from pks4.bench.report.figures.common import Omitted, Plot
from pks4.bench.view.view import View
from tests.factories.records import MIB, frame, header, record, seed_records, synthetic_run


def view_of(records):
    return View(frame(records), header(records))


def ratio(label, value, floor=None):
    detail = {"interval": [value * 0.9, value * 1.1], "reference": "frame_mean", "verdict": "same"}
    detail |= {} if floor is None else {"least_effect": float(np.log1p(floor))}
    place = {"grid": "time", "cell": f"time/{label}/t8", "kind": "noisy"}
    return record(label, 8, "time", "step_ratio", value, detail=detail, **place)


def stages(label, frames, temporal, backbone):
    detail = {"by_stage": {"temporal": temporal * MIB, "backbone": backbone * MIB}}
    kept = (temporal + backbone) * MIB
    return record(label, frames, "saved_bytes", "saved_bytes", kept, unit="B", detail=detail)


def row_names(plot):
    return [tick.get_text() for tick in plot.figure.axes[0].get_yticklabels()]


def test_times_stand_from_the_slowest_below_to_the_fastest_on_top():
    records = [ratio("joint", 1.4), ratio("pks4", 0.5), ratio("adapter", 0.9)]
    (plot,) = effects.build(view_of(records))
    assert row_names(plot) == ["Joint attention", "ST-Adapter", "PKS4 (frozen backbone)"]
    assert plot.figure.axes[0].get_xscale() == "log"
    assert "from 0.500× (PKS4 (frozen backbone)) to 1.40×" in plot.alt  # noqa: RUF001


def test_the_noise_floor_is_drawn_behind_each_row_and_is_in_the_data():
    (plot,) = effects.build(view_of([ratio("joint", 1.4, 0.25), ratio("pks4", 0.5, 0.05)]))
    bands = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in plot.figure.axes[0].patches]
    assert bands == [pytest.approx((1 / 1.25, 1.25)), pytest.approx((1 / 1.05, 1.05))]
    assert list(plot.data["noise_floor"]) == [pytest.approx(0.25), pytest.approx(0.05)]


def test_a_record_without_a_floor_has_no_band():
    (plot,) = effects.build(view_of([ratio("joint", 1.4), ratio("pks4", 0.5)]))
    assert not plot.figure.axes[0].patches


def test_without_times_the_figure_is_left_out_with_the_reason():
    (left,) = effects.build(view_of([record("pks4", 8, "params", "params_total", 1)]))
    assert (left.why, isinstance(left, Omitted)) == ("no record of step_ratio", True)


def test_an_ablation_is_drawn_against_the_full_model():
    less = seed_records("no_priors", {0: 0.2, 1: 0.24, 2: 0.25}, family="PKS4")
    records = [*seed_records("pks4", {0: 0.4, 1: 0.5, 2: 0.45}), *less]
    made = effects.build(view_of(records))
    (plot,) = [one for one in made if isinstance(one, Plot)]
    assert plot.name == "switches-learn-tiny-b1-temporal"
    assert row_names(plot) == ["no_priors"]
    assert "minus that of PKS4 (frozen backbone)" in plot.caption


def test_where_rivals_take_part_it_is_no_ablation():
    records = [*seed_records("pks4", {0: 0.4, 1: 0.5}), *seed_records("joint", {0: 0.2, 1: 0.3})]
    made = effects.build(view_of(records))
    assert all(isinstance(one, Omitted) for one in made)


def test_stages_are_stacked_for_each_frame_on_one_scale():
    records = [
        *(stages("pks4", t, 4 * t, 0) for t in (8, 16)),
        *(stages("joint", t, 2 * t, t * t) for t in (8, 16)),
    ]
    (plot,) = figures_stages.build(view_of(records))
    ours, theirs = plot.figure.axes
    heights = [bar.get_height() for bar in theirs.patches]
    assert heights == pytest.approx([8, 16, 2, 2])  # MiB a frame: backbone, temporal; no head
    assert [bar.get_y() for bar in theirs.patches][2:] == pytest.approx([8, 16])
    assert ours.get_ylim() == theirs.get_ylim()
    assert [text.get_text() for text in ours.get_xticklabels()] == ["8", "16"]


def test_who_names_no_stages_is_told():
    bare = [record("adapter", t, "saved_bytes", "saved_bytes", t * MIB, unit="B") for t in (8, 16)]
    both = [stages(label, t, t, t) for label in ("pks4", "joint") for t in (8, 16)]
    (plot,) = figures_stages.build(view_of([*both, *bare]))
    assert "Without stages in their file: ST-Adapter." in plot.caption
    assert len(plot.figure.axes) == 2
    (left,) = figures_stages.build(view_of(bare))
    assert left.why == "fewer than two contestants name their stages"


def test_one_number_of_frames_is_no_figure_of_stages():
    (left,) = figures_stages.build(view_of([stages("pks4", 8, 1, 0), stages("joint", 8, 1, 1)]))
    assert left.why == "fewer than two frame counts"


def test_equal_records_give_equal_files():
    def made():
        view = view_of(synthetic_run())
        return [common.render(plot).files for plot in effects.build(view) if isinstance(plot, Plot)]

    assert made()
    assert made() == made()
