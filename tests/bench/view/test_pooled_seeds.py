"""Seeds: pooled means and their intervals, by hand; one seed stays as it is."""

import math

import pytest

from pks4.bench.report import report
from pks4.bench.report.figures import accuracy as accuracy_figures
from pks4.bench.report.findings import costs as cost_findings
from pks4.bench.report.tables import accuracy as accuracy_tables
from pks4.bench.report.tables import evidence as evidence_tables
from pks4.bench.stats import intervals
from pks4.bench.view.view import View
from tests.factories.records import accuracy_records, frame, header, record, seed_records

T2 = 4.302652729911275  # 97.5 % point of Student's t with 2 degrees of freedom, from tables
OURS = {0: 0.80, 1: 0.90, 2: 0.85}


def view_of(records, missing=None):
    return View(frame(records), header(records), missing)


def top1(view, label):
    (setting,) = view.settings("top1")
    return view.find(setting, "top1", label, 8)


def less(*by):
    """Our shares, seed by seed less this much."""
    return {seed: share - part for (seed, share), part in zip(OURS.items(), by, strict=True)}


def words(records):
    return [found.words for found in cost_findings.build(view_of(records))]


def test_several_seeds_are_one_number_their_mean_with_an_interval_over_seeds():
    row = top1(view_of(seed_records("pks4", OURS)), "pks4")
    half = T2 * 0.05 / math.sqrt(3)  # the standard deviation of 80, 90 and 85 % is 5 points
    assert row.value == pytest.approx(0.85)
    assert row.interval() == pytest.approx((0.85 - half, 0.85 + half))
    assert (row.detail["seeds"], row.detail["values"]) == ([0, 1, 2], [0.80, 0.90, 0.85])
    assert (row.detail["clips"], row.detail["chance"]) == (500, 1 / 18)
    assert "predicted" not in row.detail  # it is one seed's
    assert row.evidence == {"how": "measured", "device": "cpu"}


def test_a_pooled_number_names_all_of_its_records():
    view = view_of(seed_records("pks4", OURS))
    row = top1(view, "pks4")
    assert row.records == tuple(one.number for one in view.rows if one.metric == "top1")
    assert row.cell == "learn/pks4/t8"
    assert row.number == row.records[0]
    assert row.source.endswith("seed 0: 0.8 (no. 1), seed 1: 0.9 (no. 4), seed 2: 0.85 (no. 7)")


def test_the_order_in_the_file_does_not_matter():
    records = seed_records("pks4", OURS)
    view = view_of([*records[6:], *records[:6]])
    assert top1(view, "pks4").detail["values"] == [0.80, 0.90, 0.85]
    assert top1(view, "pks4").records == (4, 7, 1)


def test_a_share_stays_between_nothing_and_everything():
    low, high = top1(view_of(seed_records("pks4", {0: 0.9, 1: 1.0, 2: 1.0})), "pks4").interval()
    assert low < 0.9
    assert high == 1.0


def test_a_loss_is_no_share_and_is_not_cut_off():
    places = [one | {"metric": "loss", "unit": "nat"} for one in seed_records("pks4", OURS)]
    wide = [one | {"value": value} for one, value in zip(places[::3], (0.5, 2.0, 3.5), strict=True)]
    view = view_of(wide)
    low, high = view.find(view.settings("loss")[0], "loss", "pks4", 8).interval()
    assert low < 0 < 1 < high


def test_seeds_that_agree_by_chance_give_no_interval_rather_than_one_without_width():
    row = top1(view_of(seed_records("pks4", {0: 0.5, 1: 0.5, 2: 0.5})), "pks4")
    assert row.value == 0.5
    assert row.interval() is None


def test_noisy_numbers_give_their_median_and_exact_ones_stay():
    view = view_of(seed_records("pks4", OURS))
    (setting,) = view.settings("training_macs")
    assert view.find(setting, "training_seconds", "pks4", 8).value == 61.0  # of 60, 61, 64
    assert isinstance(view.find(setting, "training_macs", "pks4", 8).value, int)
    assert view.unequal == []


def test_exact_numbers_that_differ_between_seeds_give_no_number_but_a_reason():
    records = seed_records("pks4", OURS)
    records[-2]["value"] += 1
    view = view_of(records)
    assert view.settings("training_macs") == []
    (line,) = evidence_tables.failures(view).rows
    assert (line["cell"].value, line["status"].value) == ("learn/pks4/t8", "unequal")
    assert "training_macs is exact, but 18000000000 with seed 0" in line["reason"].value
    assert "18000000001 with seed 2" in line["reason"].value
    assert any("1 gave exact numbers that differ between seeds" in said for said in words(records))


def test_one_seed_is_unchanged():
    view = view_of(seed_records("pks4", {4: 0.8}))
    assert top1(view, "pks4") == view.rows[0]
    assert top1(view, "pks4").interval() == pytest.approx((0.76, 0.84))  # over clips, as recorded
    table = accuracy_tables.accuracy(view_of(accuracy_records("pks4", "temporal")))
    assert "seeds" not in table.raw().columns
    assert table.note.startswith("Shares of test clips in %, with their 95 % intervals (Wilson).")


def test_the_accuracy_table_says_how_many_seeds_and_what_they_vary():
    table = accuracy_tables.accuracy(
        view_of([*seed_records("pks4", OURS), *seed_records("joint", {0: 0.7})])
    )
    assert [line["seeds"].text for line in table.rows] == ["3", "1"]
    assert "not the data or the image model" in table.note
    assert table.rows[0]["top1"].text == "85.0 [72.6 to 97.4]"


def test_holm_multiplies_by_what_is_left_and_never_falls():
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.5}
    adjusted = intervals.holm(p, 4)
    assert adjusted == pytest.approx({"a": 0.04, "c": 0.09, "b": 0.09, "d": 0.5})
    assert intervals.holm({"a": 0.3}, 5) == {"a": 1.0}


def test_captions_say_what_the_bars_are():
    both = [*seed_records("pks4", OURS), *seed_records("joint", less(0.1, 0.2, 0.3))]
    (made,) = accuracy_figures.build(view_of(both))
    assert "Bars: 95 % t-intervals over seeds." in made.caption


def test_the_page_links_the_first_record_and_names_the_others():
    html = report.page(
        report.build(view_of([*seed_records("pks4", OURS), *seed_records("joint", OURS)]))
    )
    assert '<a href="#r-1" title="learn/pks4/t8 · top1 = 0.85' in html
    assert "seed 1: 0.9 (no. 4)" in html


def test_a_record_that_is_there_twice_counts_once_with_seeds_too():
    records = seed_records("pks4", OURS)
    again = record("pks4", 8, "accuracy", "top1", 0.1, **{
        key: records[0][key] for key in ("cell", "grid", "scale", "task", "evidence")
    } | {"kind": "sampled"})  # fmt: skip
    assert top1(view_of([*records, again]), "pks4").value == pytest.approx(0.85)
