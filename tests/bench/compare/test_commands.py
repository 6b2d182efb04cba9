"""`compare` and `accept` as commands: exit codes, output that hostile text cannot break."""

import json
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from pks4 import cli
from pks4.bench.compare import printing, remeasure, worktree
from pks4.bench.compare.compare import compare
from pks4.bench.compare.worktree import joined
from pks4.bench.contestants import catalogue
from pks4.bench.plan.plan import plan
from pks4.bench.plan.suite import read_suite
from pks4.bench.records.environment import provenance
from pks4.commands.results import accept as accept_command
from pks4.commands.results import compare as compare_command
from pks4.errors import UserError
from tests.factories.runs import COST, failed, made, run_file, written
from tests.tools.commands import imported_by


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Results of the command go to a temporary folder."""
    for command in (accept_command, compare_command):
        monkeypatch.setattr(command, "results_folder", lambda: tmp_path / "results")


def invoke(*args):
    """Run a command in this process."""
    return CliRunner().invoke(cli.app, [str(a) for a in args])


@pytest.fixture
def files(tmp_path):
    """A function that writes two runs and gives their paths."""

    def write(base, head):
        return written(base, tmp_path / "runs"), written(head, tmp_path / "runs")

    return write


@pytest.mark.parametrize(
    ("head", "code"),
    [(made("head-1"), 0), (made("head-1", saved=1001), 1), (run_file([], [COST], "head-1"), 2)],
)
def test_exit_codes(files, head, code):
    base = made() if code < 2 else run_file([], [COST])
    assert invoke("compare", *files(base, head)).exit_code == code


def test_json_holds_the_effect_the_parts_and_where_the_values_stand(files):
    done = invoke("compare", *files(made(), made("head-1", saved=1001)), "--json")
    found = json.loads(done.stdout)
    (entry,) = [e for e in found["entries"] if e["state"] == "changed"]
    assert (found["exit_code"], entry["effect"]) == (1, 1)
    assert entry["parts"] == [{"part": "by_class.Linear", "base": 600, "head": 601}]
    assert entry["records"] == [
        "base-1:cost/ours/t8:saved_bytes", "head-1:cost/ours/t8:saved_bytes"
    ]  # fmt: skip


def test_a_change_is_accepted_by_the_command_and_compare_then_passes(files, tmp_path):
    base, head = files(made(), made("head-1", saved=1200, created="2026-02-01T00:00:00Z"))
    assert invoke("compare", base, head).exit_code == 1
    assert invoke("accept", head, "--reason", "a wider scan", "--who", "A B").exit_code == 0
    done = invoke("compare", base, head)
    assert done.exit_code == 0
    assert "accepted: a wider scan, A B, " in done.stdout
    again = written(made("head-2", saved=1200, noise=1), tmp_path / "runs")
    assert invoke("compare", "reference", again).exit_code == 0


def test_accepted_runs_that_left_the_tree_or_were_rewritten_stop_nothing(files, tmp_path):
    """Once a superseded line of the ledger ended every comparison with an error."""
    results = tmp_path / "results"
    base, head = files(made(), made("head-1", saved=1200, created="2026-02-01T00:00:00Z"))
    for name in ("gone-1", "head-1"):
        made_run = made(name, saved=1200, created="2026-02-01T00:00:00Z")
        path = written(made_run, tmp_path / "accepted")
        assert invoke("accept", path, "--reason", "a wider scan").exit_code == 0
    (results / "reference" / "gone-1.jsonl.gz").unlink()
    ledger = results / "accepted.jsonl"
    *_, last = ledger.read_text().splitlines()
    rewritten = json.dumps({**json.loads(last), "sha256": "0" * 64})
    ledger.write_text(f"{rewritten}\n{ledger.read_text()}")
    done = invoke("compare", base, head)
    assert done.exit_code == 0
    assert "accepted: a wider scan" in done.stdout


@pytest.mark.parametrize("base", ["reference", "head"])
def test_a_run_beside_itself_is_one_line_and_was_not_compared(files, base):
    _, head = files(made(), made("head-1"))
    assert invoke("accept", head, "--reason", "the first").exit_code == 0
    done = invoke("compare", head if base == "head" else base, head)
    assert isinstance(done.exception, UserError)  # exit code 2
    said = {"reference": "the accepted reference itself", "head": "BASE and HEAD in one"}
    assert f"head-1: is {said[base]}, so nothing was compared" in str(done.exception)


def void(run):
    """The run with its times of a session that says nothing."""
    records = [
        r.model_copy(update={"detail": {**r.detail, "verdict": "void"}})
        if r.metric == "forward_ratio" else r
        for r in run.records
    ]  # fmt: skip
    return run_file(records, run.header.cells, run.header.run)


def test_a_run_with_gaps_is_accepted_only_where_they_are_meant(files):
    _, head = files(made(), void(made("head-1")))
    args = ["accept", head, "--reason", "the first"]
    told = "1 gap (time/ours/t8 forward_ratio: void)"
    refused = invoke(*args)
    assert f"has {told}, to which no later run can be held" in str(refused.exception)
    assert "--with-gaps" in str(refused.exception)
    done = invoke(*args, "--with-gaps")
    assert done.exit_code == 0
    assert f"no later run can be held to {told}" in " ".join(done.stderr.split())


def test_what_was_accepted_before_base_was_made_clears_nothing(files):
    base, head = files(made(created="9999-01-01T00:00:00Z"), made("head-1", saved=1200))
    assert invoke("accept", head, "--reason", "of another time").exit_code == 0
    assert invoke("compare", base, head).exit_code == 1


HOSTILE = "<script>alert(1)</script> | `x` @team \x00\x1b[31m ]]>"


def hostile():
    """A comparison whose reason is text that would like to be more."""
    head = run_file([failed(COST, "saved_bytes", HOSTILE)], [COST], "head-1")
    return compare(run_file(made().records[:1], [COST]), head)


def test_markdown_shows_hostile_text_as_text():
    text = printing.markdown(hostile())
    row = text.splitlines()[-1]
    assert "<script>" not in text
    assert row.count(" | ") == len(printing.COLUMNS) - 1
    assert r"\@team" in row


def test_junit_is_xml_whatever_the_text_and_counts_alarms(tmp_path, files):
    suite = ElementTree.fromstring(printing.junit(hostile()))
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert "<script>alert(1)</script>" in suite.find("testcase/failure").text
    out = tmp_path / "deep" / "junit.xml"
    invoke("compare", *files(made(), made("head-1", factor=1.5)), "--junit", out)
    suite = ElementTree.parse(out).getroot()
    assert [c.get("name") for c in suite if c.find("failure") is not None] == ["time.forward_ratio"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["compare", "one"], "compare takes BASE and HEAD"),
        (["compare", "a", "b", "--json", "--markdown"], "choose one"),
        (["compare", "a.jsonl", "b.jsonl"], "b.jsonl: cannot be read"),
        (["compare", "smoke", "b", "--worktree", "HEAD"], "takes one suite"),
        (["compare", "smok", "--worktree", "HEAD"], "did you mean 'smoke'"),
    ],
)
def test_wrong_use_is_one_line(args, said):
    done = invoke(*args)
    assert isinstance(done.exception, UserError)
    assert said in str(done.exception)
    assert "\n" not in str(done.exception)


# Alarms measured again


def confirmed(head, again):
    """HEAD's comparison after a fresh session."""
    return remeasure.confirmed(compare(made(), head), compare(made(), again))


