"""Suites and plans: what is written is what runs, and every mistake is named."""

import pytest

from pks4.bench.contestants import catalogue
from pks4.bench.plan.cell import split_seed
from pks4.bench.plan.plan import plan
from pks4.bench.plan.suite import parse_suite, read_suite
from pks4.bench.plan.user_inputs import UserInputs
from pks4.data.index_folder import Indexed
from pks4.data.kinetic_digits.tasks import TASKS
from pks4.errors import UserError


def planned(path):
    """The plan of the suite in a file."""
    return plan(read_suite(path)[0])


def test_a_plan_has_one_cell_per_contestant_and_frames(suite_file):
    cells = planned(suite_file())
    assert [c.id for c in cells] == ["cost/floor/t2", "cost/ours/t2"]
    assert cells[1].options["patch_size"] == 8  # of the scale
    assert cells[1].options["width"] == 24  # of the contestant, over the scale's
    assert cells[0].settings["macs"] == {
        "kernel": "flash_cpu",
        "check_frames": 2,
        "check_up_to": 8,
    }
    assert not cells[0].alone


@pytest.mark.parametrize("task", TASKS)
def test_a_grid_may_ask_for_any_embedded_task(suite_file, task):
    cells = planned(suite_file(more=f'task = "{task}"'))
    assert cells[0].task == task


def test_timing_cells_run_alone(suite_file):
    text = suite_file().read_text().replace('"saved_bytes"]', '"time"]')
    assert all(c.alone for c in planned(suite_file(text=text)))


def learning(suite_file, seeds="seeds = [0, 7]", more=""):
    """The small suite with a grid that trains."""
    text = suite_file().read_text().replace('"saved_bytes"]', '"accuracy"]\ntask = "temporal"')
    return suite_file(text=f"{text}{seeds}\n{more}\n")


def test_each_seed_is_a_cell_of_its_own_one_seed_after_the_other(suite_file):
    cells = planned(learning(suite_file))
    assert [c.id for c in cells] == [
        "cost/floor/t2/seed0", "cost/ours/t2/seed0", "cost/floor/t2/seed7", "cost/ours/t2/seed7"
    ]  # fmt: skip
    assert [c.settings["accuracy"]["seed"] for c in cells] == [0, 0, 7, 7]
    assert [split_seed(c.id) for c in cells[1:3]] == [("cost/ours/t2", 0), ("cost/floor/t2", 7)]


def test_without_seeds_ids_and_settings_stay_as_they_are(suite_file):
    for seeds in ("", "seeds = []"):
        cells = planned(learning(suite_file, seeds))
        assert [c.id for c in cells] == ["cost/floor/t2", "cost/ours/t2"]
        assert {c.settings["accuracy"]["seed"] for c in cells} == {0}
        assert split_seed(cells[0].id) == ("cost/floor/t2", None)


@pytest.mark.parametrize(
    ("seeds", "more", "said"),
    [
        ("seeds = [1, 1]", "", "named twice"),
        ("seeds = [-1]", "", "grid 'cost', seeds no. 1: must be 0 or more, got -1"),
        ("seed = [1]", "", "did you mean 'seeds'"),
        ("seeds = [1]", "[grids.settings.accuracy]\nseed = 2", "both name a seed; drop one"),
    ],
)
def test_a_mistake_in_seeds_is_one_line_that_names_it(suite_file, seeds, more, said):
    path = learning(suite_file, seeds, more)
    with pytest.raises(UserError, match=said) as error:
        planned(path)
    assert "\n" not in str(error.value)


def test_seeds_of_nothing_that_learns_are_refused(suite_file):
    with pytest.raises(UserError, match="seeds vary the accuracy alone"):
        planned(suite_file(more="seeds = [0, 1]"))


