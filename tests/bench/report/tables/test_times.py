"""Tables of times: their growth with T, and streams."""

import pytest

from pks4.bench import units
from pks4.bench.report.tables import (
    costs as cost_tables,
)
from pks4.bench.report.tables import (
    times as times_tables,
)
from pks4.bench.view.view import View
from tests.factories.records import (
    frame,
    header,
    record,
    synthetic_run,
)


def view_of(records, missing=None):
    return View(frame(records), header(records), missing)


def test_times_at_four_numbers_of_frames_tell_their_power():
    made = []
    for frames in (4, 8, 16, 32):
        seconds = 0.01 + 0.001 * frames**1.5
        place = {"cell": f"time/pks4/t{frames}", "grid": "time", "scale": "tiny", "kind": "noisy"}
        detail = {"samples_seconds": [seconds] * 7}
        made.append(
            record(
                "pks4", frames, "time", "step_seconds", seconds, unit="s", detail=detail, **place
            )
        )
    (line,) = times_tables.time_growth(view_of(made)).rows
    assert line["power"].text == "1.50 [1.50 to 1.50]"
    assert line["constant"].text != units.MISSING
    assert line["range"].text == "4 to 32"
    assert "growth" not in {one.name for one in cost_tables.build(view_of(synthetic_run()))}


@pytest.mark.parametrize(("added", "memory"), [(0, "constant"), (32_768, "growing")])
def test_a_stream_stands_with_its_difference_its_bytes_and_its_verdicts(added, memory):
    detail = {"interval": [0.97, 1.03], "verdict": "constant", "early_frame": 10}
    values = {
        "streaming_deviation": (2.4e-7, "1", {}),
        "streaming_state_bytes": (54_024, "B", {}),
        "streaming_bytes_per_frame": (added, "B", {}),
        "streaming_frame_seconds": (0.004, "s", {}),
        "streaming_frame_p99_seconds": (0.006, "s", {}),
        "streaming_late_ratio": (1.0, "1", {**detail, "late_frame": 10_000}),
    }
    line = stream_line(values)
    assert line["streaming_deviation"].text == "2.4e-07"
    assert line["streaming_bytes_per_frame"].value == added
    assert line["streaming_frame_p99_seconds"].value == 0.006
    assert line["streaming_late_ratio"].text == "1.00 [0.97 to 1.03]"
    assert (line["verdict"].value, line["memory"].value) == ("constant", memory)
    assert line["last"].value == 10_000


def test_an_older_stream_without_a_p99_stands_with_a_gap():
    line = stream_line({"streaming_frame_seconds": (0.004, "s", {})})
    assert line["streaming_frame_seconds"].value == 0.004
    assert line["streaming_frame_p99_seconds"].text == units.MISSING


def stream_line(values):
    """The line of a contestant in the table of streams; values: metric -> value, unit, detail."""
    made = [
        record("pks4", 8, "streaming", metric, value, unit=unit, kind="noisy", detail=told)
        for metric, (value, unit, told) in values.items()
    ]
    (found,) = [t for t in cost_tables.build(view_of(made)) if t.name == "streaming"]
    (line,) = found.rows
    return line


def test_a_scan_stands_with_its_sizes_its_baseline_and_its_ratios():
    shape = {"b": 2, "t": 8, "s": 196, "d": 384, "n": 16}
    ratio = {"reference": "roofline", "interval": [2.5, 2.7], "verdict": "slower"}
    values = {
        "scan_forward_seconds": (0.018, "s", {"shape": shape}),
        "scan_forward_ratio": (2.6, "1", ratio),
    }
    made = [
        record("pks4", 8, "scan", metric, value, unit=unit, kind="noisy", detail=told)
        for metric, (value, unit, told) in values.items()
    ]
    (found,) = [t for t in cost_tables.build(view_of(made)) if t.name == "scan"]
    (line,) = found.rows
    assert line["sizes"].text == "2 · 8 · 196 · 384 · 16"
    assert line["baseline"].text == "roofline"
    assert line["scan_forward_ratio"].text == "2.60 [2.50 to 2.70]"
    assert line["scan_train_ratio"].text == units.MISSING
