"""What fits in memory, by the run's own peaks; and what plain fvcore does not count."""

from dataclasses import replace

import pytest

from pks4.bench.report.tables import costs as cost_tables
from pks4.bench.report.tables.costs import plain_counter
from pks4.bench.report.tables.memory import fitting, most_frames
from pks4.bench.view.view import View
from tests.factories.records import frame, header, record

GIB = 2**30


def view_of(records):
    return View(frame(records), header(records))


def peaks(label, by_frames, **changes):
    """Records of `step_memory` of one contestant: T -> GiB of its peak."""
    return [
        record(label, frames, "step_memory", "step_peak_bytes", int(gib * GIB), unit="B",
               detail={"parts": {}, "phase": "backward"}, **changes)
        for frames, gib in by_frames.items()
    ]  # fmt: skip


def shown(records):
    (line,) = fitting(view_of(records)).rows
    return [line[f"frames_{size}gib"].text for size in (8, 16, 24, 40, 80)]


def test_the_most_measured_frames_that_leave_the_reserve_free():
    # 95 % of 8, 16, 24, 40 and 80 GiB are 7.6, 15.2, 22.8, 38 and 76.
    assert shown(peaks("pks4", {8: 7.7, 16: 15.2, 32: 22.9, 64: 38.1, 128: 90})) == [
        "0", "16", "16", "32", "64",
    ]  # fmt: skip


def test_where_the_largest_measured_fits_it_is_at_least_that():
    assert shown(peaks("pks4", {8: 1, 1024: 30})) == ["8", "8", "8", "≥ 1,024", "≥ 1,024"]


def test_the_reserve_is_kept_to_the_byte():
    (row,) = view_of(peaks("pks4", {8: 1})).rows
    rows = {8: replace(row, value=95), 16: replace(row, value=96)}
    assert most_frames(rows, 100) == 8


def test_each_answer_leads_to_the_record_that_it_rests_on():
    (line,) = fitting(view_of(peaks("pks4", {8: 9, 16: 20}))).rows
    assert line["frames_24gib"].source.frames == 16
    assert (line["frames_8gib"].value, line["frames_8gib"].source.frames) == (0, 8)


def test_targets_are_lines_of_their_own_and_are_named():
    on = {"how": "simulated", "target": "cuda-bf16"}
    records = [
        *peaks("pks4", {8: 1}),
        *peaks("pks4", {8: 1}, grid="bf16", cell="bf16/pks4/t8", evidence=on),
    ]
    found = fitting(view_of(records))
    assert [line["target"].value for line in found.rows] == [None, "cuda-bf16"]


def test_a_run_without_peaks_has_no_such_table():
    records = [record("pks4", 8, "params", "params_total", 1)]
    names = {one.name for one in cost_tables.build(view_of(records))}
    assert not names & {"fit", "plain_counter"}


@pytest.mark.parametrize(("plain", "error"), [(50, "-75.00"), (202, "+1.00")])
def test_the_error_of_plain_fvcore_is_against_what_all_counters_say(plain, error):
    detail = {
        "macs": 200, "frames": 2, "fvcore_plain": plain,
        "fvcore_plain_misses": {"aten::_scaled_dot_product_flash_attention_for_cpu": 12,
                                "pks4::scan_numba": 1},
    }  # fmt: skip
    row = record("joint", 8, "macs", "macs_fvcore_plain", plain, unit="MAC", detail=detail)
    (line,) = plain_counter(view_of([row])).rows
    assert line["error"].text == error
    assert line["frames"].value == 2
    assert line["missed"].text == (
        "scaled_dot_product_flash_attention_for_cpu (12) and scan_numba (1)"
    )
