"""Compare: a planted change of each kind is caught with its state and exit code, no other is."""

from dataclasses import replace

import numpy as np
import pytest

from pks4.bench.compare.cases import changes
from pks4.bench.compare.compare import accepted, compare
from pks4.bench.plan.user_inputs import UserInputs
from pks4.bench.stats import clips as clip_stats
from pks4.bench.stats import paired_times
from pks4.errors import UserError
from tests.factories.runs import (
    CELLS,
    COST,
    LEARN,
    TIME,
    cell,
    failed,
    made,
    record,
    run_file,
    time_records,
    top1_record,
)  # fmt: skip


def states(comparison):
    """Metric -> state, what is never compared left out."""
    return {e.metric: e.state for e in comparison.entries if not e.by_rule}


def with_records(run, change):
    """The run with each record put through `change`; None leaves it out."""
    return replace(run, records=[r for r in map(change, run.records) if r is not None])


def other_evidence(r, **facts):
    """The record with other facts of how it was measured."""
    return r.model_copy(update={"evidence": {**r.evidence, **facts}})


SAME = {"saved_bytes": "same", "forward_ratio": "same", "top1": "same"}
# What is planted in HEAD -> what is not "same" then, and the exit code.
GOLDEN = {
    "nothing": ({}, {}, 0),
    "a byte more": ({"saved": 1001}, {"saved_bytes": "changed"}, 1),
    "a byte less": ({"saved": 999}, {"saved_bytes": "changed"}, 1),
    "30 % slower": ({"factor": 1.3}, {"forward_ratio": "worse"}, 1),
    "30 % faster": ({"factor": 1 / 1.3}, {"forward_ratio": "better"}, 0),
    "ten points less": ({"share": 0.5}, {"top1": "worse"}, 1),
    "ten points more": ({"share": 0.7}, {"top1": "better"}, 0),
    "no bytes": ({"drop": ("saved_bytes",)}, {"saved_bytes": "missing"}, 1),
    "no time": ({"drop": ("forward_ratio",)}, {"forward_ratio": "missing"}, 1),
    "no accuracy": ({"drop": ("top1",)}, {"top1": "missing"}, 1),
}


@pytest.mark.parametrize("planted", GOLDEN)
def test_golden_table(planted):
    change, differs, code = GOLDEN[planted]
    found = compare(made(), made("head-1", **change))
    assert states(found) == SAME | differs
    assert found.exit_code == code


def test_a_new_number_is_new_and_no_alarm():
    found = compare(made(drop=("saved_bytes",)), made("head-1"))
    assert states(found) == SAME | {"saved_bytes": "new"}
    assert found.exit_code == 0


@pytest.mark.parametrize(
    ("fact", "named"),
    [
        ({"rule": "saved_bytes/v2"}, "rule: saved_bytes/v1 → saved_bytes/v2"),
        ({"kernel": "math"}, "kernel: flash_cpu → math"),
        ({"scan_backend": "reference"}, "scan_backend: none → reference"),
    ],
)
def test_another_case_is_not_comparable_and_never_a_regression(fact, named):
    head = with_records(
        made("head-1", saved=2000),
        lambda r: other_evidence(r, **fact) if r.metric == "saved_bytes" else r,
    )
    found = compare(made(), head)
    (entry,) = found.of("not comparable")[:1]
    assert (entry.metric, entry.why) == ("saved_bytes", named)
    assert found.exit_code == 2  # it should have compared


def test_another_version_of_torch_is_not_comparable():
    head = made("head-1", versions={"torch": "2.16.0"})
    head = with_records(head, lambda r: r.model_copy(update={"versions": {"torch": "2.16.0"}}))
    found = compare(made(), head)
    assert set(states(found).values()) == {"not comparable"}
    assert "torch: 2.15.0 → 2.16.0" in found.entries[0].why
    assert found.exit_code == 2


def test_another_setting_is_named_by_its_key():
    cells = [COST.model_copy(update={"settings": {"saved_bytes": {"target": "cuda-bf16"}}})]
    base = run_file(made().records[:1], [COST])
    head = run_file(made().records[:1], cells, "head-1")
    (entry,) = compare(base, head).entries
    assert entry.why == "settings.target: cpu-fp32 → cuda-bf16"


def test_times_of_another_machine_are_not_compared_and_the_rest_is():
    environment = {"cpu": "CPU B", "cores": 2, "os": "Linux x86_64"}
    head = with_records(
        made("head-1", factor=2.0), lambda r: r.model_copy(update={"environment": environment})
    )
    found = compare(made(), head)
    assert states(found) == {"saved_bytes": "same", "top1": "same"}
    assert found.exit_code == 0
    (ratio,) = [e for e in found.entries if e.metric == "forward_ratio"]
    assert (ratio.state, ratio.why) == ("not comparable", "another machine: cpu: CPU A → CPU B")


