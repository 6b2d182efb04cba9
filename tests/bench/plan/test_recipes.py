"""Recipes by name, their search, and trainings that go on where a run was killed."""

import signal
import time
from dataclasses import MISSING
from functools import cache

import pytest
import torch
from typer.testing import CliRunner

from pks4 import cli
from pks4.bench.contestants import catalogue
from pks4.bench.measure.accuracy import SETTINGS
from pks4.bench.measure.parts.accuracy_readings import Costs, scores
from pks4.bench.plan import recipes
from pks4.bench.plan.plan import plan
from pks4.bench.plan.suite import parse_suite, read_suite
from pks4.bench.records import recipe_search, run_file
from pks4.bench.run import run
from pks4.data.kinetic_digits.make_dataset import make
from pks4.errors import UserError
from pks4.train.checkpoint import History
from pks4.train.predict import Predicted
from pks4.train.recipe import Recipe
from tests.factories.suites import only_last_grid
from tests.factories.trainings import learn, trainings
from tests.tools.commands import command, silent

RECIPE_KEYS = Recipe.__dataclass_fields__


@pytest.mark.parametrize("name", recipes.read(recipes.folder() / "published.toml"))
def test_every_published_recipe_is_one_and_names_its_source(name):
    table = recipes.read(recipes.folder() / "published.toml")[name]
    assert table["source"]
    whole = {k: v for k, v in SETTINGS.items() if k in RECIPE_KEYS} | recipes.named(
        f"published/{name}"
    )
    Recipe.of(whole)


def test_the_measure_has_every_setting_of_a_recipe_at_a_value_it_may_have():
    assert RECIPE_KEYS.keys() <= SETTINGS.keys()


def test_the_measures_defaults_are_the_recipes_but_for_two():
    stated = {name: field.default for name, field in RECIPE_KEYS.items()
              if field.default is not MISSING}  # fmt: skip
    plain = {name: list(v) if isinstance(v, tuple) else v for name, v in stated.items()}
    other = {name for name, value in plain.items() if SETTINGS[name] != value}
    assert other == {"batch_size", "warmup_epochs"}


def test_a_contestant_takes_a_recipe_by_name(suite_file):
    text = suite_file(more=learn()).read_text()
    text = text.replace('"floor"\nmodel', '"floor"\nrecipe = "published/timesformer"\nmodel', 1)
    cell = plan(read_suite(suite_file(text=text))[0])[-1]
    assert cell.settings["accuracy"]["learning_rate"] == 0.005
    assert cell.settings["accuracy"]["milestones"] == [11, 14]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("timesformer", "must be FILE/TABLE"),
        ("../x/y", "must be FILE/TABLE"),
        ("publishd/aim", "did you mean 'published'"),
        ("published/aims", "did you mean 'aim"),
    ],
)
def test_a_recipe_that_is_not_there_is_told(name, told):
    with pytest.raises(UserError, match=told):
        recipes.named(name)


@pytest.mark.parametrize(
    ("grid", "told"),
    [
        (learn(task=""), "add task = .temporal., or data = FOLDER"),
        (learn(task='task = "temporal"\ndata = "x"'), "drop one"),
        (learn().replace("epochs", "stride = 2\nepochs", 1), "stride is for indexed data"),
        (learn(search="search = { learning_rat = [1e-3] }"), "did you mean 'learning_rate'"),
        (learn(search="search = { learning_rate = [0.0] }"), "above 0"),
    ],
)
def test_a_grid_that_cannot_learn_is_told_before_it_runs(suite_file, grid, told):
    with pytest.raises(UserError, match=told):
        plan(read_suite(suite_file(more=grid))[0])


@pytest.mark.slow
@pytest.mark.usefixtures("one_fork_server")
def test_a_search_has_each_contestant_with_every_value_and_the_best_is_written(
    suite_file, tmp_path
):
    suite, text = read_suite(
        suite_file(more=learn(search="search = { learning_rate = [1e-3, 3e-3] }"))
    )
    only = suite.model_copy(update={"grids": suite.grids[1:]})
    assert [c.id for c in plan(only)] == ["learn/floor-0.001/t2", "learn/floor-0.003/t2"]
    session = run.start(only, text, tmp_path)
    with pytest.raises(UserError, match="has no top-1"):
        recipe_search.choose(run_file.read(session.path))
    run.execute(session, 1, silent)
    found = run_file.read(session.path)
    chosen = recipe_search.choose(found)
    measured = {r.evidence["learning_rate"]: r.value for r in found.records if r.metric == "top1"}
    assert measured[chosen["floor"]["recipe"]["learning_rate"]] == max(measured.values())
    path = tmp_path / "found.toml"
    recipe_search.write(path, recipe_search.as_toml(chosen, session.header.run))
    (table,) = recipes.read(path).values()
    assert table["evidence"] == session.header.run
    assert table["recipe"] == chosen["floor"]["recipe"]
    assert len(table["tried"]) == 2


SEARCH = "lr_search-20261129-031639-d48de8b"


@cache
def accepted_search():
    """Choices of the accepted run of lr_search: label -> what was chosen."""
    found = run_file.read(run_file.find_run(SEARCH, [catalogue.root() / "results" / "reference"]))
    return recipe_search.choose(found)


def test_a_choice_at_an_end_of_what_was_tried_is_told():
    found = accepted_search()
    assert found["pks4_top"]["at_end"] == ["learning_rate"]
    assert not found["pks4"]["at_end"]


