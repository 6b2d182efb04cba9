"""The command line: data on stdout, one clear line for a mistake, fast help."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from pks4 import cli
from pks4.bench import run, store
from pks4.bench.suite import read_suite
from pks4.errors import UserError


def invoke(*args):
    """Run a command in this process."""
    return CliRunner().invoke(cli.app, [str(a) for a in args])


def test_help_and_list_import_no_torch():
    for args in (["--help"], ["list", "models"], ["list", "suites"], ["plan", "quick"]):
        code = (
            "import sys; from pks4.cli import app\n"
            f"try: app({args!r})\nexcept SystemExit: pass\n"
            "heavy = {'torch', 'timm', 'pandas', 'matplotlib', 'sklearn'} & set(sys.modules)\n"
            "print('heavy', sorted(heavy))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == "heavy []", done.stderr


@pytest.mark.parametrize("what", ["suites", "models", "measures", "runs"])
def test_list_prints_json(what):
    assert isinstance(json.loads(invoke("list", what, "--json").stdout), list)


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
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(args, said, monkeypatch, capsys):
    assert isinstance(invoke(*args).exception, UserError)
    monkeypatch.setattr(sys, "argv", ["pks4-bench", *args])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    err = capsys.readouterr().err.strip()
    assert stop.value.code == 2
    assert said in err
    assert "\n" not in err


def test_a_run_ends_in_a_report_that_can_be_made_again(suite_file, tmp_path, monkeypatch):
    path, folder = suite_file(), tmp_path / "runs"
    monkeypatch.setattr(cli, "_runs_folder", lambda: folder)
    session = run.start(*read_suite(path), folder)
    run.execute(session, 2, lambda cell, event: None)
    done = invoke("report", "latest", "--out", tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    assert done.stdout.strip() == str(tmp_path / "report" / "report.html")
    assert "reconstruction" in page
    value = next(r.value for r in store.read(session.path).records if r.metric == "macs_forward")
    assert str(value) in page
    listed = json.loads(invoke("list", "runs", "--json").stdout)
    assert {"run": session.header.run, "state": "complete"}.items() <= listed[0].items()
