"""Claims as printed: what the runs lack and who measures it, scale and evidence in their places."""

import pytest

from pks4.bench.claims import judge, printing
from pks4.bench.claims.claims import Bound, Claim, Difference
from tests.factories.runs import cell, record, run_file


def claim(metric="gap", label="ours", measured_by=("pks4-bench run small",), **narrowed):
    """A claim of one test: a number is at most 0."""
    test = Bound(
        kind="bound", name="test", reason="r", metric=metric, contestant=label, at_most=0.0,
        **narrowed,
    )  # fmt: skip
    return Claim(
        id="one", title="One", says="so", scale="tiny", supported_when="it is",
        contradicted_when="it is not", measured_by=list(measured_by), tests=[test],
    )  # fmt: skip


def judged(stated, **detail):
    """The claim against a run with one record: the gap of `ours` is 0."""
    where = cell("cost/ours/t8", ["macs"])
    held = record(where, "macs", "gap", 0.0, "exact", detail=detail)
    return judge.judge(stated, [run_file([held], [])])


def missing(stated):
    """What the test of a claim lacks."""
    return judged(stated).tests[0][1].missing


def test_what_the_runs_lack_names_the_suite_that_measures_it():
    assert missing(claim("top1", "no_correlation", scale="tiny", task="temporal")) == (
        "these runs hold no top1 of 'no_correlation' (scale tiny, task temporal); "
        "suite ablation measures it"
    )


def test_a_suite_must_measure_all_that_is_set_side_by_side():
    test = Difference(
        kind="difference", name="t", reason="r", metric="top1", contestant="pks4", above=0.0,
        others=["no_correlation"], scale="tiny", task="temporal",
    )  # fmt: skip
    stated = claim().model_copy(update={"tests": [test]})
    assert missing(stated) == (
        "these runs hold no top1 of 'pks4' (scale tiny, task temporal); suite ablation measures it"
    )


def test_of_several_suites_those_that_the_claim_runs_are_told():
    asked = {"metric": "macs_forward", "label": "pks4", "scale": "paper"}
    assert missing(claim(**asked)).endswith("; suites accuracy, quick and scaling measure it")
    named = claim(**asked, measured_by=["pks4-bench run scaling"])
    assert missing(named).endswith("; suite scaling measures it")


@pytest.mark.parametrize(
    ("metric", "label", "said"),
    [
        ("gab", "ours", "no suite here measures it; unknown metric 'gab'; the nearest: gap, "),
        ("top1", "pks5", "no suite here measures it; unknown contestant 'pks5'; the nearest: pks4"),
        ("insertion_difference", "video_mamba", "no suite here measures it"),
    ],
)
def test_a_name_that_nothing_knows_is_told_with_the_near_ones(metric, label, said):
    assert said in missing(claim(metric, label))


def test_a_number_that_the_runs_hold_elsewhere_is_not_called_unknown():
    lacking = missing(claim(scale="tny"))
    assert lacking.startswith("these runs hold no gap of 'ours' (scale tny), only with scale tiny")
    assert "unknown contestant" not in lacking
    assert ", only with task none" in missing(claim(task="temporal"))


def test_commands_for_what_is_missing_leave_out_the_suites_that_were_given():
    commands = ["pks4-bench run made", "pks4-bench run more"]
    assert judged(claim("gab", measured_by=commands)).commands == commands[1:]
    assert judged(claim("gab", measured_by=commands[:1])).commands == commands[:1]
    assert judged(claim(measured_by=commands)).commands == []


def test_a_record_of_several_backbones_says_over_how_many():
    (_, row) = printing.rows([judged(claim(), by_backbone={"resnet18": 0.0, "swin": 0.0})])
    assert row[2:] == ("gap 0 over 2 backbones", "base-1:cost/ours/t8:gap (2 backbones)")


def test_the_evidence_stands_in_the_table_or_below_it():
    one, words = judged(claim()), "test: base-1:cost/ours/t8:gap"
    assert any(words in line for line in printing.remarks([one], evidence=True))
    assert not any(words in line for line in printing.remarks([one]))


def test_the_scale_stands_with_the_claim_and_not_as_its_effect():
    one = judged(claim())
    assert printing.rows([one])[0] == ("1. One [tiny]", "supported", "", "")
    assert "| **1. One** \\[tiny\\] | **supported** |  |  |" in printing.markdown([one])
