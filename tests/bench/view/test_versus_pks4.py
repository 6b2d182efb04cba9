"""Accuracy against PKS4: paired by clip and by seed, words after Holm, the honest sentence."""

import math

import numpy as np
import pytest

from pks4.bench.report import report
from pks4.bench.report.findings import costs as cost_findings
from pks4.bench.report.tables import accuracy as accuracy_tables
from pks4.bench.stats import clips as clip_stats
from pks4.bench.view import versus_pks4
from pks4.bench.view.view import View
from tests.factories.records import (
    accuracy_records,
    clip_records,
    frame,
    header,
    planted,
    seed_records,
)

T2 = 4.302652729911275  # 97.5 % point of Student's t with 2 degrees of freedom, from tables
OURS = {0: 0.80, 1: 0.90, 2: 0.85}


def view_of(records):
    return View(frame(records), header(records))


def top1(view, label):
    (setting,) = view.settings("top1")
    return view.find(setting, "top1", label, 8)


def less(*by):
    """Our shares, seed by seed less this much."""
    return {seed: share - part for (seed, share), part in zip(OURS.items(), by, strict=True)}


def words(records):
    return [found.words for found in cost_findings.build(view_of(records))]


def differences(records, metric="top-1"):
    made = accuracy_tables.differences(view_of(records))
    of_metric = [line for line in made.rows if line["metric"].value == metric]
    return {line["label"].value: line for line in of_metric}, made


def compared(records):
    view = view_of(records)
    (setting,) = view.settings("top1")
    return versus_pks4.compare(view, setting)


def test_two_clips_one_won_one_alike_as_counted_by_hand():
    """A draw of two clips holds the won one 0, 1 or 2 times, with 1/4, 1/2 and 1/4."""
    (one,) = compared(
        [*clip_records("pks4", {None: [0, 1]}), *clip_records("joint", {None: [1, 1]})]
    )
    assert (one.value, one.interval) == (0.5, (0.0, 1.0))
    assert one.p == pytest.approx(2 * 0.25, abs=0.03)
    assert (one.seeds, one.verdict) == (1, "inconclusive")
    assert one.method == "paired bootstrap over clips, one seed"


def test_the_predictions_of_every_seed_reach_the_comparison():
    ours = {seed: planted(0.5, shift=seed) for seed in (0, 1, 2)}
    theirs = {seed: planted(0.7, shift=2 * seed) for seed in (0, 1, 2)}
    (one,) = compared([*clip_records("pks4", ours), *clip_records("joint", theirs)])
    asked = clip_stats.paired_bootstrap(np.array([*theirs.values()]), np.array([*ours.values()]))
    assert (one.value, one.interval, one.p) == (asked.value, asked.interval, asked.p)
    assert one.value == pytest.approx(0.2)
    assert (one.seeds, one.method) == (3, "paired bootstrap over clips and 3 seeds")


def test_seeds_are_matched_by_their_number_not_by_their_place():
    ours, theirs = {0: planted(0.5), 1: planted(0.6)}, {1: planted(0.6), 2: planted(0.9)}
    (one,) = compared([*clip_records("pks4", ours), *clip_records("joint", theirs)])
    assert (one.seeds, one.value, one.interval) == (1, 0.0, None)
    assert one.method == "right and wrong on the same clips"
    assert one.verdict == "inconclusive"


@pytest.mark.parametrize("changed", ["label", "data"])
def test_other_clips_are_not_paired(changed):
    theirs = clip_records("joint", {seed: planted(0.7) for seed in (0, 1, 2)})
    for one in theirs:
        if changed == "data":
            one["evidence"] = one["evidence"] | {"data": "other"}
        elif "label" in one["detail"]:
            one["detail"]["label"] = one["detail"]["label"][::-1]
    ours = clip_records("pks4", {0: planted(0.5), 1: planted(0.51), 2: planted(0.52)})
    (one,) = compared([*ours, *theirs])
    assert one.method == "paired t-test over 3 seeds"


def test_within_pairs_clips_are_judged_by_what_was_right():
    records = []
    for label, share in (("pks4", 0.5), ("joint", 0.9)):
        records += clip_records(label, {None: planted(0.5)})
        records += clip_records(label, {None: planted(share)}, metric="within_pair_order")
    lines, _ = differences(records, "order pairs")
    assert lines["joint"]["difference"].value == pytest.approx(0.4)
    assert lines["joint"]["word"].value == "higher"
    assert differences(records)[0]["joint"]["word"].value == "inconclusive"


