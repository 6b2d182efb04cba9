"""Training: one recipe, repeatable to the bit; scores by hand; image models shared and cached."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pks4.bench.contestants import catalogue
from pks4.bench.measure import accuracy
from pks4.bench.measure.parts import image_models
from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.plan.plan import plan
from pks4.bench.plan.suite import read_suite
from pks4.data.errors import CacheError
from pks4.data.kinetic_digits.stills import stills
from pks4.data.kinetic_digits.tasks import class_names
from pks4.scan import api
from pks4.simulate.what_ran import Fallback
from pks4.train.batches import InMemory
from pks4.train.engine import Diverged, fit, pixels
from pks4.train.image_pretraining import Asked, _Pretraining, image_model
from pks4.train.predict import predict
from pks4.train.recipe import Recipe
from pks4.train.score import top1, within_pair
from tests.factories.models import sizes


def quiet(done, total, text):
    """A progress callback that says nothing."""


class Brightness(nn.Module):
    """Tells dark clips from bright ones."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(1, 2)

    def forward(self, video):
        return self.layer(video.flatten(1).mean(1, keepdim=True))


def clips():
    """Sixteen clips (16, 2, 3, 4, 4), dark ones with label 0 and bright ones with label 1."""
    label = torch.arange(16) % 2
    return (label[:, None, None, None, None] * 200 + torch.zeros(1, 2, 3, 4, 4)).byte(), label


def test_training_learns_and_repeats_to_the_bit():
    video, label = clips()
    recipe = Recipe(learning_rate=0.1, epochs=5, batch_size=4)
    models = [Brightness(), Brightness()]
    histories = [fit(m, InMemory(video, label), recipe, quiet) for m in models]
    assert histories[0].losses == histories[1].losses
    assert torch.equal(models[0].layer.weight, models[1].layer.weight)
    assert histories[0].losses[-1] < histories[0].losses[0] / 2
    assert (histories[0].steps, histories[0].clips) == (20, 80)
    told = predict(models[0], InMemory(video, label))
    assert top1(told.scores, told.label).value == 1


def test_another_seed_is_another_order():
    video, label = clips()
    losses = [
        fit(
            Brightness(), InMemory(video, label),
            Recipe(learning_rate=0.1, epochs=1, batch_size=4, seed=s), quiet,
        ).losses
        for s in (0, 1)
    ]  # fmt: skip
    assert losses[0] != losses[1]


def test_a_loss_that_is_no_number_is_told():
    class Broken(Brightness):
        def forward(self, video):
            return super().forward(video) * float("nan")

    with pytest.raises(Diverged, match="epoch 1"):
        fit(Broken(), InMemory(*clips()), Recipe(learning_rate=0.1, epochs=1), quiet)


def test_pixels_are_centred():
    assert pixels(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-2, 2]


def test_top1_and_its_interval():
    logits = torch.eye(4)[[0, 1, 2, 2]]
    score = top1(logits, torch.arange(4))
    assert (score.value, score.chance) == (0.75, 0.25)
    assert score.interval[0] < 0.75 < score.interval[1]


def test_within_pair_only_the_two_classes_of_the_pair_are_asked():
    names = class_names("temporal")
    label = torch.tensor([names.index(n) for n in ("left", "right", "accelerate", "osc1")])
    logits = torch.zeros(4, len(names))
    logits[:, names.index("osc1")] = 9  # the loudest, but not of any pair
    logits[0, names.index("left")] = 1
    logits[1, names.index("left")] = 1  # wrong
    logits[2, names.index("accelerate")] = 1
    whole = within_pair(logits, label)
    assert (whole.right, whole.clips, whole.chance) == (2, 3, 0.5)
    assert within_pair(logits, label, "motion").value == 0.5
    assert within_pair(logits, label, "order").value == 1.0
    assert whole.hit.tolist() == [True, False, True]
    assert whole.label.tolist() == label[:3].tolist()  # osc1 has no partner


def test_pairs_of_another_task_have_its_labels():
    label = torch.tensor([class_names("motion").index(n) for n in ("up", "down")])
    logits = torch.zeros(2, 8)
    logits[:, class_names("motion").index("up")] = 1
    assert within_pair(logits, label, task="motion").hit.tolist() == [True, False]
    assert within_pair(logits, label, "order", "motion").clips == 0


