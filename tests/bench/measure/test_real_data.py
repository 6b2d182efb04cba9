"""A user's indexed data set through suite, training, scoring and record, bad clips included."""

import json

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from pks4.bench.measure import accuracy
from pks4.bench.measure.parts import data_sources
from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.plan.plan import plan
from pks4.bench.plan.suite import read_suite
from pks4.bench.plan.user_inputs import UserInputs, inputs_of_old_run
from pks4.bench.records import run_file
from pks4.bench.run import run
from pks4.cli import app
from pks4.data.errors import BadClipsError, DataError
from pks4.data.index.parts.build import build
from pks4.data.sampling import Sampling, mean_over_views
from pks4.data.video_dataset import Videos
from pks4.errors import UserError
from pks4.train.engine import Options, fit, pixels
from pks4.train.predict import predict
from pks4.train.recipe import Recipe
from tests.factories.index_trees import TREES
from tests.factories.made_index import CLASSES, FRAMES, SIDED, made_index
from tests.tools.commands import silent

LEARN = """
name = "real"
title = "Real"

[[contestants]]
label = "ours"
model = "pks4"
options = { width = 24, depth = 1, heads = 3, state = 2, radius = 1, image_size = 32 }

[[grids]]
name = "learn"
scale = "tiny"
frames = [4]
data_set = "ssv2"
measures = ["accuracy"]

[grids.settings.accuracy]
epochs = 2
image_epochs = 1
images = 20
split = "val"
flip = true
curve = true
workers = 1
eval_clips = 2
eval_crops = 3
max_bad = 0.2
"""
SAMPLING = Sampling(rule="segments", frames=4, size=16, short_side=(16, 24))


def quiet(done, total, text):
    """A progress callback that says nothing."""


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return made_index(tmp_path_factory.mktemp("ssv2"))


@pytest.fixture
def entries(index):
    """The clips of the train split, of which two are gone."""
    entries = index.entries("train")
    for k in (3, 7):
        entries[k] = entries[k].model_copy(update={"path": entries[k].path.with_name(f"no{k}")})
    return entries


@pytest.fixture
def suite(suite_file):
    return read_suite(suite_file("real", text=LEARN))