def test_where_all_was_guessing_the_loss_decides():
    found = accepted_search()
    guessed = {label for label, one in found.items() if one["guessing"]}
    assert guessed == {"frame_mean_frozen", "timesformer_joint", "video_mamba"}
    # 0.01 has the best top-1, 0.078 of 360 clips in 18 classes; 0.001 has the lowest loss.
    assert found["video_mamba"]["recipe"] == {"learning_rate": 0.001}


def test_the_committed_recipes_are_what_the_accepted_search_chose():
    text = (recipes.folder() / "lr_search.toml").read_text()
    assert text == recipe_search.as_toml(accepted_search(), SEARCH)


def test_a_run_without_a_search_has_nothing_to_choose(suite_file, tmp_path):
    session = run.start(*read_suite(suite_file()), tmp_path)
    with pytest.raises(UserError, match="0 grids with a search"):
        recipe_search.choose(run_file.read(session.path))


def test_a_suite_without_a_search_is_told_before_anything_is_measured(monkeypatch):
    monkeypatch.setattr(run, "start", lambda *_: pytest.fail("it was measured"))
    refused = CliRunner().invoke(cli.app, ["search", "smoke"]).exception
    assert isinstance(refused, UserError)
    assert str(refused) == "suite smoke: there are 0 grids with a search; need one"


@pytest.mark.slow
@pytest.mark.usefixtures("one_fork_server")
def test_a_killed_run_goes_on_at_the_epoch_where_it_was(suite_file, tmp_path):
    suite, folder = suite_file(more=learn(epochs=12)), tmp_path / "runs"
    text = suite.read_text()
    suite.write_text(only_last_grid(text))
    process = command("run", suite, "--out", folder, "--no-report", "--jobs", 1)
    saved = "*.partial/*/accuracy/training.pt"
    while not list(folder.glob(saved)) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert list(folder.glob(saved)), "it ended before it could be killed"
    again = command("run", suite, "--out", folder, "--no-report", "--resume")
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    (path,) = folder.glob("*.jsonl")
    resumed = trainings(path)
    (at,) = resumed["top1"].evidence["resumed_at_epoch"]
    assert 1 <= at <= 12
    assert not list(folder.glob("*.partial"))
    whole = run.start(*read_suite(suite), tmp_path / "whole")
    run.execute(whole, 1, silent)
    other = trainings(whole.path)
    assert other["top1"].evidence["resumed_at_epoch"] == []
    losses = "final_train_loss"
    assert resumed[losses].detail == other[losses].detail
    assert resumed["top1"].detail["predicted"] == other["top1"].detail["predicted"]
    curve = resumed["val_top1_best"].detail
    assert len(curve["by_epoch"]) == 12
    assert curve["macs_by_epoch"][-1] == resumed["training_macs"].value
    assert curve["reached"] == ("macs_to_target" in resumed)


@pytest.mark.slow
@pytest.mark.usefixtures("one_fork_server")
def test_a_folder_is_trained_on_by_a_worker_and_knows_no_pairs(suite_file, tmp_path):
    dataset = make(
        "temporal", size=64, frames=8, counts={"train": 36, "val": 18, "test": 18}, cache=tmp_path
    )
    more = learn(task=f'data = "{dataset.root}"')
    more = more.replace("epochs = 1\n", "epochs = 1\nworkers = 1\n", 1)  # forked from the child
    suite, text = read_suite(suite_file(more=more))
    only = suite.model_copy(update={"grids": suite.grids[1:]})
    session = run.start(only, text, tmp_path / "runs")
    run.execute(session, 1, silent)
    found = trainings(session.path)
    assert "within_pair" not in found
    assert found["top1"].evidence["decoded"] == "on use"
    assert found["top1"].evidence["workers"] == 1
    assert found["top1"].task == dataset.root.name
    assert set(found["top1"].detail["by_class"]) == set(dataset.classes)


def test_scores_of_task_long_name_the_bound_of_half_a_clip():
    names = [f"class{i}" for i in range(12)]
    told = Predicted(torch.eye(12), torch.arange(12), torch.arange(12), ())
    (top1, top5) = scores("long", names, told, {}, {"image_top1": 0.9})
    assert top1.detail["image_top1"] == 0.9
    assert top1.detail["half_clip_bound"] == pytest.approx(1 / 3)
    assert top1.detail["by_class"]["class3"] == [1, 1]
    assert (top5.metric, top5.detail["chance"]) == ("top5", 5 / 12)


def test_what_it_took_to_the_target_is_there_only_where_it_was_reached():
    history = History(
        losses=[2.0, 1.0], epoch_clips=[10, 10], seconds=[1.0, 2.0], wait_seconds=[0.0, 0.0],
        val_top1=[0.2, 0.6], steps=4,
    )  # fmt: skip
    costs = Costs(
        history=history, clip_macs=5, macs_computed=0, features_seconds=0, image={}, evidence={}
    )
    found = {r.metric: r.value for r in costs.curve(0.5)}
    assert found == {
        "val_top1_best": 0.6,
        "epochs_to_target": 2,
        "macs_to_target": 100,
        "seconds_to_target": 3.0,
    }
    (best,) = costs.curve(0.9)
    assert best.detail["reached"] is False


def test_a_suite_with_a_wrong_kind_of_search_is_told():
    with pytest.raises(UserError, match="search"):
        parse_suite('name = "x"\ntitle = "x"\n[[contestants]]\nlabel = "a"\nmodel = "pks4"\n'
                    '[[grids]]\nname = "g"\nscale = "tiny"\nframes = [2]\nmeasures = ["params"]\n'
                    "search = { learning_rate = 1 }\n", "x.toml")  # fmt: skip