def test_stills_are_balanced_repeatable_and_know_where_the_digit_is():
    first, again = stills("train", 20, size=32), stills("train", 20, size=32)
    assert torch.equal(first.image, again.image)
    assert first.digit.tolist() == list(range(10)) * 2
    assert first.image.shape == (20, 3, 32, 32)
    bright = first.image.float().mean(1)[first.opacity > 0.9]
    assert bright.mean() > 200
    assert not torch.equal(first.image, stills("val", 20, size=32).image)


OPTIONS = {"width": 12, "depth": 1, "heads": 2, "patch_size": 8, "image_size": 32}
ASKED = Asked(
    model="frame_mean", options=OPTIONS, images=16, epochs=1, learning_rate=1e-3, batch_size=8
)


def counted_build(built):
    """Builds the image twin of ASKED and notes it in `built`."""

    def build():
        module = catalogue.models()["frame_mean"].load()
        built.append(module.build(frames=1, num_classes=2, **OPTIONS))
        return built[-1]

    return build


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """An image model, and the cache that holds it."""
    cache = tmp_path_factory.mktemp("first")
    return image_model(ASKED, counted_build([]), cache, quiet), cache


@pytest.mark.parametrize("content", [b"", b"not a model", None], ids=["empty", "text", "cut"])
def test_a_damaged_image_model_is_said_and_made_again(tmp_path, first, content):
    (first, cache), built = first, []
    shutil.copytree(cache, tmp_path, dirs_exist_ok=True)
    (path,) = (tmp_path / "image-models").glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with pytest.warns(UserWarning, match="is damaged .*; the image model is trained again"):
        again = image_model(ASKED, counted_build(built), tmp_path, quiet)
    assert len(built) == 1
    for name, tensor in first.state.items():
        assert torch.equal(tensor, again.state[name])
    assert not list(path.parent.glob(".*.part"))


def test_an_image_model_that_cannot_be_saved_names_the_remedy(tmp_path, monkeypatch):
    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(CacheError, match="No space left on device; free some space"):
        image_model(ASKED, counted_build([]), tmp_path, quiet)
    assert not list((tmp_path / "image-models").glob("*.safetensors"))


def test_an_image_model_is_trained_once_and_then_taken_from_the_cache(first):
    (first, cache), built = first, []
    build = counted_build(built)
    second = image_model(ASKED, build, cache, quiet)
    assert built == []
    assert first.facts == second.facts
    for name, tensor in first.state.items():
        assert torch.equal(tensor, second.state[name])
    other = image_model(replace(ASKED, images=24), build, cache, quiet)
    assert other.facts["digest"] != first.facts["digest"]


def test_an_image_model_states_its_own_accuracy(first):
    facts = first[0].facts
    assert facts["val_images"] == 16
    assert 0 <= facts["val_top1"] <= 1
    assert 0 <= facts["place_top1"] <= 1
    assert facts["val_top1_by_epoch"] == [facts["val_top1"]]
    assert facts["weights"] == "stills"


def test_an_interrupted_image_model_goes_on_after_its_last_epoch(tmp_path):
    asked = replace(ASKED, epochs=2)
    whole = image_model(asked, counted_build([]), tmp_path / "whole", quiet)

    def interrupt(done, total, text):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        image_model(asked, counted_build([]), tmp_path, interrupt)
    told = []
    resumed = image_model(
        asked, counted_build([]), tmp_path, lambda done, total, text: told.append(done)
    )
    assert told == [0, 2]  # rendering, then the second epoch
    assert resumed.facts["digest"] == whole.facts["digest"]
    assert not list((tmp_path / "image-models").glob("*.training"))


def test_a_shipped_image_model_comes_first_and_is_checked(tmp_path, first, monkeypatch):
    made, cache = first
    shutil.copytree(cache, tmp_path / "made")
    monkeypatch.setattr("pks4.train.image_pretraining.SHIPPED", tmp_path / "made/image-models")
    built = []
    shipped = image_model(ASKED, counted_build(built), tmp_path / "cache", quiet)
    assert not built
    assert shipped.facts == {**made.facts, "weights": "stills, shipped"}
    path = tmp_path / "made/image-models" / ASKED.file
    changed = {name: tensor + 1 for name, tensor in made.state.items()}
    save_file(changed, path, {"facts": json.dumps(made.facts)})
    with pytest.raises(ValueError, match="its weights are not those that it states"):
        image_model(ASKED, counted_build(built), tmp_path / "cache", quiet)


