"""A module of the user's own joins a suite by `--module`, and is measured beside PKS4, as it is."""

import json
import re
from pathlib import Path

import pytest

from pks4.bench.contestants import catalogue, modules
from pks4.bench.plan.plan import plan
from pks4.bench.plan.suite import parse_suite, read_suite, with_contestants
from pks4.bench.records import run_file
from pks4.bench.run import run
from pks4.errors import UserError
from tests.tools.commands import invoke

PAGE = Path(__file__).parents[3] / "docs/extend.md"
GRIDS = """
[[contestants]]
label = "top"
model = "pks4"
options = { insert_after = "top", width = 24, depth = 1, heads = 3 }

[[grids]]
name = "learn"
scale = "tiny"
frames = [4]
task = "temporal"
contestants = ["top"]
measures = ["accuracy"]

[grids.settings.accuracy]
epochs = 1
images = 20
image_epochs = 1
clips = { train = 6, val = 3, test = 6 }

[[grids]]
name = "floors"
scale = "tiny"
frames = [2]
contestants = ["floor"]
measures = ["params"]
"""
RECIPE = 'recipe = { learning_rate = 0.02, batch_size = 3 }\n\n[[grids]]\nname = "cost"'


@pytest.fixture
def blur(tmp_path, monkeypatch):
    """The module that the docs show, in a file, and that with a closed form of its MACs."""
    monkeypatch.setenv(catalogue.MODULES, "")
    text = re.search(r"^```python\n(\"\"\"Blur:.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)[1]
    path = tmp_path / "blur.py"
    path.write_text(
        f"{text}\n\nclass Counted(Blur):\n    def macs(self, b, t, h, w):\n"
        "        return b * (t + 2) * h * w * len(self.gate) * 3\n"
    )
    return path


@pytest.fixture
def suite(suite_file):
    """The small suite with a recipe of its first PKS4, which only some grids list."""
    text = suite_file(more=GRIDS).read_text()
    return suite_file(text=text.replace('[[grids]]\nname = "cost"', RECIPE, 1))


def cells_of(suite, *options):
    """The cells that `plan` prints, by id."""
    done = invoke("plan", suite, *options, "--json")
    assert done.exit_code == 0, done.exception
    return {cell["id"]: cell for cell in json.loads(done.stdout)}


def test_it_joins_the_grids_of_pks4_and_no_other(blur, suite):
    cells = cells_of(suite, "--module", f"{blur}:Blur", "--module", f"{blur}:Counted")
    assert [c for c in cells if "Blur" in c or "Counted" in c] == [
        "cost/Blur/t2", "cost/Counted/t2", "learn/Blur/t4", "learn/Counted/t4"
    ]  # fmt: skip


def test_its_recipe_and_place_are_those_of_the_first_pks4(blur, suite):
    """`top` stands elsewhere, but `ours` is the first: its width counts, its state is its own."""
    cells = cells_of(suite, "--module", f"{blur}:Blur")
    own, ours = cells["cost/Blur/t2"]["options"], cells["cost/ours/t2"]["options"]
    assert own == {k: v for k, v in ours.items() if k in catalogue.options_of_the_place()}
    assert (own["width"], own["insert_after"]) == (24, "middle")
    settings = cells["learn/Blur/t4"]["settings"]["accuracy"]
    assert (settings["learning_rate"], settings["batch_size"]) == (0.02, 3)
    assert cells["learn/top/t4"]["settings"]["accuracy"]["learning_rate"] != 0.02


def test_a_fast_run_has_it_in_the_grids_that_its_lists_leave(blur, suite):
    text = (
        suite.read_text() + '\n[fast.floors]\ncontestants = ["ours"]\n[fast.learn]\nskip = true\n'
    )
    suite.write_text(text)
    cells = cells_of(suite, "--module", f"{blur}:Blur", "--fast")
    assert [c for c in cells if "Blur" in c] == ["cost/Blur/t2", "floors/Blur/t2"]


def test_a_suite_without_pks4_has_no_place_for_it(blur, suite):
    suite.write_text(suite.read_text().replace('"pks4"', '"aim"'))
    error = invoke("plan", suite, "--module", f"{blur}:Blur").exception
    assert isinstance(error, UserError)
    assert "no contestant is of model 'pks4', so 'Blur' has no place" in str(error)


@pytest.mark.parametrize("command", ["plan", "run"])
def test_what_breaks_the_contract_stops_before_anything_runs(command, blur, suite, tmp_path):
    blur.write_text(blur.read_text().replace("return x +", "return x.double() +"))
    out = ["--out", tmp_path / "runs"] if command == "run" else []
    error = invoke(command, suite, "--module", f"{blur}:Blur", *out).exception
    assert isinstance(error, UserError)
    assert "blur.py: Blur" in str(error)
    assert not (tmp_path / "runs").exists()


def test_the_plan_notes_what_is_not_the_identity_at_the_start(blur, suite):
    blur.write_text(blur.read_text().replace("torch.zeros", "torch.ones"))
    done = invoke("plan", suite, "--module", f"{blur}:Blur")
    assert "blur.py: Blur is not the identity at the start" in done.stderr
    assert done.stderr.count("note:") == 1


@pytest.mark.parametrize("change", [True, False])
def test_resume_refuses_a_module_that_has_changed(change, blur, suite, tmp_path):
    name = modules.add(f"{blur}:Blur").name
    text = with_contestants(read_suite(suite)[1], [], [name])
    session = run.start(parse_suite(text, "test"), text, tmp_path / "runs")
    assert list(session.header.inputs.hashes) == ["--module blur.py:Blur"]
    assert 'beside = "pks4"' in session.header.suite_text
    if change:
        blur.write_text(blur.read_text() + "\n")
        with pytest.raises(UserError, match=r"the file of --module blur.py:Blur is not as it was"):
            run.resume(parse_suite(text, "test"), text, tmp_path / "runs")
    else:
        resumed = run.resume(parse_suite(text, "test"), text, tmp_path / "runs")
        assert resumed.header.cells == plan(parse_suite(text, "test"))


@pytest.mark.slow
def test_the_module_of_the_docs_is_measured_with_its_costs_and_its_accuracy(blur, suite, tmp_path):
    both = ("--module", f"{blur}:Blur", "--module", f"{blur}:Counted")
    text = suite.read_text()
    suite.write_text(text.replace('name = "cost"', 'name = "cost"\ncontestants = ["ours"]'))
    done = invoke("run", suite, *both, "--out", tmp_path / "runs", "--no-report", "--jobs", "1")
    assert done.exit_code == 0, done.output
    (path,) = (tmp_path / "runs").glob("*.jsonl")
    found = {(r.label, r.metric): r for r in run_file.read(path).records}
    trained = found["Blur", "params_trainable"]
    assert trained.value == 3 * 24 + 24 + 24 + (24 + 1) * 5  # filter, gate, head
    assert trained.detail["module"]["class"] == "Blur"
    assert trained.detail["module"]["identity_at_start"] is True
    forward = {name: found[name, "macs_forward"] for name in ("Blur", "Counted", "ours")}
    assert forward["Blur"].value == forward["Counted"].value
    assert forward["Blur"].detail["by_stage"] == {}
    assert forward["Counted"].detail["by_stage"]["temporal"] == (2 + 2) * 8 * 8 * 24 * 3
    assert forward["Blur"].evidence["agreed"] == ["torch on meta", "fvcore at 2 frames"]
    assert "closed form" in forward["Counted"].evidence["agreed"]
    assert found["Blur", "saved_bytes"].value < found["ours", "saved_bytes"].value
    assert 0 <= found["Blur", "top1"].value <= 1
    for fact in ("image_digest", "learning_rate"):
        assert found["Blur", "top1"].evidence[fact] == found["Counted", "top1"].evidence[fact]
    assert found["Blur", "top1"].evidence["learning_rate"] == 0.02
