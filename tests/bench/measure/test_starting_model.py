"""What a training starts from: floors that void an accuracy before it, and the measure `sees`."""

import pytest
import torch

from baselines import frame_mean
from pks4.bench.contestants import catalogue
from pks4.bench.measure import accuracy, sees
from pks4.bench.measure.parts import starting_model
from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.measure.parts.starting_model import Void, check_image, check_sees
from pks4.bench.plan.plan import plan
from pks4.bench.plan.suite import parse_suite
from pks4.errors import UserError, detail_of
from pks4.train.frame_sensitivity import FrameSensitivity

SUITE = """
name = "starts"
title = "Starts"

[[contestants]]
label = "floor"
model = "frame_mean"
options = {{ width = 24, depth = 1, heads = 3 }}

[[grids]]
name = "learn"
scale = "tiny"
frames = [4]
task = "temporal"
measures = {measures}

[grids.settings.accuracy]
image_weights = "{weights}"
epochs = 1
batch_size = 18
clip_frames = 8
clips = {{ train = 18, val = 18, test = 18 }}
"""


def planned(weights="stills", measures='["accuracy"]', more=""):
    return plan(parse_suite(SUITE.format(weights=weights, measures=measures) + more, "starts"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file with the weights of the floor's image model, which say nothing of their accuracy."""
    sizes = {"width": 24, "depth": 1, "heads": 3, "patch_size": 8, "image_size": 64}
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "vit.pth"
    torch.save(frame_mean.build(frames=1, num_classes=3, **sizes).backbone.net.state_dict(), path)
    return path


def inputs(weights, measure="accuracy", **changes):
    (cell,) = planned(weights, f'["{measure}"]')
    cell.settings["accuracy"].update(changes)
    return MeasureInput(cell, cell.settings[measure])


def blind(monkeypatch):
    """Plant a contestant that ignores the second half of its clips; a training of it must fail."""
    build = starting_model.starting_model

    def planted(*args):
        model = build(*args)
        forward = model.forward
        model.forward = lambda video: forward(video[:, :2].repeat(1, 2, 1, 1, 1))
        return model

    monkeypatch.setattr(accuracy, "starting_model", planted)


def no_training(*_):
    raise AssertionError("the training began")


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (
            {"val_top1": 0.225},
            "reaches 22.5 % of digits on held-out stills, below image_floor 95 %",
        ),
        ({"weights": "vit.pth"}, r"vit\.pth has no stated accuracy; .* image_floor 95 %"),
    ],
)
def test_an_image_model_below_the_floor_or_of_unknown_accuracy_is_void(facts, said):
    with pytest.raises(Void, match=said) as error:
        check_image(facts, 0.95)
    assert detail_of(error.value)["void"] == "image_floor"
    check_image(facts, 0.0)  # no floor is stated
    check_image({"val_top1": 0.95}, 0.95)


def test_the_reason_names_the_frame_and_the_record_keeps_the_profile():
    with pytest.raises(Void) as error:
        check_sees(FrameSensitivity([*[1.0] * 7, 2.6e-10]), 0.01)
    assert str(error.value) == (
        "cannot see the clip: frame 8 of 8 has 2.6e-10 of the largest frame's sensitivity, below "
        "sees_floor 0.01"
    )
    assert error.value.detail["sees_by_frame"][-1] == 2.6e-10
    check_sees(FrameSensitivity([1.0, 0.01]), 0.01)


@pytest.mark.slow
def test_a_contestant_that_ignores_its_last_frames_is_void_before_its_training(
    weights, monkeypatch
):
    blind(monkeypatch)
    monkeypatch.setattr(accuracy, "_train", no_training)
    with pytest.raises(Void, match="frame 3 of 4 has 0 of the largest"):
        list(accuracy.measure(inputs(weights)))


@pytest.mark.slow
def test_without_the_floor_it_is_trained_and_its_record_has_no_profile(weights, monkeypatch):
    blind(monkeypatch)
    found = {r.metric: r for r in accuracy.measure(inputs(weights, sees_floor=0))}
    assert found["top1"].detail["sees_by_frame"] is None


@pytest.mark.slow
def test_a_run_from_before_there_were_floors_goes_on_with_their_defaults(weights):
    one = inputs(weights)
    for name in ("image_floor", "sees_floor"):
        del one.settings[name]
    top1 = next(r for r in accuracy.measure(one) if r.metric == "top1")
    assert top1.detail["image_top1"] is None
    assert top1.detail["sees_least"] == min(top1.detail["sees_by_frame"]) > 0.5


@pytest.mark.slow
def test_a_floor_voids_an_image_model_of_unknown_accuracy_before_the_training(weights, monkeypatch):
    monkeypatch.setattr(accuracy, "_train", no_training)
    with pytest.raises(Void, match="has no stated accuracy"):
        list(accuracy.measure(inputs(weights, image_floor=0.95)))


@pytest.mark.slow
def test_sees_and_accuracy_see_the_same(weights):
    least, last = sees.measure(inputs(weights, "sees"))
    top1 = next(r for r in accuracy.measure(inputs(weights)) if r.metric == "top1")
    assert least.evidence["image_digest"] == top1.evidence["image_digest"]
    assert least.detail["by_frame"] == top1.detail["sees_by_frame"]
    assert (least.value, last.value) == (top1.detail["sees_least"], least.detail["by_frame"][-1])
    facts = {"device", "dtype", "data", "image_digest", "clips", "seed", "direction_seed"}
    assert facts <= set(least.evidence)


def test_the_measure_sees_as_accuracy_does():
    defaults = catalogue.measures()["sees"].facts["SETTINGS"]
    shared = {"clips": starting_model.CLIPS, "direction_seed": starting_model.DIRECTION_SEED}
    assert defaults == shared


def test_a_grid_of_sees_alone_has_the_settings_of_accuracy():
    cells = planned("vit.pth", '["sees"]')
    assert [(c.measures, list(c.settings)) for c in cells] == [(["sees"], ["sees", "accuracy"])]
    assert cells[0].settings["accuracy"]["image_weights"] == "vit.pth"


@pytest.mark.parametrize("line", ["image_floor = 95", "image_floor = -0.1"])
def test_a_floor_that_is_no_share_is_told(line):
    with pytest.raises(UserError, match="_floor is a share from 0 to 1"):
        planned(more=f"{line}\n")
