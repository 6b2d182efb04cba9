"""Features of a frozen part: computed once, equal to the bit, checked, bounded, shared."""

import copy
import errno
import json
import os

import pytest
import torch

from baselines import attention_on_top, attentive_probe, frame_mean, linear_probe, step_probe
from pks4.data.errors import CacheError
from pks4.errors import UserError
from pks4.method import video as pks4_video
from pks4.train import feature_files, features
from pks4.train.batches import InMemory
from pks4.train.engine import Options, fit, on_pixels, precision
from pks4.train.feature_files import FeatureFiles
from pks4.train.predict import predict
from pks4.train.recipe import Recipe
from pks4.weights.image_files import weights_digest

SIZES = {"width": 24, "depth": 2, "heads": 3, "patch_size": 8, "image_size": 16}
SHAPE = {"frames": 3, "num_classes": 4, "frozen": True}
PROBED = {"frames": 3, "num_classes": 4}
MODELS = {
    "PKS4 on top": lambda: pks4_video.build(**SHAPE, **SIZES),
    "PKS4 in the middle": lambda: pks4_video.build(insert_after=0, **SHAPE, **SIZES),
    "PKS4 in a CNN": lambda: pks4_video.build(
        backbone="test_resnet", insert_after=1, **SHAPE, **{**SIZES, "image_size": 32}
    ),
    "frame mean": lambda: frame_mean.build(**SHAPE, **SIZES),
    "attention on top": lambda: attention_on_top.build(
        temporal_depth=1, temporal_heads=3, **SHAPE, **SIZES
    ),
    "attentive probe": lambda: attentive_probe.build(
        probe_depth=2, probe_heads=3, positions="sincos", **PROBED, **SIZES
    ),
    "STEP probe": lambda: step_probe.build(probe_heads=3, **PROBED, **SIZES),
    "linear probe": lambda: linear_probe.build(batch_norm=True, **PROBED, **SIZES),
}


def quiet(*_):
    """A progress callback that says nothing."""


def model_of(name):
    """A contestant from a fixed seed."""
    torch.manual_seed(0)
    return MODELS[name]()


def clips(size=16, n=10):
    """Clips of noise (n, 3, 3, size, size); with batches of 4 the last one is smaller."""
    generator = torch.Generator().manual_seed(0)
    video = torch.randint(0, 256, (n, 3, 3, size, size), generator=generator, dtype=torch.uint8)
    return InMemory(video, torch.arange(n) % 4)


def stored(folder, part, source, key=None, limit=2**20):
    """The features of a source, from the files of a folder."""
    compute = lambda: features.of_source(part, source, "cpu", quiet)  # noqa: E731
    return FeatureFiles(folder, limit).get(key or {"part": 1}, len(source), compute)


def trained(model, recipe, source, forward, saved=None):
    """Losses, weights and predictions after a training."""
    history = fit(model, source, recipe, quiet, Options(forward=forward, saved=saved))
    with precision(recipe):
        scores = predict(model, source, 3, forward=forward).scores
    return history.losses, model.state_dict(), scores


def same(one, other):
    """Whether two trainings are equal to the bit."""
    return (
        one[0] == other[0]
        and all(torch.equal(x, other[1][name]) for name, x in one[1].items())
        and torch.equal(one[2], other[2])
    )


@pytest.mark.parametrize("precision_of", ["no", "bf16"])
@pytest.mark.parametrize("name", MODELS)
def test_three_epochs_with_features_read_are_those_with_features_computed_to_the_bit(
    tmp_path, name, precision_of
):
    recipe = Recipe(learning_rate=1e-2, epochs=3, batch_size=4, precision=precision_of)
    model = model_of(name)
    source = clips(*model.backbone.image_size[:1])
    with precision(recipe):
        read = stored(tmp_path, model.frozen_part, source)
    cached = trained(copy.deepcopy(model), recipe, read, features.on_features)
    assert same(cached, trained(copy.deepcopy(model), recipe, source, features.by_clip))
    assert len(set(cached[0])) == 3


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_features_and_what_comes_after_them_are_the_model(name):
    model = model_of(name).eval()
    video = clips(*model.backbone.image_size[:1]).video
    torch.testing.assert_close(features.by_clip(model, video), on_pixels(model, video))


@pytest.mark.parametrize("name", MODELS)
def test_features_do_not_depend_on_how_a_clip_lies_in_memory(name):
    part = model_of(name).frozen_part
    clip = clips(*part.image_size[:1]).video[0]
    decoded = clip.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # as a reader gives it
    assert decoded.stride() != clip.stride()
    assert torch.equal(features.of_clip(part, decoded), features.of_clip(part, clip))


