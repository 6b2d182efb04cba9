"""The image weights that a contestant starts from: a package, a local file, or clear refusals."""

import pytest
import torch
from torch import nn

from baselines import frame_mean, video_mamba
from pks4.bench.contestants import catalogue
from pks4.bench.measure import accuracy
from pks4.bench.measure.parts import image_models
from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.plan.plan import plan
from pks4.bench.plan.suite import read_suite
from pks4.bench.plan.user_inputs import NO_INPUTS, UserInputs, inputs_of_old_run
from pks4.errors import UserError
from pks4.train.engine import pixels
from tests.factories.models import LITE0, with_weights

SIZES = {"width": 24, "depth": 1, "heads": 3, "patch_size": 8, "image_size": 64}
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
LEARN = """
name = "learn"
title = "Learn"

[[contestants]]
label = "ours"
model = "pks4"
options = {{ {options} }}

[[grids]]
name = "learn"
scale = "tiny"
frames = [2]
task = "temporal"
measures = ["accuracy"]

[grids.settings.accuracy]
image_weights = "{weights}"
epochs = 1
batch_size = 18
clip_frames = 8
clips = {{ train = 18, val = 18, test = 18 }}
"""
VIT = "width = 24, depth = 1, heads = 3, state = 2, radius = 1"


def inputs(suite_file, weights, options=VIT, given=NO_INPUTS):
    """The inputs of one contestant with these image weights."""
    text = LEARN.format(weights=weights, options=options)
    (cell,) = plan(read_suite(suite_file("learn", text=text))[0], given)
    return MeasureInput(cell, cell.settings["accuracy"])


def expected(net, images):
    """What a net makes of uint8 images as it was trained to see them."""
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (MEAN, STD))
    return net.eval()((images / 255 - mean) / std)


def images():
    return torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0))


@pytest.mark.slow
@with_weights
def test_a_training_starts_from_the_weights_of_the_package(suite_file):
    one = inputs(suite_file, "imagenet_lite0", f'backbone = "{LITE0}", state = 2, radius = 1')
    found = {r.metric: r for r in accuracy.measure(one)}
    assert found["training_seconds"].detail["steps"] == 1
    assert found["top1"].evidence["image_weights"] == "imagenet_lite0"
    assert found["training_macs"].detail["image_model"]["weights"] == "imagenet_lite0"


@pytest.mark.slow
def test_a_vit_of_a_file_sees_the_pixels_that_it_was_trained_on(suite_file, tmp_path):
    torch.manual_seed(1)
    net = frame_mean.build(frames=1, num_classes=3, **SIZES).backbone.net
    torch.save({"model": {**net.state_dict(), "head.weight": torch.ones(2)}}, tmp_path / "vit.pth")
    one = inputs(suite_file, tmp_path / "vit.pth")
    one.settings.update(image_mean=MEAN, image_std=STD)
    model = image_models.image_model(one, image_models.image_twin("pks4"))
    loaded = frame_mean.build(frames=1, num_classes=5, **SIZES)
    loaded.load_image_weights(model.state)
    with torch.no_grad():
        shown = expected(net, images())
        assert torch.allclose(loaded.backbone.net.eval()(pixels(images())), shown, atol=1e-5)
    assert len(model.facts["digest"]) == 64
    contestant = one.build()
    contestant.load_image_weights(model.state)


@pytest.mark.slow
def test_a_video_mamba_takes_its_image_model_of_a_file(suite_file, tmp_path):
    sizes = catalogue.models()["video_mamba"].facts["SCALES"]["tiny"] | {"width": 24, "depth": 2}
    torch.manual_seed(1)
    state = video_mamba.build(frames=1, num_classes=3, **sizes).state_dict()
    state.pop("temporal_pos_embedding")
    state["patch_embed.proj.weight"] = state["patch_embed.proj.weight"][:, :, 0]
    torch.save(state, tmp_path / "mamba.pth")
    text = LEARN.format(weights=tmp_path / "mamba.pth", options="width = 24, depth = 2")
    path = suite_file("learn", text=text.replace('"pks4"', '"video_mamba"'))
    (cell,) = plan(read_suite(path)[0])
    one = MeasureInput(cell, cell.settings["accuracy"])
    model = image_models.image_model(one, image_models.image_twin("video_mamba"))
    video_mamba.build(frames=4, num_classes=9, **sizes).load_image_weights(model.state)
    kernel = model.state["patch_embed.proj.weight"].flatten()
    assert torch.equal(kernel, state["patch_embed.proj.weight"].flatten() * 0.5)  # std .25 of .5


def test_a_shift_that_cannot_be_exact_is_refused():
    padded = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1))
    with pytest.raises(UserError, match="use weights trained with mean"):
        image_models.expect_pixels(padded, MEAN, STD)
    image_models.expect_pixels(padded, [0.5] * 3, STD)
    with pytest.raises(UserError, match="three numbers each"):
        image_models.expect_pixels(padded, [0.5], [1.0])


def test_a_name_that_is_nothing_and_a_file_that_does_not_fit_are_told(suite_file, tmp_path):
    twin = image_models.image_twin("pks4")
    with pytest.raises(UserError, match="nor a file here"):
        image_models.image_model(inputs(suite_file, "imagenet"), twin)
    torch.save({"weight": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="nothing was loaded"):
        image_models.image_model(inputs(suite_file, tmp_path / "other.pth"), twin)


def test_a_suite_may_ask_for_the_file(suite_file, tmp_path):
    with pytest.raises(UserError, match="add --weights frame_mean=FILE"):
        inputs(suite_file, "given")
    suite, _ = read_suite(suite_file("learn", text=LEARN.format(weights="given", options=VIT)))
    file = tmp_path / "vit.pth"
    file.touch()
    given = UserInputs.parse(suite, None, [f"frame_mean={file}"])
    assert inputs(suite_file, "given", given=given).settings["image_weights"] == str(file)
    assert inputs_of_old_run(plan(suite, inputs=given)) == given
    for wrong, told in [
        (str(file), "must be TWIN=FILE"),
        (f"frame_men={file}", "did you mean 'frame_mean'"),
        ("frame_mean=none.pth", "there is no file"),
    ]:
        with pytest.raises(UserError, match=told):
            UserInputs.parse(suite, None, [wrong])
