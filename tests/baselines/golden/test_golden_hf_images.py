"""transformers' models start from an image model by the rules of ours, or say why they cannot."""

import pytest
import torch
from torch import nn

from baselines import (
    frame_mean,
    hf_timesformer,
    hf_videomae,
    hf_vivit,
    hf_vjepa2,
    videomae,
)
from pks4.bench.measure import accuracy
from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.plan.plan import plan
from pks4.bench.plan.suite import read_suite
from pks4.errors import UserError
from tests.factories.golden import TINY_VIT, fresh
from tests.factories.models import clip, shake

pytestmark = pytest.mark.contract

small = {k: v for k, v in TINY_VIT.items() if k not in ("frames", "num_classes")}


def image_twin():
    """The twin at one frame, every weight of it awake, and its state dict."""
    torch.manual_seed(5)
    twin = shake(frame_mean.build(frames=1, num_classes=7, **small)).eval()
    return twin, twin.state_dict()


def test_joint_models_of_one_step_start_as_the_image_model():
    twin, state = image_twin()
    image = clip(1, size=32)
    want = twin.backbone.net.forward_features(image[:, 0])
    single = {"divided": {"frames": 1}, "joint": {"frames": 1}, "space_only": {"frames": 3}}
    for kind, options in single.items():
        model = fresh(hf_timesformer, attention_type=kind, **options)
        model.load_image_weights(state)
        if kind == "divided":  # transformers starts temporal_dense at random
            for layer in model.net.timesformer.encoder.layer:
                nn.init.zeros_(layer.temporal_dense.weight)
        got = model(image.expand(-1, options["frames"], -1, -1, -1))
        torch.testing.assert_close(got, model.net.classifier(want[:, 0]), rtol=1e-4, atol=1e-4)
    model = fresh(hf_vivit, frames=2)
    model.load_image_weights(state)
    for layer in model.net.vivit.layers:
        layer.mlp.activation_fn = nn.GELU()
    got = model(image.expand(-1, 2, -1, -1, -1))
    torch.testing.assert_close(got, model.net.classifier(want[:, 0]), rtol=1e-4, atol=1e-4)


def test_vivit_repeats_the_image_models_positions_and_sees_the_middle_frame():
    _, state = image_twin()
    model = fresh(hf_vivit, frames=6, tubelet=3)
    model.load_image_weights(state)
    image, parts = state["backbone.net.pos_embed"], model.net.vivit.embeddings
    for step in range(2):
        places = parts.position_embeddings[:, 1 + 4 * step : 5 + 4 * step]
        assert torch.equal(places, image[:, 1:])
    taps = parts.patch_embeddings.projection.weight
    assert torch.equal(taps[:, :, 1], state["backbone.net.patch_embed.proj.weight"])
    assert not taps[:, :, ::2].any()


@torch.no_grad()
def test_videomae_takes_the_blocks_of_the_image_model():
    twin, state = image_twin()
    model = fresh(hf_videomae)
    model.load_image_weights(state)
    x = torch.randn(2, 8, 24, generator=torch.Generator().manual_seed(3))
    got = model.net.videomae.encoder(x).last_hidden_state
    torch.testing.assert_close(got, twin.backbone.net.blocks(x), rtol=1e-4, atol=1e-4)
    assert torch.equal(model.net.fc_norm.weight, state["backbone.net.norm.weight"])


@torch.no_grad()
@pytest.mark.parametrize("tubelet", [1, 2])
def test_both_videomaes_start_from_the_image_model_by_one_rule(tubelet):
    _, state = image_twin()
    ours, theirs = (
        m.build(**{**small, "frames": 4}, num_classes=5, tubelet=tubelet)
        for m in (videomae, hf_videomae)
    )
    for model in (ours, theirs):
        model.load_image_weights(state)
    embedding = theirs.net.videomae.embeddings.patch_embeddings.projection
    assert torch.equal(embedding.weight, ours.patch_embed.proj.weight)
    assert torch.equal(
        theirs.net.videomae.encoder.layer[1].output.dense.weight, ours.blocks[1].mlp.fc2.weight
    )
    assert torch.equal(theirs.net.fc_norm.bias, ours.fc_norm.bias)


def test_attention_of_the_image_model_starts_the_attention_along_time():
    _, state = image_twin()
    model = fresh(hf_timesformer)
    model.load_image_weights(state)
    layer, image = model.net.timesformer.encoder.layer[1], "backbone.net.blocks.1."
    assert torch.equal(layer.temporal_attention.attention.qkv.bias, state[f"{image}attn.qkv.bias"])
    assert torch.equal(
        layer.temporal_attention.output.dense.weight, state[f"{image}attn.proj.weight"]
    )
    assert torch.equal(layer.temporal_layernorm.weight, state[f"{image}norm1.weight"])
    assert layer.temporal_dense.weight.any()


@pytest.mark.parametrize("module", [hf_timesformer, hf_vivit, hf_videomae])
def test_image_weights_that_do_not_fit_are_refused_and_change_nothing(module):
    _, state = image_twin()
    model = fresh(module)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    lost = {k: v for k, v in state.items() if k != "backbone.net.norm.weight"}
    more = {**state, "backbone.net.norm_pre.weight": state["backbone.net.norm.weight"]}
    for faulty, said in ((lost, "missing: norm.weight"), (more, "unknown: norm_pre.weight")):
        with pytest.raises(ValueError, match=said):
            model.load_image_weights(faulty)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


ACCURACY = """
[[contestants]]
label = "vjepa2"
model = "hf_vjepa2"
[[grids]]
name = "learn"
scale = "tiny"
frames = [4]
task = "temporal"
measures = ["accuracy"]
contestants = ["vjepa2"]
"""


def test_a_contestant_without_image_twin_is_refused_before_any_data_is_made(
    suite_file, monkeypatch
):
    assert hf_vjepa2.IMAGE_TWIN is None
    with pytest.raises(ValueError, match="no image twin"):
        fresh(hf_vjepa2).load_image_weights(image_twin()[1])
    monkeypatch.setattr("pks4.data.kinetic_digits.make_dataset.make", None)
    cell = plan(read_suite(suite_file(more=ACCURACY))[0])[-1]
    with pytest.raises(UserError, match=r"^model 'hf_vjepa2' has no image twin[^\n]*$"):
        next(accuracy.measure(MeasureInput(cell, cell.settings["accuracy"])))
