"""Accuracy against T: one column a T, the gain from the fewest to the most frames."""

import numpy as np
import pytest

from pks4.bench.report.tables import accuracy as accuracy_tables
from pks4.bench.report.tables import costs as cost_tables
from pks4.bench.stats import clips as clip_stats
from pks4.bench.view.view import View
from tests.factories.records import (
    accuracy_records,
    clip_records,
    frame,
    header,
    planted,
    seed_records,
)


def view_of(records):
    return View(frame(records), header(records))


def lines(records):
    return accuracy_tables.accuracy_frames(view_of(records)).rows


def test_each_t_has_a_column_and_a_gap_stays_a_gap():
    made = accuracy_tables.accuracy_frames(
        view_of(
            [
                *clip_records("pks4", {None: planted(0.5)}, frames=4),
                *clip_records("pks4", {None: planted(0.75)}, frames=16),
                *clip_records("joint", {None: planted(0.5)}, frames=8),
            ]
        )
    )
    assert [c.heading for c in made.columns if c.key.startswith("t") and c.numeric] == [
        "T = 4", "T = 8", "T = 16",
    ]  # fmt: skip
    assert [made.rows[0][f"t{t}"].text for t in (4, 16)] == ["50.0", "75.0"]
    assert made.rows[0]["t8"].value is None
    assert made.rows[1]["gain"].value is None  # one T has nothing to gain from


def test_the_gain_is_paired_by_clip():
    few, many = planted(0.5), planted(0.6)
    (line,) = lines(
        [
            *clip_records("pks4", {None: few}, frames=4),
            *clip_records("pks4", {None: many}, frames=32),
        ]
    )
    asked = clip_stats.paired_bootstrap(np.array([many]), np.array([few]))
    assert line["gain"].value == pytest.approx(0.1)
    assert (line["low"].value, line["high"].value) == asked.interval
    assert (line["between"].text, line["method"].text) == (
        "4 to 32", "paired bootstrap over clips, one seed",
    )  # fmt: skip


def test_without_predictions_the_gain_is_paired_by_seed():
    few, many = {0: 0.5, 1: 0.6, 2: 0.7}, {0: 0.6, 1: 0.72, 2: 0.84}
    later = [
        one | {"frames": 16, "cell": one["cell"].replace("t8", "t16")}
        for one in seed_records("pks4", many)
    ]
    (line,) = lines([*seed_records("pks4", few), *later])
    assert line["gain"].value == pytest.approx(0.12)
    assert line["method"].text == "paired t-test over 3 seeds"


def test_one_t_gives_no_table():
    made = cost_tables.build(view_of(accuracy_records("pks4", "temporal")))
    assert "accuracy_frames" not in [table.name for table in made]