def alarm(again, head):
    """What is left of HEAD's alarms after a fresh session."""
    return {e.metric: e.state for e in confirmed(head, again).of("worse", "changed", "missing")}


def test_an_alarm_that_repeats_stays():
    assert alarm(made("again", factor=1.3), made("head-1", factor=1.3)) == {
        "forward_ratio": "worse"
    }


def test_an_alarm_that_does_not_repeat_goes():
    assert alarm(made("again", factor=1.0), made("head-1", factor=1.3)) == {}


def test_an_exact_number_that_does_not_repeat_stays_and_says_so():
    (entry,) = confirmed(made("head-1", saved=1001), made("again")).of("changed")
    assert "NOT repeatable" in entry.why


def test_only_what_alarmed_is_measured_again():
    found = compare(made(), made("head-1", share=0.5))
    cells = remeasure.alarmed(found, made().header.cells)
    assert [c.id for c in cells] == [f"learn/ours/t8/seed{s}" for s in range(3)]


def test_another_code_than_heads_is_not_measured_in_its_name(tmp_path):
    head = made("head-1", saved=1001)
    with pytest.raises(UserError, match="check out HEAD's commit to confirm"):
        remeasure.session(compare(made(), head), head, tmp_path)


# Two revisions in one session


@pytest.mark.slow
def test_an_arm_runs_its_own_code_and_no_other(tmp_path, suite_file):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="which is not its code"):
        worktree.arm("BASE", tmp_path / "empty", suite_file())


