"""Tables: values by hand, exact structure in T, gaps that stay gaps, safe Markdown."""

import math
from fractions import Fraction

import pytest

from pks4.bench import units
from pks4.bench.report.tables import accuracy as accuracy_tables
from pks4.bench.report.tables import costs as cost_tables
from pks4.bench.report.tables import evidence as evidence_tables
from pks4.bench.report.tables import sees as sees_tables
from pks4.bench.report.tables import times as times_tables
from pks4.bench.stats import growth
from pks4.bench.table import escape_markdown
from pks4.bench.view.view import View, common_frames
from tests.factories.records import (
    FRAMES,
    GIGA,
    MIB,
    accuracy_records,
    cost_records,
    failed,
    frame,
    header,
    record,
    synthetic_run,
    time_records,
)


def view_of(records, missing=None):
    return View(frame(records), header(records), missing)


def texts(table, key):
    return {line["contestant"].value: line[key].text for line in table.rows}


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (141_700_000_000, "MAC", "142 GMAC"),
        (1_536_000_000_000, "MAC", "1.54 TMAC"),
        (28 * MIB, "B", "28.0 MiB"),
        (3 * 2**29, "B", "1.50 GiB"),
        (0, "B", "0 B"),
        (0.0123, "s", "12.3 ms"),
        (90, "s", "1.50 min"),
        (None, "s", "–"),  # noqa: RUF001 - the dash of an empty field
    ],
)
def test_a_quantity_reads_with_its_unit(value, unit, words):
    assert units.quantity(value, unit) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.02734, "0.0273"), (28.16, "28.2"), (999.6, "1,000"), (1136.4, "1,136"), (9.996, "10.0")],
)
def test_three_significant_digits_and_whole_thousands(value, words):
    assert units.significant(value) == words


def test_a_column_has_one_scale():
    assert units.scale_for([144 * GIGA, 1152 * GIGA], "MAC").symbol == "GMAC"
    assert units.scale_for([0, 32 * MIB, 7680 * MIB], "B").symbol == "MiB"
    assert units.scale_for([], "s").symbol == "µs"


def test_a_list_with_commas_inside_is_told_with_semicolons():
    assert units.listed(["a", "b", "c"]) == "a, b and c"
    assert units.listed(["A, x", "B", "C"]) == "A, x; B and C"
    assert units.listed([]) == ""


def test_structure_finds_an_affine_cost_of_1e13_exactly():
    costs = {t: 12_345_678_901_234 + 9_876_543_210_987 * t for t in FRAMES}
    found = growth.exact_polynomial(costs)
    assert found.kind == "affine"
    assert found.coefficients == (12_345_678_901_234, 9_876_543_210_987, 0)


def test_structure_finds_a_quadratic_cost_of_1e13_exactly():
    costs = {t: 7 + 10**13 * t + 3 * t * t for t in FRAMES}
    found = growth.exact_polynomial(costs)
    assert found.kind == "quadratic"
    assert found.coefficients == (7, 10**13, 3)


def test_structure_sees_one_unit_in_1e13():
    costs = {t: 10**13 * t for t in FRAMES} | {64: 64 * 10**13 + 1}
    assert growth.exact_polynomial(costs).kind == "other"
    assert growth.exact_polynomial(costs).coefficients is None


def test_structure_keeps_fractions():
    found = growth.exact_polynomial({8: 4 * 64, 16: 4 * 256 + 1, 32: 4 * 1024 + 3})
    assert found.coefficients[1] == Fraction(1, 8)


def test_structure_needs_a_fourth_point_to_verify_a_quadratic():
    assert growth.exact_polynomial({8: 64, 16: 256, 32: 1024}).kind == "unverified"
    assert growth.exact_polynomial({8: 64, 16: 128, 32: 256}).kind == "affine"
    assert growth.exact_polynomial({8: 64, 16: 128}) is None


