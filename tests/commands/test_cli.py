"""The command line: data on stdout, one clear line for a mistake, fast help."""

import json
import sys

import pytest

from pks4 import cli
from pks4.bench import doctor
from pks4.bench.contestants import catalogue
from pks4.bench.plan.suite import read_suite
from pks4.bench.records import accepted, folders, run_file
from pks4.bench.run import run
from pks4.commands.parts.terminal import print_table
from pks4.errors import UserError
from pks4.weights.official import official_state_dict
from tests.factories.runs import made, written
from tests.tools.commands import imported_by, invoke


@pytest.mark.slow
def test_help_and_list_import_no_torch():
    for args in (["--help"], ["list", "models"], ["list", "suites"]):
        assert imported_by(*args)[1] == []


@pytest.mark.slow
def test_a_run_builds_and_measures_in_children_and_imports_no_torch(suite_file, tmp_path):
    text = suite_file().read_text().replace('"params", "macs", "saved_bytes"', '"params"')
    words = ["run", str(suite_file(text=text)), "--out", str(tmp_path), "--no-report"]
    code, heavy = imported_by(*words)
    assert code == 0
    assert "torch" not in heavy


@pytest.mark.parametrize("what", ["suites", "models", "measures", "runs"])
def test_list_prints_json(what):
    assert isinstance(json.loads(invoke("list", what, "--json").stdout), list)


def test_a_table_leaves_out_a_column_in_which_no_row_says_anything(capsys):
    print_table(("cell", "job", "node"), [("a", "", ""), ("b", "", "n1")])
    print_table(("cell", "job"), [])
    words = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert words == [["cell", "node"], ["a"], ["b", "n1"], ["cell", "job"]]