@pytest.mark.slow
def test_a_revision_that_is_none_is_told():
    with (
        pytest.raises(UserError, match="is no revision here"),
        worktree.worktree("no-such-revision"),
    ):
        pass


def arm(name, cells):
    """An arm of this very code."""
    root = catalogue.root()
    return worktree.Arm(name=name, root=root, source=provenance(), cells={c.id: c for c in cells})


@pytest.mark.slow
def test_what_an_arms_worker_says_is_recorded_under_the_arm(tmp_path, suite_file):
    suite, text = read_suite(suite_file())
    cells = [c.model_copy(update={"measures": ["params"]}) for c in plan(suite)[:1]]
    arms = arm("BASE", cells), arm("HEAD", [])
    base, head = worktree.measure(arms, ("small", text), tmp_path, lambda line: None)
    assert [r.metric for r in base.records] == ["params_total", "params_trainable"]
    assert base.header.run.startswith("base-small-")
    assert [e.state for e in compare(base, head).entries] == ["missing"] * 2


@pytest.mark.slow
def test_a_worker_that_dies_leaves_a_record_in_its_arm(tmp_path, suite_file):
    suite, text = read_suite(suite_file())
    short = {"measures": ["params"], "time_limit_seconds": 0.01}
    cells = [c.model_copy(update=short) for c in plan(suite)[:1]]
    arms = arm("BASE", cells), arm("HEAD", [])
    base, head = worktree.measure(arms, ("small", text), tmp_path, lambda line: None)
    assert [(r.metric, r.status) for r in base.records] == [("*", "failed")]
    assert head.records == []


def event(seconds, reference):
    """What the time measure says in one round."""
    detail = {"rounds_by_process": [2]}
    times = {"samples_seconds": seconds, "cpu_seconds": seconds}
    arms = {"reference_seconds": reference, "again_seconds": reference}
    readings = [
        {"metric": "forward_seconds", "value": 0.0, "detail": {**detail, **times}, "evidence": {}},
        {"metric": "forward_ratio", "value": 0.0, "detail": {**detail, **arms}, "evidence": {}},
    ]
    return {"event": "done", "measure": "time", "seconds": 1.0, "readings": readings}


def test_rounds_are_joined_and_the_ratio_is_that_of_all():
    rounds = [{"time": event([2.0, 2.0], [1.0, 1.0])}, {"time": event([6.0, 6.0], [2.0, 2.0])}]
    seconds, ratio = joined(rounds)["time"]["readings"]
    assert seconds["detail"]["samples_seconds"] == [2.0, 2.0, 6.0, 6.0]
    assert (seconds["value"], ratio["value"]) == (
        4.0,
        pytest.approx(6**0.5),
    )  # median of ln 2, ln 3
    assert ratio["detail"]["rounds_by_process"] == [2, 2]
    assert ratio["evidence"] == {"processes": 2}


def test_a_measure_that_fails_in_one_round_has_failed():
    lost = {"event": "failed", "measure": "time", "status": "oom", "reason": "x", "seconds": 0.0}
    assert joined([{"time": event([1.0] * 2, [1.0] * 2)}, {"time": lost}])["time"] == lost


@pytest.mark.slow
def test_compare_needs_no_torch(files):
    base, head = files(made(), made("head-1"))
    assert imported_by("compare", base, head)[1] == []