def test_every_metric_of_a_setting_at_one_t_is_one_family():
    records = []
    for label, share in (("pks4", 0.5), ("joint", 0.6)):
        for metric, frames in (("top1", 8), ("within_pair", 8), ("top1", 16)):
            right = {None: planted(share)}
            records += clip_records(label, right, metric=metric, frames=frames)
    alone = clip_stats.paired_bootstrap(np.array([planted(0.6)]), np.array([planted(0.5)])).p
    assert [(one.metric, one.row.frames, one.family, one.p) for one in compared(records)] == [
        ("top1", 8, 2, 2 * alone),  # Holm: the least first, and never falling
        ("top1", 16, 1, alone),
        ("within_pair", 8, 2, 2 * alone),
    ]


def test_a_large_family_draws_enough_to_tell_anything_apart():
    records = clip_records("pks4", {None: planted(0.2)})
    for n in range(60):
        records += clip_records(f"other{n}", {None: planted(0.8)})
    assert {one.verdict for one in compared(records)} == {"higher"}


def test_one_seed_is_said_in_the_caption():
    one = [*clip_records("pks4", {None: planted(0.5)}), *clip_records("joint", {None: planted(1)})]
    assert "says nothing of another training" in differences(one)[1].note
    three = {seed: planted(0.5) for seed in (0, 1, 2)}
    many = [*clip_records("pks4", three), *clip_records("joint", {0: planted(1), 1: planted(0.9)})]
    assert "says nothing of another training" not in differences(many)[1].note


def test_the_sentence_says_that_none_is_above_where_none_is():
    (said,) = (
        one
        for one in words(
            [
                *clip_records("pks4", {None: planted(0.9)}),
                *clip_records("joint", {None: planted(0.3)}),
                *clip_records("adapter", {None: planted(0.9, shift=1)}),
            ]
        )
        if one.startswith("Top-1 against")
    )
    assert ": no rival is shown to be above; below, 1 of 2 rivals: Joint attention (-60.0 [" in said
    assert "; inconclusive against ST-Adapter (+0.0 [" in said
    assert said.endswith("says nothing of another training.")


def test_who_could_not_be_compared_is_named():
    other = clip_records("mamba", {None: planted(0.9)})
    for one in other:
        one["evidence"] = one["evidence"] | {"data": "other"}
    ours = clip_records("pks4", {None: planted(0.5)})
    said = words([*ours, *clip_records("joint", {None: planted(0.1)}), *other])
    (told,) = (one for one in said if one.startswith("Top-1 against"))
    assert "below, 1 of 1 rival: Joint attention" in told
    assert "not compared, for want of the same clips or of seeds: VideoMamba." in told


def test_variants_of_pks4_are_no_rivals():
    said = words(
        [
            *clip_records("pks4", {None: planted(0.5)}),
            *clip_records("pks4_tuned", {None: planted(0.9)}),
            *clip_records("joint", {None: planted(0.1)}),
        ]
    )
    told = [one for one in said if one.startswith("Top-1 against")]
    assert "no rival is shown to be above; below, 1 of 1 rival: Joint attention" in told[0]
    assert "above, 1 of 1 variant of its own: PKS4 (tuned backbone) (+40.0 [" in told[1]


def test_a_steady_loss_is_lower_and_a_loose_one_inconclusive():
    lines, _ = differences(
        [
            *seed_records("pks4", OURS),
            *seed_records("joint", less(0.30, 0.31, 0.32)),
            *seed_records("mamba", less(-0.02, -0.021, -0.022)),
            *seed_records("adapter", less(0.30, 0.05, -0.05)),
        ]
    )
    assert {label: line["word"].value for label, line in lines.items()} == {
        "joint": "lower",
        "mamba": "higher",
        "adapter": "inconclusive",
    }
    half = 100 * T2 * 0.01 / math.sqrt(3)
    told = f"-31.0 [{-31 - half:+.1f} to {-31 + half:+.1f}]"
    assert lines["joint"]["difference"].text == told
    assert lines["joint"]["share"].text == "54.0"