def test_plan_prints_the_cells(suite_file):
    path = suite_file()
    assert [c["id"] for c in json.loads(invoke("plan", path, "--json").stdout)] == [
        "cost/floor/t2",
        "cost/ours/t2",
    ]
    assert "cost/ours/t2" in invoke("plan", path).stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["plan", "quik"], "did you mean 'quick'"),
        (["run", "quik"], "did you mean 'quick'"),
        (["list", "model"], "did you mean 'models'"),
        (["report", "nothing-of-the-kind"], "unknown run"),
        (["data", "make", "temporel"], "did you mean 'temporal'"),
        (["data", "make", "temporal", "--frames", "1"], "frames is 1"),
        (["plan", "smoke", "--points", "5"], "go with --power"),
        (["plan", "smoke", "--power"], "no run of 'smoke' was accepted"),
        (["data", "pretrain", "scaling"], "no contestant of this suite starts from an image"),
        (["data", "pretrain", "lr_search", "--twin", "frame_men"], "did you mean 'frame_mean'"),
        (["list", "suites", "--params"], "--params counts parameters of models"),
        (["show", "model", "timesformr"], "did you mean 'timesformer'"),
        (["show", "model", "pks4", "--option", "state"], "must be written name=value"),
        (["show", "model", "pks4", "--option", "stat=4"], "did you mean 'state'"),
        (["show", "model", "pks4", "--scale", "papr"], "did you mean 'paper'"),
        (["show", "model", "timesformer", "--option", "heads=5"], "not a multiple of heads 5"),
        (["show", "model", "timesformer", "--weights", "no.pth"], "there is no file no.pth"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(args, said, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pks4-bench", *args])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    err = capsys.readouterr().err.strip()
    assert stop.value.code == 2
    assert said in err
    assert "\n" not in err


def test_list_models_counts_parameters_where_asked(monkeypatch):
    few = {name: catalogue.models()[name] for name in ("pks4", "st_adapter")}
    monkeypatch.setattr(catalogue, "models", lambda: few)
    plain, counted = (
        {line["model"]: line for line in json.loads(invoke("list", "models", *more).stdout)}
        for more in (["--json"], ["--params", "--json"])
    )
    assert "params_total" not in plain["st_adapter"]
    assert counted["st_adapter"]["params_total"] == 93_217_168
    assert counted["st_adapter"]["params_trainable"] == 7_417_744
    assert counted["st_adapter"]["trained"] == "adapters and head"
    table = invoke("list", "models", "--params").stdout
    assert "trained, M" in table
    assert "93.22" in table


def test_the_card_of_a_model_has_its_facts_costs_and_published_numbers():
    card = json.loads(invoke("show", "model", "timesformer", "--json").stdout)
    assert {"place", "trained", "paper", "scales", "variants", "options"} <= card.keys()
    assert card["options"]["attention_type"] == "divided"
    assert card["configuration"]["counts"]["params_total"] == 121_566_352
    assert card["configuration"]["counts"]["macs"].keys() == {"backbone", "temporal", "head"}
    by_row = {line["row"]: line for line in card["published"]}
    assert all(line["verdict"] for line in by_row.values())
    printed = invoke("show", "model", "timesformer").stdout
    assert "in every block, before attention within frames" in printed
    assert "121,566,352" in printed
    assert "equal as printed" in printed


@pytest.mark.contract
def test_the_card_says_why_and_compares_like_with_like():
    printed = invoke("show", "model", "video_mamba").stdout
    assert "why 1: their counter does not see into the fused operator" in printed
    assert "like for like" in printed
    assert "No published figure" in invoke("show", "model", "pks4").stdout


def test_options_of_a_card_are_read_as_toml():
    args = ("--scale", "tiny", "--frames", "4", "--classes", "5", "--option", "frozen=false")
    card = json.loads(invoke("show", "model", "pks4", *args, "--option", "direction=halves",
                             "--json").stdout)["configuration"]  # fmt: skip
    assert card["options"] == {"frozen": False, "direction": "halves"}
    assert card["counts"]["params_total"] == card["counts"]["params_trainable"]


def test_a_checkpoint_of_the_authors_is_checked_against_the_model(tmp_path):
    import torch

    entry, path = catalogue.models()["timesformer"], tmp_path / "theirs.pyth"
    model = entry.load().build(frames=2, num_classes=5, **entry.facts["SCALES"]["tiny"])
    theirs = {f"model.{k}": v for k, v in official_state_dict(model).items()}
    torch.save({"model_state": theirs}, path)
    fits = ("show", "model", "timesformer", "--scale", "tiny", "--classes", "5", "--weights", path)
    said = invoke(*fits, "--frames", "4")
    assert said.stdout.startswith(f"{path} fits timesformer: {len(theirs)} loaded, 1 of them res")
    assert "resized  time_embed" in said.stdout
    same = json.loads(invoke(*fits, "--frames", "2", "--json").stdout)
    assert (len(same["loaded"]), same["resized"], same["left"]) == (len(theirs), [], [])
    wrong = invoke(*fits, "--option", "depth=5")
    assert isinstance(wrong.exception, UserError)
    assert "nothing was loaded; missing: blocks.4." in str(wrong.exception)


@pytest.mark.slow
@pytest.mark.usefixtures("one_fork_server")
def test_a_run_ends_in_a_report_that_can_be_made_again(suite_file, tmp_path, monkeypatch):
    path, folder = suite_file(), tmp_path / "runs"
    monkeypatch.setattr(folders, "runs_folder", lambda: folder)
    session = run.start(*read_suite(path), folder)
    run.execute(session, 2, lambda cell, event: None)
    done = invoke("report", "latest", "--out", tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    assert done.stdout.strip() == str(tmp_path / "report" / "report.html")
    assert "reconstruction" in page
    value = next(r.value for r in run_file.read(session.path).records if r.metric == "macs_forward")
    assert str(value) in page
    opened = []
    for there in (True, False):
        monkeypatch.setattr("webbrowser.open", lambda url, there=there: opened.append(url) or there)
        shown = invoke("report", "--open", "--out", tmp_path / "report")
        assert (shown.exit_code, shown.stdout) == (0, done.stdout)
        assert ("no browser could be opened" in shown.stderr) is not there
    assert opened == [(tmp_path / "report" / "report.html").as_uri()] * 2
    listed = json.loads(invoke("list", "runs", "--json").stdout)
    assert {"run": session.header.run, "state": "complete"}.items() <= listed[0].items()


@pytest.mark.slow
def test_one_command_makes_the_reports_of_all_references(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "base", lambda: tmp_path)
    assert "no run is accepted yet" in str(invoke("report", "--references").exception)
    assert "takes no run" in str(invoke("report", "latest", "--references").exception)
    for name in ("one", "two"):
        run = run_file.read(written(made(name), tmp_path / "runs"))
        accepted.accept(run, "a reason", tmp_path / "results", who="A B")
    done = invoke("report", "--references")
    (page,) = done.stdout.split()
    assert page == str(tmp_path / "reports" / "reference" / run.header.suite / "report.html")
    assert "two" in (tmp_path / page).read_text()


@pytest.mark.slow
def test_nothing_here_is_wrong_and_what_is_absent_says_why():
    found = {f.what: f for f in doctor.examine()}
    assert not [f for f in found.values() if f.state == "wrong"]
    assert "17,563,060,224" in found["counters on ViT-B/16"].text
    assert found["scan recompute"].state == "ok"
    assert found["reader pyav"].state == "ok"
    absent = [f for f in found.values() if f.state == "absent"]
    assert all(f.text for f in absent)


def test_a_scan_that_is_off_is_found(monkeypatch):
    from pks4 import scan

    right = scan.OPERATORS["recompute"]
    monkeypatch.setitem(
        scan.OPERATORS, "recompute", lambda *x: (right(*x)[0] + 1e-3, *right(*x)[1:])
    )
    states = {f.what: f.state for f in doctor._scans()}
    assert states["scan recompute"] == "wrong"
    assert states["scan reference"] == "ok"