class Colours(nn.Module):
    """Clips (b, t, 3, h, w) by the means of their colours."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, len(CLASSES))

    def forward(self, video):
        return self.layer(video.mean((1, 3, 4)))


def test_a_suite_asks_for_its_data_set_and_takes_no_other(suite, suite_file, index):
    with pytest.raises(UserError, match=r"'learn' trains on ssv2: add --data FOLDER"):
        plan(suite[0])
    (cell,) = plan(suite[0], inputs=UserInputs(data=index.root))
    assert (cell.data, cell.task) == (str(index.root), "ssv2")
    other, _ = read_suite(suite_file("real", text=LEARN.replace('"ssv2"', '"coin"')))
    with pytest.raises(UserError, match="is an index of ssv2"):
        plan(other, inputs=UserInputs(data=index.root))
    with pytest.raises(DataError, match="no finished index here"):
        plan(suite[0], inputs=UserInputs(data=index.videos))


def test_folders_of_pictures_are_read_and_their_reader_is_named(suite_file, tmp_path):
    TREES["jester"](tmp_path)
    index = build("jester", tmp_path / "a", tmp_path / "v", tmp_path / "out")
    text = LEARN.replace('"ssv2"', '"jester"').replace("eval_crops = 3", 'reader = "decord"')
    (cell,) = plan(read_suite(suite_file("real", text=text))[0], inputs=UserInputs(data=index.root))
    data = data_sources.data_of(cell)
    assert data.evidence()["reader"].startswith("images Pillow ")
    video, label, _ = data.source("train", training=True).at(0, 1)
    assert (video.shape, label) == ((4, 3, 32, 32), 1)


def test_data_that_no_grid_asks_for_is_refused(suite_file, index):
    plain, _ = read_suite(suite_file())
    with pytest.raises(UserError, match="leave --data out"):
        UserInputs.parse(plain, index.root, [])


@pytest.fixture
def gap(index):
    """A clip of each split is gone while a test runs."""
    lost = [index.entries("train")[6].path, index.entries("val")[3].path]
    content = [path.read_bytes() for path in lost]
    for path in lost:
        path.write_bytes(b"")
    yield
    for path, whole in zip(lost, content, strict=True):
        path.write_bytes(whole)


@pytest.mark.slow
@pytest.mark.usefixtures("one_fork_server")
def test_a_run_trains_and_scores_and_names_sampling_and_bad_clips(suite, index, tmp_path, gap):
    session = run.start(*suite, tmp_path, inputs=UserInputs(data=index.root))
    run.execute(session, 1, silent)
    found = {r.metric: r for r in run_file.read(session.path).records}
    top1 = found["top1"]
    assert top1.task == "ssv2"
    assert top1.evidence["sampling"]["views"] == 6
    assert top1.evidence["sampling"]["short_side"] == [37, 46]
    assert top1.evidence["classes"] == "5 of 174"
    assert (top1.detail["clips"], top1.detail["bad"]) == (9, 1)
    assert top1.detail["bad_named"] == ["v/v3.webm [open]"]
    assert top1.detail["label"] == [0, 1, 2, 4, 0, 1, 2, 3, 4]
    waiting = found["data_wait_share"].detail
    assert (waiting["bad_by_epoch"], waiting["bad_named"]) == ([1, 1], ["v/t6.webm [open]"])
    assert found["training_macs"].detail["clips"] == 2 * 19
    assert not inputs_of_old_run(session.header.cells).weights
    named = UserInputs(data=index.root).with_hashes()
    assert list(named.hashes) == ["--data", "--data, its train.csv", "--data, its val.csv"]
    assert run_file.read(session.path).header.inputs == named
    resumes_only_with_the_same_inputs(suite, index, tmp_path)
    forget_inputs(session.path)
    resumes_only_with_the_same_inputs(suite, index, tmp_path)


def resumes_only_with_the_same_inputs(suite, index, folder):
    assert run.resume(*suite, folder).cells() == []
    again = UserInputs(data=index.root, device="cpu")
    assert run.resume(*suite, folder, again).cells() == []
    with pytest.raises(UserError, match="begun with another --device, --data or --weights"):
        run.resume(*suite, folder, UserInputs(device="cuda"))


def forget_inputs(path):
    """Make a run one from before headers kept the user's inputs."""
    first, *records = path.read_text().splitlines(keepends=True)
    header = json.loads(first)
    del header["inputs"]
    path.write_text("".join([json.dumps(header) + "\n", *records]))
    assert run_file.read(path).header.inputs is None


@pytest.mark.slow
def test_above_max_bad_the_cell_fails_with_the_clips(suite, index, gap):
    (cell,) = plan(suite[0], inputs=UserInputs(data=index.root))
    settings = {**cell.settings["accuracy"], "max_bad": 0.01, "curve": False}
    cell = cell.model_copy(update={"settings": {"accuracy": settings}})
    with pytest.raises(BadClipsError, match=r"1 of 20 clips cannot be used.*t6\.webm"):
        list(accuracy.measure(MeasureInput(cell, settings)))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_bad_clips_are_left_out_and_the_mean_is_over_the_others(entries, workers):
    videos = Videos(entries, SAMPLING, training=True)
    recipe = Recipe(learning_rate=0.0001, epochs=2, batch_size=20, workers=workers)
    told = fit(Colours(), videos, recipe, quiet, Options(max_bad=0.1))
    assert told.bad == [2, 2]
    assert told.bad_named == ["v/no3 [missing]", "v/no7 [missing]"]
    assert told.epoch_clips == [18, 18]
    good = [videos.at(0, k) for k in range(20) if k not in (3, 7)]
    shown = torch.stack([video for video, _, _ in good])
    label = torch.tensor([label for _, label, _ in good])
    expected = nn.functional.cross_entropy(Colours()(pixels(shown)), label).item()
    assert told.losses[0] == pytest.approx(expected, abs=1e-5)