def test_pairing_by_seed_sees_what_the_spread_of_seeds_would_hide():
    records = [*seed_records("pks4", OURS), *seed_records("joint", less(0.02, 0.021, 0.022))]
    view, (lines, made) = view_of(records), differences(records)
    assert top1(view, "joint").interval()[1] > top1(view, "pks4").interval()[0]
    assert lines["joint"]["word"].value == "lower"
    assert "contestant minus PKS4 (frozen backbone), in percentage points" in made.note


def test_only_seeds_that_both_have_are_paired():
    lines, _ = differences(
        [*seed_records("pks4", OURS), *seed_records("joint", {1: 0.5, 2: 0.44, 7: 0.9})]
    )
    assert lines["joint"]["seeds"].value == 2
    assert lines["joint"]["difference"].value == pytest.approx(-0.405)


def test_two_seeds_settle_nothing():
    two = {0: 0.80, 1: 0.90}
    records = [*seed_records("pks4", two), *seed_records("joint", {0: 0.1, 1: 0.2001})]
    lines, _ = differences(records)
    assert lines["joint"]["word"].value == "inconclusive"
    assert lines["joint"]["p"].value is None
    assert any("Fewer than 3 seeds tell nothing apart." in said for said in words(records))


def test_the_same_difference_with_every_seed_has_no_interval_and_no_word():
    lines, _ = differences(
        [*seed_records("pks4", OURS), *seed_records("joint", less(0.1, 0.1, 0.1))]
    )
    assert lines["joint"]["difference"].text == "-10.0"
    assert lines["joint"]["word"].value == "inconclusive"


def test_within_pair_is_compared_where_it_is_there():
    pair = {0: 0.9, 1: 0.91, 2: 0.92}
    records = [
        *seed_records("pks4", OURS, pair=pair),
        *seed_records("joint", OURS, pair={0: 0.5, 1: 0.52, 2: 0.51}),
        *seed_records("mamba", less(0.1, 0.11, 0.12)),
    ]
    pairs, made = differences(records, "within pair")
    assert {label: line["word"].value for label, line in pairs.items()} == {"joint": "lower"}
    assert differences(records)[0]["joint"]["word"].value == "inconclusive"
    assert "(3)" in made.note  # comparisons at once: two of top-1, one within pairs


def test_many_comparisons_at_once_ask_for_more():
    steady = less(0.10, 0.13, 0.12)  # t = 13.2, p = 0.0057: below 0.05 alone, not among ten
    alone = [*seed_records("pks4", OURS), *seed_records("joint", steady)]
    loose = [seed_records(f"other{n}", less(0.1, -0.1, 0.02)) for n in range(9)]
    lines, made = differences([*alone, *(one for many in loose for one in many)])
    assert differences(alone)[0]["joint"]["word"].value == "lower"
    assert lines["joint"]["word"].value == "inconclusive"
    assert lines["joint"]["p"].value == pytest.approx(10 * 0.0057, rel=0.02)
    assert "(10)" in made.note


def test_without_seeds_or_without_pks4_there_is_no_such_table():
    for records in (accuracy_records("pks4", "temporal"), seed_records("joint", OURS)):
        made = report.build(view_of(records)).tables
        assert "accuracy_differences" not in [table.name for table in made]
        assert not any("paired" in said for said in words(records))


def test_a_sentence_says_who_is_lower_who_is_higher_and_who_cannot_be_told_apart():
    said = words(
        [
            *seed_records("pks4", OURS),
            *seed_records("joint", less(0.30, 0.31, 0.32)),
            *seed_records("mamba", less(-0.02, -0.021, -0.022)),
            *seed_records("adapter", less(0.30, 0.05, -0.05)),
        ]
    )
    (told,) = (one for one in said if one.startswith("Top-1 against PKS4 (frozen backbone)"))
    assert "above, 1 of 3 rivals: VideoMamba (+2.1 [+1.9 to +2.3] points)" in told
    assert "below, 1 of 3 rivals: Joint attention (-31.0 [" in told
    assert "inconclusive against ST-Adapter (-10.0 [-54.8 to +34.8] points)." in told
    assert told.endswith(
        "By paired t-test over 3 seeds; 95 % intervals, each by itself, the verdicts weigh 3 "
        "comparisons at once."
    )
    assert any("tiny scale, means of 3 seeds): VideoMamba" in one for one in said)