def test_times_with_cached_features_are_not_compared_and_the_rest_is():
    evidence = {"features": "cached, 9 bytes"}
    head = with_records(
        made("head-1", factor=2.0),
        lambda r: r.model_copy(update={"evidence": r.evidence | evidence}),
    )
    found = compare(made(), head)
    assert states(found) == {"saved_bytes": "same", "top1": "same"}
    assert found.exit_code == 0
    (ratio,) = [e for e in found.entries if e.metric == "forward_ratio"]
    assert (ratio.state, ratio.why) == ("not comparable", "features: none → cached, 9 bytes")


def test_seconds_of_two_sessions_are_never_compared():
    (entry,) = [e for e in compare(made(), made("head-1")).entries if "seconds" in e.metric]
    assert (entry.state, entry.by_rule) == ("not comparable", True)


def test_a_measure_that_failed_in_head_is_missing_with_its_reason():
    head = with_records(
        made("head-1"),
        lambda r: failed(COST, "saved_bytes", "no such kernel") if r.unit == "B" else r,
    )
    (entry,) = compare(made(), head).of("missing")
    assert (entry.metric, entry.why) == ("saved_bytes", "HEAD failed: failed, no such kernel")


def test_one_lost_seed_of_three_is_missing():
    head = with_records(made("head-1"), lambda r: None if r.cell.endswith("seed1") else r)
    (entry,) = compare(made(), head).of("missing")
    assert (entry.cell, entry.why) == ("learn/ours/t8", "not in HEAD with seed 1")


def test_what_failed_in_both_is_not_a_comparison():
    runs = [run_file([failed(COST, "saved_bytes", "broken")], [COST], n) for n in ("a", "b")]
    found = compare(*runs)
    assert [e.state for e in found.entries] == ["not comparable"]
    assert found.exit_code == 2


def test_nothing_against_nothing_is_exit_code_2():
    found = compare(run_file([], CELLS), run_file([], CELLS, "head-1"))
    assert (found.entries, found.exit_code) == ((), 2)


def test_two_suites_do_not_compare():
    with pytest.raises(UserError, match="compare two runs of one suite"):
        compare(made(), run_file([], CELLS, "head-1", suite="other"))


def test_a_changed_number_names_the_parts_that_differ_the_largest_first():
    base = {"by_class": {"Linear": 10, "Norm": 4, "Conv": 1}, "note": "x", "flag": True}
    head = {"by_class": {"Linear": 11, "Norm": 9, "Scan": 2}, "note": "y", "flag": False}
    assert [(c.part, c.base, c.head) for c in changes(base, head)] == [
        ("by_class.Norm", 4, 9), ("by_class.Scan", 0, 2), ("by_class.Linear", 10, 11),
        ("by_class.Conv", 1, 0),
    ]  # fmt: skip


def test_large_exact_numbers_are_compared_to_the_unit():
    values = 2**60 + 1, 2**60 + 2
    runs = [
        run_file([record(COST, "saved_bytes", "saved_bytes", v, "exact", "B")], [COST], f"r{v}")
        for v in values
    ]
    (entry,) = compare(*runs).entries
    assert (entry.state, entry.effect) == ("changed", 1)


def test_a_void_session_says_nothing():
    def biased(r):
        if r.metric != "forward_ratio":
            return r
        again = [1.2 * x for x in r.detail["again_seconds"]]
        return r.model_copy(update={"detail": {**r.detail, "again_seconds": again}})

    found = compare(made(), with_records(made("head-1", factor=1.5), biased))
    (entry,) = found.of("inconclusive")
    assert entry.why == "the session of HEAD is void: its A/A arm differs"


def test_one_process_a_side_is_inconclusive():
    runs = [
        run_file(time_records(TIME, np.random.default_rng(0), f, processes=1), [TIME], f"r{f}")
        for f in (1.0, 2.0)
    ]
    assert [e.why for e in compare(*runs).of("inconclusive")] == [
        "one process a side: how processes differ is not known; take three"
    ]


def test_other_clips_are_compared_as_independent_samples():
    chance = np.random.default_rng(0)
    base = run_file([top1_record(LEARN[0], 0.6, chance)], LEARN)
    other = np.arange(400)[::-1] % 4
    head = run_file([top1_record(LEARN[0], 0.4, chance, other)], LEARN, "head-1")
    (entry,) = compare(base, head).entries
    assert entry.state == "worse"
    assert "independent shares" in entry.why


def test_a_lower_loss_is_better_and_three_seeds_are_asked_for():
    def losses(name, values):
        return run_file(
            [record(c, "accuracy", "final_train_loss", v, "sampled", "nat")
             for c, v in zip(LEARN, values, strict=False)],
            LEARN, name,
        )  # fmt: skip

    base = losses("base-1", [2.0, 2.1, 2.2])
    assert compare(base, losses("head-1", [1.0, 1.11, 1.19])).entries[0].state == "better"
    assert compare(base, losses("head-1", [3.0, 3.11, 3.19])).entries[0].state == "worse"
    two = compare(losses("base-1", [2.0, 2.1]), losses("head-1", [1.0, 1.1]))
    assert two.entries[0].by_rule