def test_a_batch_of_bad_clips_alone_is_no_step_of_the_optimiser(entries):
    videos = Videos(entries, SAMPLING, training=True)
    one = Recipe(learning_rate=0.01, epochs=1, batch_size=1)
    history = fit(Colours(), videos, one, quiet, Options(max_bad=0.1))
    assert (history.steps, history.clips) == (20, 18)
    lost = Videos([entries[3]], SAMPLING, training=True)
    with pytest.raises(BadClipsError, match="no clip of epoch 1"):
        fit(Colours(), lost, one, quiet, Options(max_bad=1.0))


def test_training_stops_above_max_bad(entries):
    videos = Videos(entries, SAMPLING, training=True)
    recipe = Recipe(learning_rate=0.01, epochs=1, batch_size=4)
    with pytest.raises(BadClipsError, match="2 of 20 clips"):
        fit(Colours(), videos, recipe, quiet, Options(max_bad=0.05))


@pytest.mark.slow
def test_persistent_workers_draw_anew_in_each_epoch(entries):
    videos = Videos(entries, SAMPLING, training=True, seed=1)
    losses = [
        fit(Colours(), videos, Recipe(learning_rate=0.01, epochs=3, batch_size=4, workers=n),
            quiet, Options(max_bad=0.1)).losses
        for n in (0, 2)
    ]  # fmt: skip
    assert losses[0] == losses[1]
    assert not torch.equal(videos.at(0, 0)[0], videos.at(1, 0)[0])


def test_scores_are_the_mean_over_views_of_the_clips_that_could_be_read(entries):
    several = SAMPLING.model_copy(update={"clips": 2, "crops": 3})
    videos = Videos(entries, several, training=False)
    found = predict(Colours(), videos, batch_size=4, max_bad=0.1)
    assert found.index.tolist() == [k for k in range(20) if k not in (3, 7)]
    assert [item.index for item in found.bad] == [3, 7]
    views, label, _ = videos.at(0, 4)
    with torch.no_grad():
        expected = mean_over_views(Colours()(pixels(views))[None])[0]
    assert torch.allclose(found.scores[3], expected, atol=1e-6)
    assert found.label[3] == label
    with pytest.raises(BadClipsError, match="2 of 20"):
        predict(Colours(), videos, max_bad=0.01)


def test_only_clips_whose_class_allows_it_are_flipped(suite, index):
    (cell,) = plan(suite[0], inputs=UserInputs(data=index.root))
    data = data_sources.data_of(cell)
    source = data.source("train", training=True)
    source.sampling = source.sampling.model_copy(update={"flip": 1.0, "short_side": (48, 48)})
    plain = data.source("train", training=True)
    plain.sampling = source.sampling.model_copy(update={"flip": 0.0})
    for k in range(5):
        video, label, _ = source.at(0, k)
        straight = plain.at(0, k)[0]
        mirrored = CLASSES[label] != SIDED
        assert torch.equal(video, straight.flip(-1) if mirrored else straight)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"sampling": "dens"}, "settings of accuracy: rule"),
        ({"eval_crops": 2}, "settings of accuracy: crops"),
        ({"short_side": [16, 20]}, "short_side"),
        ({"short_side": [16]}, "short_side"),
    ],
)
def test_sampling_that_cannot_be_is_one_line(suite, index, wrong, told):
    (cell,) = plan(suite[0], inputs=UserInputs(data=index.root))
    settings = {**cell.settings["accuracy"], **wrong}
    data = data_sources.data_of(cell.model_copy(update={"settings": {"accuracy": settings}}))
    with pytest.raises(DataError, match=told) as caught:
        data.source("train")
    assert "\n" not in str(caught.value)


def test_the_command_plans_with_data(suite_file, index):
    path = suite_file("real", text=LEARN)
    asked = CliRunner().invoke(app, ["plan", str(path), "--data", str(index.root), "--json"])
    (cell,) = json.loads(asked.stdout)
    assert cell["data"] == str(index.root)
    assert cell["frames"] <= FRAMES