ACCURACY = """
[[grids]]
name = "learn"
scale = "tiny"
frames = [4]
task = "temporal"
measures = ["accuracy"]

[grids.settings.accuracy]
epochs = 1
image_epochs = 1
images = 20
clip_frames = 8
clips = { train = 18, val = 18, test = 36 }
"""


@pytest.mark.slow
def test_accuracy_end_to_end_names_all_that_its_number_depends_on(suite_file):
    cell = plan(read_suite(suite_file(more=ACCURACY))[0])[-1]
    readings = {
        r.metric: r for r in accuracy.measure(MeasureInput(cell, cell.settings["accuracy"]))
    }
    assert set(readings) == {
        "top1", "top5", "within_pair", "within_pair_motion", "within_pair_order", "training_macs",
        "training_seconds", "data_wait_share", "final_train_loss",
    }  # fmt: skip
    top = readings["top1"]
    assert len(top.detail["predicted"]) == 36
    for metric in ("top5", "within_pair"):
        kept = readings[metric]
        assert sum(kept.detail["right"]) / kept.detail["clips"] == kept.value
        assert len(kept.detail["label"]) == len(kept.detail["right"]) == kept.detail["clips"]
    assert top.evidence["reader"].startswith("pyav ")
    assert {"seed", "split", "data", "learning_rate", "kernel"} <= set(top.evidence)
    macs = readings["training_macs"]
    assert macs.value == macs.detail["macs_per_clip"] * 18
    again = {r.metric: r for r in accuracy.measure(MeasureInput(cell, cell.settings["accuracy"]))}
    assert again["top1"].detail["predicted"] == top.detail["predicted"]
    assert again["final_train_loss"].value == readings["final_train_loss"].value


@pytest.mark.slow
def test_a_training_with_another_scan_than_asked_for_does_not_begin(suite_file, monkeypatch):
    cell = plan(read_suite(suite_file(more=ACCURACY))[0])[-1]
    planted = cell.model_copy(update={"options": {**cell.options, "scan_backend": "numba"}})
    monkeypatch.setitem(api.OPERATORS, "numba", api.OPERATORS["recompute"])
    with pytest.raises(Fallback, match="asked for scan backend numba, but recompute ran"):
        list(accuracy.measure(MeasureInput(planted, cell.settings["accuracy"])))


@pytest.mark.parametrize("model", ["frame_mean", "tsm", "tsm_vit"])
def test_how_a_contestant_runs_does_not_ask_for_another_image_model(suite_file, monkeypatch, model):
    cell, keys = plan(read_suite(suite_file(more=ACCURACY))[0])[-1], []
    tiny = catalogue.models()[model].facts["SCALES"]["tiny"]
    monkeypatch.setattr(
        "pks4.train.image_pretraining.image_model", lambda asked, *_: keys.append(asked)
    )
    for ways in ({}, {"frozen": True, "attention": "eager", "dropout": 0.5}):
        one = cell.model_copy(update={"model": model, "options": tiny | ways})
        twin = image_models.image_twin(model)
        image_models.image_model(MeasureInput(one, cell.settings["accuracy"]), twin)
    assert keys[0] == keys[1]
    assert (keys[0].model, keys[0].options) == (twin.name, tiny)


@pytest.mark.contract
@pytest.mark.parametrize("size", [64, 112])
@pytest.mark.parametrize(
    "model", [m for m, entry in catalogue.models().items() if entry.facts["IMAGE_TWIN"]]
)
def test_every_contestant_starts_from_an_image_model_that_can_be_trained(
    suite_file, monkeypatch, model, size
):
    asked = []
    monkeypatch.setattr(
        "pks4.train.image_pretraining.image_model", lambda _, build, *more: asked.append(build)
    )
    options = {**sizes(model, {}), "image_size": size}
    cell = plan(read_suite(suite_file(more=ACCURACY))[0])[-1]
    one = cell.model_copy(update={"model": model, "options": options})
    image_models.image_model(
        MeasureInput(one, cell.settings["accuracy"]), image_models.image_twin(model)
    )
    pretraining = _Pretraining(asked[0](), size)
    digit, place = pretraining(pixels(stills("train", 2, size=size).image))
    assert digit.shape == (2, 10)
    assert place.shape == (2, pretraining.side**2, 11)
    contestant = catalogue.models()[model].load().build(frames=4, num_classes=3, **options)
    contestant.load_image_weights(pretraining.twin.state_dict())