# Accepted reference runs


def after(head, reference):
    """The comparison with what a reference run accepts."""
    return accepted(compare(made(), head), head, [(reference, "a wider scan")])


def test_a_change_that_the_reference_shows_is_accepted_with_its_reason():
    found = after(made("head-1", saved=1200), made("ref-2", saved=1200))
    (entry,) = found.of("accepted")
    assert (entry.metric, entry.reason) == ("saved_bytes", "a wider scan (ref-2)")
    assert found.exit_code == 0


def test_an_acceptance_of_another_value_clears_nothing():
    assert after(made("head-1", saved=1200), made("ref-2", saved=1300)).exit_code == 1


def test_a_slowdown_is_accepted_where_the_reference_is_as_slow_and_no_slower():
    assert after(made("head-1", factor=1.3), made("ref-2", factor=1.3)).exit_code == 0
    assert after(made("head-1", factor=1.7), made("ref-2", factor=1.3)).exit_code == 1


def test_a_number_that_the_reference_dropped_is_no_longer_missing():
    dropped = {"drop": ("saved_bytes",)}
    found = after(made("head-1", **dropped), made("ref-2", **dropped))
    assert [e.metric for e in found.of("accepted")] == ["saved_bytes"]


def test_another_rule_is_accepted_where_the_reference_has_it_too():
    def counted_anew(run):
        return with_records(
            run, lambda r: other_evidence(r, rule="saved_bytes/v2") if r.unit == "B" else r
        )

    found = after(counted_anew(made("head-1")), counted_anew(made("ref-2")))
    assert (found.exit_code, len(found.of("accepted"))) == (0, 1)


# How often it is wrong


def sessions(count, family, factor=1.0, spread=(0.01, 0.02), paired=False):
    """In how many of `count` comparisons of so many times any is worse or better."""
    cells = [cell(f"time/c{i}/t8", ["time"]) for i in range(family)]
    alarms = 0
    for n in range(count):
        chance = np.random.default_rng([7, n])
        runs = [
            run_file(
                [r for c in cells for r in time_records(c, chance, f, spread=spread)], cells, x
            )
            for x, f in (("base", 1.0), ("head", factor))
        ]
        alarms += bool(compare(*runs, paired=paired).of("worse", "better"))
    return alarms


@pytest.mark.slow
def test_alike_times_alarm_in_at_most_one_of_twenty_families():
    assert sessions(60, family=6) <= 3


@pytest.mark.slow
def test_alike_times_do_not_alarm_where_processes_differ_by_4_percent():
    assert sessions(60, family=4, spread=(0.04, 0.02)) <= 3


@pytest.mark.slow
def test_a_slowdown_of_15_percent_is_found_in_most_families():
    assert sessions(25, family=4, factor=1.15) >= 20


@pytest.mark.parametrize(("seeds", "most"), [(3, 0.12), (10, 0.07)])
def test_alike_accuracies_alarm_about_as_often_as_stated(seeds, most):
    found = []
    for n in range(600):
        chance = np.random.default_rng([3, n, seeds])
        clip = chance.normal(0, 1, 300)  # how hard a clip is
        base, head = (
            clip + chance.normal(0, 0.1, (seeds, 1)) + chance.normal(0, 1, (seeds, 300)) > 0
            for _ in range(2)
        )
        found.append(clip_stats.paired_bootstrap(head, base, draws=600).p < 0.05)
    assert np.mean(found) <= most


def test_pairing_of_processes_takes_out_what_both_arms_share():
    chance = np.random.default_rng(0)
    pace = np.repeat(chance.normal(0, 0.2, 5), 7).reshape(5, 7)
    one = paired_times.Samples(logs=tuple(pace), control=tuple(0 * pace))
    two = paired_times.Samples(logs=tuple(pace + 0.1), control=tuple(0 * pace))
    widths = [
        np.ptp(np.log(paired_times.shift(one, two, paired=paired).interval))
        for paired in (True, False)
    ]
    assert widths[0] < 0.001 < 0.1 < widths[1]


def with_files(run, **hashes):
    """The run with hashes of the user's files in its header."""
    inputs = UserInputs(hashes=hashes)
    return replace(run, header=run.header.model_copy(update={"inputs": inputs}))


def test_another_file_of_the_user_is_told():
    base, head = with_files(made("a"), model="1", data="3"), with_files(made("b"), model="2", w="4")
    notes = compare(base, head).notes
    assert "the file of model is not the same in BASE and HEAD" in notes
    assert "BASE keeps no hash of the file of w" in notes
    assert "HEAD keeps no hash of the file of data" in notes
    assert not any("file" in note for note in compare(base, base).notes)