def test_a_recipe_with_a_seed_beside_the_grids_seeds_is_refused(suite_file):
    path = learning(suite_file)
    path.write_text(path.read_text().replace("[[grids]]", "recipe = { seed = 3 }\n[[grids]]"))
    with pytest.raises(UserError, match="the recipe of 'ours' both name a seed"):
        planned(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('title = "Test"', 'titel = "Test"', "did you mean 'title'"),
        ('model = "pks4"', 'modle = "pks4"', "did you mean 'model'"),
        ('model = "pks4"', 'model = "psk4"', "did you mean 'pks4'"),
        ('"saved_bytes"]', '"saved_byte"]', "did you mean 'saved_bytes'"),
        ("frames = [2]", "frames = [0]", "grid 'cost', frames no. 1: must be 1 or more, got 0"),
        ("frames = [2]", "frames = [2, 2]", "named twice"),
        ("frames = [2]", "frames = []", "frames"),
        ("state = 2", "sate = 2", "did you mean 'state'"),
        ('scale = "tiny"', 'scale = "tinny"', "did you mean 'tiny'"),
        ('["params", ', '["params", "params", ', "named twice"),
        ("[[grids]]", '[[grids]]\ncontestants = ["ours", "ours"]', "named twice"),
        ('"saved_bytes"]', '"accuracy"]', "needs a task"),
        ('model = "pks4"', 'model = "pks4"\nrecipe = { epoch = 1 }', "did you mean 'epochs'"),
        ('name = "small"', 'name = "smal"', "it must be the file's"),
        ('label = "ours"', 'label = "floor"', "used twice"),
        ('label = "ours"', 'label = "../ours"', "label"),
        ("num_classes = 5", 'num_classes = "5x"', "num_classes"),
        ("num_classes = 5", "num_clases = 5", "did you mean 'num_classes'"),
        ("[[grids]]", '[[grids]]\ncontestants = ["our"]', "did you mean 'ours'"),
        ('title = "Test"', "title = ", "not valid TOML"),
        ("num_classes = 5", 'num_classes = "5"', "'cost', num_classes: must be a whole number"),
        ("frames = [2]", "frames = [2, true]", "frames no. 2: must be a whole number, got True"),
        ("[[grids]]", "[[grids]]\nbatch = 2.0", "batch: must be a whole number, got 2.0"),
        ("[[grids]]", '[[grids]]\ntime_limit_seconds = "9"', "must be a number, got '9'"),
        ("[[grids]]", "[[grids]]\ntime_limit_seconds = inf", "must be a finite number"),
        ("[[grids]]", "[[grids]]\nsettings.macs = 3", "settings, macs: must be a table, got 3"),
        ('model = "pks4"', 'modle = "pks4"', "contestant 'ours': unknown key 'modle'"),
        ('label = "ours"', "", "contestant no. 2, label: is missing; add it"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(suite_file, old, new, said):
    path = suite_file()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=said) as error:
        planned(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('[grids.settings.macs]\nkernal = "math"', "did you mean 'kernel'"),
        ("[grids.settings.macs]\nkernel = 3", "must be like 'flash_cpu'"),
        ("[grids.settings.macs]\ncheck_frames = true", "must be like 2"),
        ("[grids.settings.mac]\nkernel = 3", "did you mean 'macs'"),
        ("[grids.settings.macs]\ncheck_frames = 0", "must be above 0"),
    ],
)
def test_a_mistake_in_a_measures_settings_is_named(suite_file, more, said):
    with pytest.raises(UserError, match=said):
        planned(suite_file(more=more))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.toml: cannot be read"):
        read_suite(tmp_path / "none.toml")


@pytest.mark.parametrize("name", sorted(catalogue.suites()))
def test_every_shipped_suite_plans(name, tmp_path):
    path = catalogue.suites()[name]
    suite, text = read_suite(path)
    assert suite.name == name
    assert plan(suite, asked_for(suite, tmp_path))
    assert parse_suite(text, "text") == suite


def asked_for(suite, folder):
    """What a suite leaves to its user: an empty index of its data set, files of weights."""
    names = {grid.data_set for grid in suite.grids} - {None}
    twins = {catalogue.models()[c.model].facts["IMAGE_TWIN"] for c in suite.contestants}
    for name in names:
        index = Indexed(
            root=folder, name=name, fold=1, videos=folder, classes=(), published_classes=0,
            no_flip=(), counts={}, bad={}, counted_by="packets", annotations_sha256="", reader={},
        )  # fmt: skip
        (folder / "index.json").write_text(index.text())
    return UserInputs(data=folder, weights={twin: folder / f"{twin}.pth" for twin in twins})


def test_a_long_task_needs_long_clips(suite_file):
    more = """
[[grids]]
name = "learn"
scale = "tiny"
frames = [8]
task = "long"
measures = ["accuracy"]
[grids.settings.accuracy]
clip_frames = {}
"""
    with pytest.raises(UserError, match="task 'long' needs clip_frames of 32 or more, got 31"):
        planned(suite_file(more=more.format(31)))
    assert planned(suite_file(more=more.format(32)))


@pytest.mark.parametrize("name", sorted(catalogue.models()))
def test_every_model_states_its_facts(name):
    entry = catalogue.models()[name]
    assert entry.facts["FAMILY"] in (
        "PKS4", "temporal attention", "adapters", "video Mamba", "recurrent", "motion", "probes",
        "2D floor",
    )  # fmt: skip
    assert set(entry.facts["SCALES"]) == {"paper", "tiny"}
    assert entry.facts["PAPER"].startswith("https://")
    assert entry.facts["IMAGE_TWIN"] in {None, *catalogue.models()}
    assert {"frames", "num_classes"} <= set(entry.options)


def test_a_new_baseline_is_one_file(tmp_path, monkeypatch):
    source = catalogue.models()["frame_mean"].path.read_text()
    for folder in ("baselines", "suites"):
        (tmp_path / folder).mkdir()
    (tmp_path / "baselines" / "mine.py").write_text(source)
    monkeypatch.setattr(catalogue, "root", lambda: tmp_path)
    assert set(catalogue.models()) == {"pks4", "mine"}
    assert catalogue.models()["mine"].load().build(frames=1, num_classes=2, width=24, depth=1,
                                                   heads=3).frames == 1  # fmt: skip


def test_data_folders_hold_no_python():
    root = catalogue.root()
    for folder in ("suites", "results", "reports"):
        assert not list((root / folder).rglob("*.py"))