def test_a_tuned_backbone_has_no_frozen_part():
    model = pks4_video.build(**{**SHAPE, "frozen": False}, **SIZES)
    assert features.frozen_part(model) is None
    assert features.frozen_part(torch.nn.Linear(1, 1)) is None


def test_a_training_on_features_resumes_to_the_same_bits(tmp_path):
    recipe = Recipe(learning_rate=1e-2, epochs=3, batch_size=4)
    model, saved = model_of("PKS4 in the middle"), tmp_path / "training.pt"
    read = stored(tmp_path, model.frozen_part, clips())
    whole = trained(copy.deepcopy(model), recipe, read, features.on_features)

    def cut(done, total, text):
        if done == 2:
            raise InterruptedError

    options = Options(forward=features.on_features, saved=saved)
    with pytest.raises(InterruptedError):
        fit(copy.deepcopy(model), read, recipe, cut, options)
    assert same(whole, trained(copy.deepcopy(model), recipe, read, features.on_features, saved))


def never():
    """What computes features that are there."""
    raise AssertionError


def test_what_was_computed_once_is_read_by_the_next(tmp_path):
    part = model_of("PKS4 on top").frozen_part
    first = stored(tmp_path, part, clips())
    again = FeatureFiles(tmp_path, 2**20).get({"part": 1}, 10, never)
    assert torch.equal(first.video, again.video)
    assert torch.equal(again.label, clips().label)
    assert again.video.dtype == torch.float32
    assert again.video.shape == (10, 3, 5, 24)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: os.truncate(path, 100),
        lambda path: path.write_bytes(bytes(path.stat().st_size)),
        lambda path: path.with_suffix(".json").write_text("{"),
        lambda path: path.with_suffix(".json").write_text(json.dumps({"shape": [1]})),
    ],
    ids=["cut", "changed", "no JSON", "other JSON"],
)
def test_a_damaged_file_is_named_and_its_features_are_computed_again(tmp_path, damage):
    part = model_of("PKS4 on top").frozen_part
    first = stored(tmp_path, part, clips()).video.clone()
    (path,) = tmp_path.glob("*.features")
    damage(path)
    with pytest.warns(UserWarning, match=rf"{path} is damaged .* computed again"):
        again = stored(tmp_path, part, clips())
    assert torch.equal(first, again.video)


def test_other_weights_are_another_key():
    part = model_of("PKS4 on top").frozen_part
    before = weights_digest(part.state_dict())
    with torch.no_grad():
        next(part.parameters()).view(-1)[0] += 1e-6
    assert weights_digest(part.state_dict()) != before


def test_the_oldest_files_make_room_but_not_those_in_use(tmp_path):
    part, source = model_of("PKS4 on top").frozen_part, clips()
    size = stored(tmp_path, part, source, {"cell": 0}).video.nbytes
    in_use = stored(tmp_path, part, source, {"cell": 1}, 2 * size)
    stored(tmp_path, part, source, {"cell": 2}, 2 * size)
    assert len([*tmp_path.glob("*.features")]) == len([*tmp_path.glob("*.json")]) == 2
    assert FeatureFiles(tmp_path, size).get({"cell": 1}, 10, never) is not None
    assert stored(tmp_path, part, source, {"cell": 3}, size) is None
    assert stored(tmp_path, part, source, {"cell": 3}, size - 1) is None
    assert torch.equal(in_use.video, FeatureFiles(tmp_path, size).get({"cell": 1}, 10, never).video)


def test_a_folder_that_cannot_lock_is_named_with_what_to_do(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(feature_files.fcntl, "flock", no_locks)
    with pytest.raises(CacheError, match="No locks available; set PKS4_CACHE"):
        FeatureFiles(tmp_path, 2**20).get({}, 10, never)


def test_a_writer_that_fails_leaves_no_file(tmp_path):
    def breaking():
        yield torch.zeros(3), 0
        raise UserError("stop")

    with pytest.raises(UserError, match="stop"):
        FeatureFiles(tmp_path, 2**20).get({}, 10, breaking)
    assert not [*tmp_path.glob("*.features"), *tmp_path.glob("*.part"), *tmp_path.glob("*.json")]


@pytest.mark.parametrize("given", ["much", "-1", "nan"])
def test_a_bound_that_is_no_number_is_told(monkeypatch, given):
    monkeypatch.setenv("PKS4_FEATURES_GIB", given)
    with pytest.raises(UserError, match=rf"PKS4_FEATURES_GIB is '{given}'; give GiB"):
        feature_files.limit_bytes()