def test_the_local_exponent_takes_the_constant_away_first():
    """100 + 3 T is affine: exponent 1, where a log-log slope would say 0.86."""
    line = {t: 100 + 3 * t for t in (8, 64, 128, 256)}
    assert growth.local_exponent(line, growth.exact_polynomial(line)) == pytest.approx(1.0)
    bent = {t: 100 + 3 * t + t * t for t in (8, 64, 512, 1024)}
    assert 1.99 < growth.local_exponent(bent, growth.exact_polynomial(bent)) < 2
    flat = dict.fromkeys((8, 64, 128, 256), 7)
    assert growth.local_exponent(flat, growth.exact_polynomial(flat)) is None


def test_structure_refuses_rounded_numbers():
    with pytest.raises(ValueError, match="at 16 frames is not an integer"):
        growth.exact_polynomial({8: 1, 16: 2.5, 32: 3})


def test_structure_table_names_the_quadratic_one():
    table = cost_tables.structures(view_of(synthetic_run()))
    kinds = {(line["label"].value, line["metric"].value): line["kind"].value for line in table.rows}
    assert kinds["joint", "macs_forward"] == "quadratic"
    assert kinds["joint", "saved_bytes"] == kinds["pks4", "macs_forward"] == "affine"
    joint = next(line for line in table.rows if line["label"].value == "joint")
    assert (joint["b"].value, joint["c"].value) == (str(16 * GIGA), str(GIGA // 8))


def test_headline_compares_at_the_largest_common_frames():
    table = cost_tables.headline(view_of(synthetic_run()))
    assert {line["frames"].value for line in table.rows} == {64}
    assert texts(table, "memory_ratio")["Joint attention"] == "27.5×"  # noqa: RUF001 - 110 / 4
    assert texts(table, "memory_ratio")["PKS4 (frozen backbone)"] == "1.00×"  # noqa: RUF001
    assert "T = 64, the largest T measured for all 6" in table.note


def test_headline_falls_back_to_the_frames_that_all_share():
    records = [r for r in synthetic_run() if (r["label"], r["frames"]) != ("joint", 64)]
    table = cost_tables.headline(view_of(records))
    assert {line["frames"].value for line in table.rows} == {32}


def test_headline_says_who_is_not_there_when_no_frames_are_shared():
    records = [*cost_records("pks4", 8), *cost_records("adapter", 8), *cost_records("joint", 16)]
    table = cost_tables.headline(view_of(records))
    assert [line["label"].value for line in table.rows] == ["pks4", "adapter"]
    assert "T = 8, measured for 2 of 3" in table.note


def test_common_frames_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="no number"):
        common_frames({})


def test_no_ratio_to_a_memory_of_zero():
    records = [*cost_records("frame_mean", 8), *cost_records("adapter", 8)]
    for one in records:
        one["family"] = "PKS4" if one["label"] == "frame_mean" else one["family"]
    table = cost_tables.headline(view_of(records))
    assert all(line["memory_ratio"].value is None for line in table.rows)


def test_raw_values_stay_integers_beside_gaps():
    big = 2**53 + 1  # a float cannot hold it
    macs = record("pks4", 8, "macs", "macs_forward", big, unit="MAC")
    raw = cost_tables.cost(view_of([macs, *cost_records("joint", 8)])).raw()
    assert raw["macs_forward"][0] == big
    assert raw["saved_bytes"][0] is None


def test_a_record_that_is_there_twice_counts_once_the_first():
    first, second = (record("pks4", 8, "macs", "macs_forward", n, unit="MAC") for n in (1, 2))
    raw = cost_tables.cost(view_of([first, second])).raw()
    assert list(raw["macs_forward"]) == [1]


def test_settings_are_never_mixed():
    tiny = [one | {"scale": "tiny", "cell": "tiny/joint/t8"} for one in cost_records("joint", 8)]
    view = view_of([*cost_records("pks4", 8), *tiny])
    together = [list(view.series(setting, "macs_forward")) for setting in view.cost_settings]
    assert together == [["pks4"], ["joint"]]


def test_time_table_shows_ratio_interval_and_verdict():
    table = times_tables.timing(view_of([*time_records("pks4", 8), *time_records("joint", 8)]))
    assert texts(table, "step_ratio")["Joint attention"] == "1.80 [1.71 to 1.89]"
    assert texts(table, "step_verdict")["Joint attention"] == "slower"
    assert "forward_ratio" not in [column.key for column in table.shown]
    assert "the baseline is pks4" in table.note


def test_accuracy_table_shows_shares_chance_and_training():
    table = accuracy_tables.accuracy(view_of(accuracy_records("pks4", "temporal")))
    line = table.rows[0]
    assert line["top1"].text == "86.0 [82.0 to 90.0]"
    assert line["within_pair"].text == "95.0 [91.0 to 99.0]"
    assert line["chance"].text == "5.6"
    assert line["training_macs"].value == 18 * GIGA * 20_000
    assert line["learning_rate"].value == 0.001


def test_an_accuracy_stands_beside_its_image_model_and_the_least_frame():
    records = accuracy_records("pks4", "temporal")
    top1, macs = (next(r for r in records if r["metric"] == m) for m in ("top1", "training_macs"))
    (line,) = accuracy_tables.accuracy(view_of(records)).rows
    assert line["image_top1"].value is line["sees_least"].value is None  # of an old record
    macs["detail"] = {"image_model": {"val_top1": 0.225}}  # where records had it before
    (line,) = accuracy_tables.accuracy(view_of(records)).rows
    assert line["image_top1"].text == "22.5"
    top1["detail"] |= {"image_top1": 0.96, "sees_least": 0.84, "sees_by_frame": [1.0, 0.84]}
    table = accuracy_tables.accuracy(view_of(records))
    assert [table.rows[0][key].text for key in ("image_top1", "sees_least")] == ["96.0", "0.84"]
    assert "image model" in table.markdown()


def test_the_table_of_sees_has_every_frame():
    shares, place = [1.0, 1.2e-7], {"kind": "sampled", "detail": {"by_frame": [1.0, 1.2e-7]}}
    records = [
        record("pks4", 2, "sees", metric, shares[1], **place)
        for metric in ("sees_least", "sees_last")
    ]
    (line,) = sees_tables.sees(view_of(records)).rows
    assert [line[key].text for key in ("sees_least", "by_frame")] == ["1.2e-07", "1.0, 1.2e-07"]


def test_failures_and_missing_measures_are_listed_with_their_reason():
    records = [*cost_records("pks4", 8), failed("joint", 8, "macs", "MACs differ", status="failed")]
    table = evidence_tables.failures(view_of(records, {"cost/aim/t8": ["params"]}))
    assert [(line["cell"].value, line["status"].value) for line in table.rows] == [
        ("cost/joint/t8", "failed"),
        ("cost/aim/t8", "missing"),
    ]
    assert table.rows[0]["reason"].text == "MACs differ"


def test_a_failure_that_was_measured_later_says_so():
    records = [failed("pks4", 8, "macs", "killed"), *cost_records("pks4", 8)]
    assert evidence_tables.failures(view_of(records)).rows[0]["later"].value == "yes"


def test_evidence_names_kernel_rule_and_agreeing_counters():
    table = evidence_tables.evidence(view_of(cost_records("pks4", 8)))
    macs = next(line for line in table.rows if line["measure"].value == "macs")
    assert macs["kernel"].text == "flash_cpu"
    assert macs["counters"].text == "torch on meta = fvcore = closed form"
    assert macs["records"].value == 2


def test_every_number_names_its_cell_and_metric():
    table = cost_tables.cost(view_of(cost_records("pks4", 8)))
    source = table.rows[0]["macs_forward"].source.source
    assert source == f"cost/pks4/t8 · macs_forward = {144 * GIGA} MAC (exact)"


def test_the_table_of_costs_says_where_the_module_stands_if_a_record_does():
    first, *rest = cost_records("pks4", 8)
    placed = first | {"evidence": {"place": "after block 6 of 12"}}
    others = cost_records("frame_mean", 8)
    found = cost_tables.cost(view_of([placed, *rest, *others]))
    assert texts(found, "place") == {
        "PKS4 (frozen backbone)": "after block 6 of 12",
        "Mean of frames": units.MISSING,
    }
    assert "module stands" in [column.heading for column in found.shown]
    unplaced = cost_tables.cost(view_of([first, *rest, *others]))
    assert "module stands" not in [column.heading for column in unplaced.shown]


def test_markdown_escapes_what_would_break_a_table():
    assert escape_markdown("a|b <script> *x*\nnext") == r"a\|b &lt;script&gt; \*x\* next"
    records = cost_records("pks4", 8)
    for one in records:
        one["title"] = "bad | <b>"
    markdown = cost_tables.cost(view_of(records)).markdown()
    assert r"bad \| &lt;b&gt;" in markdown


def test_equal_titles_are_told_apart_by_label():
    records = [*cost_records("pks4", 8), *cost_records("joint", 8)]
    for one in records:
        one["title"] = "same"
    view = view_of(records)
    assert [view.name(label) for label in view.contestants] == ["same [pks4]", "same [joint]"]


def test_a_run_without_numbers_gives_empty_tables():
    made = cost_tables.build(view_of([failed("pks4", 8, "macs", "killed")]))
    assert [table.name for table in made if table.rows] == ["failures"]
    assert all(table.raw().columns.size for table in made)


def peak_record(label, frames):
    """A simulated step: 300 MiB of weights and 50 MiB of activations a frame."""
    parts = {"weights": 300 * MIB, "activations": 50 * MIB * frames}
    detail = {"parts": parts, "phase": "backward"}
    evidence = {"how": "simulated", "target": "cuda-bf16"}
    return record(
        label, frames, "step_memory", "step_peak_bytes", sum(parts.values()),
        unit="B", detail=detail, evidence=evidence,
    )  # fmt: skip


def test_the_peak_of_a_step_stands_with_its_parts_and_its_structure():
    view = view_of([peak_record(label, t) for label in ("pks4", "joint") for t in FRAMES])
    made = cost_tables.step_memory(view)
    assert {line["target"].text for line in made.rows} == {"cuda-bf16"}
    first = made.rows[0]
    assert first["step_peak_bytes"].value == sum(
        first[part].value for part in ("weights", "activations", "gradients", "temporaries")
    )
    assert (first["weights"].text, first["activations"].text) == ("300", "400")  # MiB
    assert (first["gradients"].text, first["gradients"].source) == ("0", first["weights"].source)
    fitted = {line["kind"].text for line in cost_tables.structures(view).rows}
    assert fitted == {"affine"}
    assert "step_memory" in {one.name for one in cost_tables.build(view)}


def test_the_floor_of_a_ratio_is_told_in_per_cent():
    place = {"grid": "time", "scale": "tiny", "kind": "noisy", "cell": "time/joint/t8"}
    detail = {"least_effect": math.log(1.05), "verdict": "same"}
    row = record("joint", 8, "time", "step_ratio", 1.02, detail=detail, **place)
    (line,) = times_tables.timing(view_of([row])).rows
    assert (line["step_floor"].value, line["step_floor"].text) == (pytest.approx(0.05), "5.0")
    assert line["forward_floor"].text == units.MISSING


def test_what_is_kept_stands_by_stage_in_numbers_that_people_read():
    detail = {"by_stage": {"temporal": 3 * MIB, "backbone": 5 * MIB}, "weight_copies": MIB}
    row = record("pks4", 8, "saved_bytes", "saved_bytes", 8 * MIB, unit="B", detail=detail)
    (line,) = cost_tables.kept(view_of([row])).rows
    shown = [line[key].text for key in ("saved_bytes", "backbone", "temporal", "head")]
    assert shown == ["8.00", "5.00", "3.00", "0"]
    assert line["weight_copies"].text == "1.00"


def test_without_simulated_steps_there_is_no_table_of_them():
    assert "step_memory" not in {one.name for one in cost_tables.build(view_of(synthetic_run()))}


def test_latex_has_the_rules_of_booktabs_and_no_sign_that_latex_would_act_on():
    hostile = {**cost_records("pks4", 8)[2], "title": r"PKS4_x & 50 % \input{x}"}
    (found,) = [t for t in cost_tables.build(view_of([hostile])) if t.name == "cost"]
    words = found.latex()
    assert all(rule in words for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    assert r"PKS4\_x \& 50 \% \textbackslash{}input\{x\}" in words
