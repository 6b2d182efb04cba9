"""Claims: a verdict needs evidence, each can come out, and a bad file is told in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pks4 import cli
from pks4.bench.claims import claims, judge
from pks4.bench.contestants import catalogue
from pks4.bench.plan.suite import read_suite
from pks4.bench.records import run_file as records_run_file
from pks4.errors import UserError
from tests.factories.runs import cell, failed, made, record, run_file, top1_record, written

HEAD = """
title = "T"
source = "S"
[[claims]]
id = "one"
title = "One"
says = "so"
scale = "tiny"
supported_when = "it is"
contradicted_when = "it is not"
measured_by = ["pks4-bench run small"]
{more}
[[claims.tests]]
name = "test"
reason = "because"
"""
TESTS = {
    "structure": 'kind = "structure"\nmetric = "macs"\ncontestant = "ours"\nexpects = "affine"',
    "growth": 'kind = "growth"\nmetric = "forward_seconds"\ncontestant = "ours"\nat_most = 1.1',
    "ratio": 'kind = "ratio"\nmetric = "macs"\nof = ["theirs"]\nover = "ours"\n'
    "at_least = 3.0\ncontradicted_below = 1.5",
    "recipe": 'kind = "recipe"\nbetween = [5.0, 20.0]\n'
    'of = [{ contestant = "theirs", metric = "macs", frames = 8, times = 50 }]\n'
    'over = [{ contestant = "ours", metric = "macs", frames = 8, times = 20 }]',
    "difference": 'kind = "difference"\nmetric = "top1"\ncontestant = "ours"\n'
    'others = ["theirs"]\nabove = 0.0',
    "convergence": 'kind = "convergence"\ncontestant = "ours"\nepoch = 2\nleast_epochs = 3\n'
    "share = 0.9",
    "bound": 'kind = "bound"\nmetric = "gap"\ncontestant = "ours"\nat_most = 0.0',
    "not_testable": 'kind = "not_testable"',
}


@pytest.fixture
def file(tmp_path):
    """A function that writes a file of one claim with these tests, and reads it."""

    def write(*tests, more="", plain=None):
        path = tmp_path / "mine.toml"
        head, test = HEAD.format(more=more).split("[[claims.tests]]")
        made_of = head + "".join(f"[[claims.tests]]{test}{one}\n" for one in tests)
        path.write_text(made_of if plain is None else plain)
        return claims.read_claims(path)

    return write


def counts(label, by_frames, metric="macs", unit="MAC"):
    """An exact number of a contestant by T."""
    return [
        record(cell(f"cost/{label}/t{t}", ["macs"]), "macs", metric, v, "exact", unit)
        for t, v in by_frames.items()
    ]


def times(power, metric="forward_seconds", samples="samples_seconds"):
    """Samples that grow as T to this power, with a tenth of a per cent of noise."""
    chance = np.random.default_rng(0)
    return [
        record(
            cell(f"time/ours/t{t}", ["time"]), "time", metric, 1.0, "noisy", "s",
            detail={samples: (t**power * np.exp(chance.normal(0, 1e-3, 21))).tolist()},
        )
        for t in (4, 8, 16, 32)
    ]  # fmt: skip


def scores(ours, theirs):
    """Top-1 of two contestants on the same clips, three seeds."""
    return [
        top1_record(cell(f"learn/{label}/t8/seed{s}", ["accuracy"]), share,
                    np.random.default_rng([i, s]))
        for i, (label, share) in enumerate((("ours", ours), ("theirs", theirs)))
        for s in range(3)
    ]  # fmt: skip


def curves(*by_epoch):
    """A validation curve a seed."""
    return [
        record(cell(f"learn/ours/t8/seed{s}", ["accuracy"]), "accuracy", "val_top1_best",
               max(curve), "sampled", detail={"by_epoch": curve})
        for s, curve in enumerate(by_epoch)
    ]  # fmt: skip


LINE, CURVE = {t: 5 + 3 * t for t in (8, 16, 32, 64)}, {t: 3 * t + t * t for t in (8, 16, 32, 64)}
# kind -> records that support it, records that contradict it, records that leave it open
VERDICTS = {
    "structure": (counts("ours", LINE), counts("ours", CURVE), counts("ours", {8: 1, 16: 2})),
    "growth": (times(1.0), times(2.0), times(1.0)[:3]),
    "ratio": (
        counts("ours", {8: 10}) + counts("theirs", {8: 30}),
        counts("ours", {8: 10}) + counts("theirs", {8: 14}),
        counts("ours", {8: 10}) + counts("theirs", {8: 20}),
    ),
    "recipe": (
        counts("ours", {8: 10}) + counts("theirs", {8: 30}),
        counts("ours", {8: 10}) + counts("theirs", {8: 90}),
        counts("ours", {8: 10}) + counts("theirs", {16: 30}),
    ),
    "difference": (scores(0.8, 0.5), scores(0.5, 0.8), scores(0.5, 0.5)),
    "convergence": (
        curves(*[[0.5, 0.8, 0.8]] * 3), curves([0.1, 0.2, 0.8], [0.1, 0.3, 0.8], [0.2, 0.2, 0.8]),
        curves([0.5, 0.8, 0.8]),
    ),
    "bound": (counts("ours", {8: 0.0}, "gap"), counts("ours", {8: 1e-9}, "gap"), []),
}  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "reference", "verdict"),
    [
        (1.0, 1.0, "supported"),
        (2.0, 1.0, "contradicted"),
        (2.0, 1.5, "inconclusive"),  # on a machine where what is linear is not
        (1.0, 1.5, "inconclusive"),
        (1.0, None, "inconclusive"),
    ],
)
def test_a_growth_is_told_only_where_its_control_holds(file, ours, reference, verdict):
    (claim,) = file(TESTS["growth"] + '\ncontrol = "forward_ratio"').claims
    records = times(ours)
    if reference:
        records += times(reference, "forward_ratio", "reference_seconds")
    ((_, found),) = judge.judge(claim, [run_file(records, [])]).tests
    assert found.verdict == verdict
    assert bool(found.missing) == (reference is None)
    assert ("do not tell" in found.effect) == (reference == 1.5)


@pytest.mark.parametrize("kind", VERDICTS)
def test_each_kind_can_come_out_each_way(file, kind):
    (claim,) = file(TESTS[kind]).claims
    for records, verdict in zip(
        VERDICTS[kind], ("supported", "contradicted", "inconclusive"), strict=True
    ):
        judged = judge.judge(claim, [run_file(records, [])])
        assert judged.verdict == verdict
        ((_, found),) = judged.tests
        assert bool(found.evidence) != bool(found.missing)


@pytest.mark.parametrize("kind", VERDICTS)
def test_without_evidence_it_is_inconclusive_and_the_command_is_named(file, kind):
    (claim,) = file(TESTS[kind]).claims
    judged = judge.judge(claim, [run_file([], [])])
    assert judged.verdict == "inconclusive"
    assert judged.tests[0][1].missing.startswith("these runs hold no ")
    assert judged.commands == ["pks4-bench run small"]


def test_the_papers_claims_are_seven_and_none_is_decided_without_evidence():
    stated = claims.read_claims(catalogue.claims())
    judged = [judge.judge(claim, [run_file([], [])]) for claim in stated.claims]
    assert [one.verdict for one in judged] == ["inconclusive"] * 7


def test_the_papers_claims_are_no_suite():
    assert "claims" not in catalogue.suites()


def test_goals_are_of_numbers_that_their_suite_measures():
    files = sorted((catalogue.root() / "suites" / "goals").glob("*.toml"))
    assert files
    for path in files:
        suite = read_suite(catalogue.suites()[path.stem])[0]
        grids = {grid.name: grid for grid in suite.grids}
        assert catalogue.goals(suite.name) == path
        for test in (test for goal in claims.read_claims(path).claims for test in goal.tests):
            grid = grids[test.grid]
            assert test.contestant in grid.contestants
            assert test.metric in catalogue.measures()[grid.measures[0]].facts["METRICS"]
    assert catalogue.goals("quick") is None


def test_what_cannot_be_tested_is_not_testable_here(file):
    (claim,) = file(TESTS["not_testable"]).claims
    assert judge.judge(claim, [made()]).verdict == "not testable here"


def test_evidence_names_run_cell_and_metric(file):
    (claim,) = file(TESTS["bound"]).claims
    judged = judge.judge(claim, [run_file(VERDICTS["bound"][0], [], "run-7")])
    assert judged.tests[0][1].evidence == ("run-7:cost/ours/t8:gap",)


def test_a_time_of_a_void_session_meets_and_misses_no_bound(file):
    (claim,) = file(TESTS["bound"]).claims
    void = {"detail": {"verdict": "void"}}
    records = [one.model_copy(update=void) for one in VERDICTS["bound"][0]]
    assert judge.judge(claim, [run_file(records, [])]).verdict == "inconclusive"


def test_readings_decide_only_where_they_agree(file):
    yes, no = TESTS["structure"], TESTS["structure"].replace("affine", "quadratic")
    runs = [run_file(VERDICTS["structure"][0], [])]
    for tests, every, readings in (
        ((yes, yes), "supported", "supported"),
        ((yes, no), "contradicted", "inconclusive"),
        ((no, no), "contradicted", "contradicted"),
    ):
        for combine, verdict in (("all", every), ("readings", readings)):
            (claim,) = file(*tests, more=f'combine = "{combine}"').claims
            assert judge.judge(claim, runs).verdict == verdict


def test_what_is_shown_only_has_no_part_in_the_verdict(file):
    shown = TESTS["structure"].replace("affine", "quadratic") + "\njudged = false"
    (claim,) = file(TESTS["structure"], shown).claims
    judged = judge.judge(claim, [run_file(VERDICTS["structure"][0], [])])
    assert judged.verdict == "supported"


def test_numbers_of_two_runs_are_not_set_side_by_side(file):
    (claim,) = file(TESTS["ratio"]).claims
    runs = [run_file(counts(label, {8: n}), [], label) for label, n in (("ours", 1), ("theirs", 9))]
    judged = judge.judge(claim, runs)
    assert judged.verdict == "inconclusive"
    assert "numbers of two runs" in judged.tests[0][1].missing


def test_a_setting_narrows_the_records_that_count(file):
    (claim,) = file(TESTS["bound"] + '\nscale = "paper"').claims
    (found,) = [f for _, f in judge.judge(claim, [run_file(VERDICTS["bound"][1], [])]).tests]
    assert found.missing.startswith("these runs hold no gap of 'ours' (scale paper)")


def test_a_failure_is_told_as_the_reason(file):
    where = cell("cost/ours/t8", ["macs"])
    (claim,) = file(TESTS["bound"]).claims
    judged = judge.judge(claim, [run_file([failed(where, "macs", "too large")], [where])])
    assert judged.tests[0][1].missing == "no gap of 'ours': macs failed: too large"


def test_records_with_another_option_than_a_test_asks_for_are_no_evidence(file):
    (claim,) = file(TESTS["bound"] + '\noptions.ours = { insert_after = "middle" }').claims
    for options, words in (
        ({}, "no gap of 'ours': insert_after is not stated, not middle, in base-1"),
        ({"insert_after": "top"}, "no gap of 'ours': insert_after is top, not middle, in base-1"),
        ({"insert_after": "middle"}, ""),
    ):
        where = cell("cost/ours/t8", ["macs"], options=options)
        run = run_file([record(where, "macs", "gap", 0, "exact")], [where])
        (judged,) = judge.judge(claim, [run]).tests
        assert judged[1].missing == words


def test_a_curve_that_ends_too_early_decides_nothing(file):
    (claim,) = file(TESTS["convergence"]).claims
    judged = judge.judge(claim, [run_file(curves(*[[0.5, 0.8]] * 3), [])])
    assert judged.tests[0][1].missing.startswith("curves of 2 epochs")


BAD = {
    "title = ": "not valid TOML",
    'title = "T"\nsource = "S"': "claims: is missing; add it",
    HEAD.format(more='sais = "x"') + TESTS["bound"]: "unknown key 'sais'; did you mean 'says'?",
    HEAD.format(more="") + 'kind = "rato"': "unknown kind 'rato'; did you mean 'ratio'?",
    HEAD.format(more=""): "claim 'one', test 'test': has no kind; there are: structure",
    HEAD.format(more="") + TESTS["bound"].replace("contestant", "contestent"): (
        "claim 'one', test 'test': unknown key 'contestent'; did you mean 'contestant'?"
    ),
    HEAD.format(more="") + TESTS["recipe"].replace("times", "tims"): "did you mean 'times'?",
    HEAD.format(more="") + TESTS["bound"] + "\nat_least = 1.0": "give at_most or at_least",
    HEAD.format(more="") + TESTS["ratio"].replace("1.5", "9.5"): "both cannot hold",
    HEAD.format(more="") + TESTS["growth"].replace("1.1", '"a"'): "at_most: must be a number",
    HEAD.format(more="") + TESTS["growth"].replace("1.1", '"1.1"'): (
        "claim 'one', test 'test', at_most: must be a number, got '1.1'"
    ),
    HEAD.format(more="") + TESTS["bound"] + '\njudged = "no"': "judged: must be true or false",
    HEAD.format(more="") + TESTS["recipe"].replace("= 20", '= "20"'): (
        "claim 'one', test 'test', over no. 1, times: must be a number, got '20'"
    ),
    HEAD.format(more="") + TESTS["recipe"].replace("[5.0, 20.0]", "[5.0]"): "must be a list of 2",
    HEAD.format(more="").replace('id = "one"', ""): "claim no. 1, id: is missing; add it",
}


@pytest.mark.parametrize(("text", "said"), BAD.items())
def test_a_bad_file_is_told_in_one_line_with_the_near_name(file, text, said):
    with pytest.raises(UserError, match=r"mine\.toml: ") as error:
        file(plain=text)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_the_command_prints_verdicts_and_json(tmp_path):
    path = written(made(), tmp_path)
    mine = tmp_path / "mine.toml"
    mine.write_text(HEAD.format(more="") + TESTS["bound"].replace("gap", "saved_bytes"))
    done = CliRunner().invoke(cli.app, ["claims", str(path), "--claims", str(mine), "--json"])
    (found,) = json.loads(done.stdout)
    assert found["verdict"] == "contradicted"
    assert found["tests"][0]["evidence"] == ["base-1:cost/ours/t8:saved_bytes"]
    assert CliRunner().invoke(cli.app, ["claims", str(path)]).exit_code == 0


# The page

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")


def test_the_page_shows_what_the_command_prints():
    command = PAGE.split("```\npks4-bench claims ")[1].split("```")[0]
    names = [word for word in command.split() if word not in ("\\", "--markdown")]
    paths = [str(ROOT / "results" / "reference" / f"{name}.jsonl.gz") for name in names]
    printed = PAGE.split("by the command above -->\n")[1].split("<!-- end -->")[0]
    assert CliRunner().invoke(cli.app, ["claims", *paths, "--markdown"]).stdout == printed


def test_the_pages_own_claim_is_judged(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(PAGE.split("```toml\n")[1].split("```")[0])
    (claim,) = claims.read_claims(path).claims
    run = records_run_file.read(
        ROOT / "results" / "reference" / "scaling-20261129-084120-bd4019d.jsonl.gz"
    )
    assert judge.judge(claim, [run]).verdict == "supported"


def test_the_page_names_every_kind():
    assert all(f"| `{kind}` |" in PAGE for kind in claims.KINDS)
