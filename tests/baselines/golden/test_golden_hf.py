"""transformers' models as second opinions: equal to ours and to the authors', and no trap left.

TimeSformer is compared with our own on the same weights, ViViT with TimeSformer's joint attention
in another order, VideoMAE with the authors' golden vector; counts are those of the papers' models.
"""

import ast
from pathlib import Path

import pytest
import torch
from torch import nn

from baselines import (
    hf_timesformer,
    hf_videomae,
    hf_vivit,
    hf_vjepa2,
    timesformer,
)
from pks4.models.backbone import build_vit
from pks4.models.transformers_video import renamed, split_qkv
from pks4.simulate.count_macs import count_with_fvcore
from pks4.simulate.fake_device import on_fake_device
from pks4.simulate.saved_bytes import saved_bytes
from pks4.weights.official import load_official, official_state_dict
from tests.factories.golden import (
    GIGA,
    TINY_VIT,
    assert_golden,
    fill,
    fresh,
    n_params,
    on_meta,
    weight,
)
from tests.factories.models import clip, shake

pytestmark = pytest.mark.contract

WRAPPERS = (hf_timesformer, hf_vivit, hf_videomae, hf_vjepa2)
TUBELETS = (hf_vivit, hf_videomae, hf_vjepa2)
every_wrapper = pytest.mark.parametrize("module", WRAPPERS)
every_type = pytest.mark.parametrize("attention_type", ["divided", "joint", "space_only"])
small = {k: v for k, v in TINY_VIT.items() if k not in ("frames", "num_classes")}


def in_transformers_names(ours):
    """The weights of our TimeSformer by transformers' names, temporal layers included."""
    along_time = (
        ("temporal_attn.qkv", "temporal_attention.attention.qkv"),
        ("temporal_attn.proj", "temporal_attention.output.dense"),
        ("temporal_fc", "temporal_dense"),
        ("temporal_norm1", "temporal_layernorm"),
        ("time_embed", "embeddings.time_embeddings"),
    )
    named = renamed(official_state_dict(ours), (*hf_timesformer.NAMES, *along_time))
    return {k if k.startswith("head.") else f"timesformer.{k}": v for k, v in named.items()}


def classifier_for_head(weights):
    """transformers' name of the last layer."""
    return renamed(weights, (("head.", "classifier."),))


@torch.no_grad()
@every_type
def test_timesformer_equals_ours_on_the_same_weights(video, attention_type):
    ours = fill(timesformer.build(**TINY_VIT, attention_type=attention_type))
    theirs = fresh(hf_timesformer, attention_type=attention_type)
    load_official(theirs, classifier_for_head(in_transformers_names(ours)))
    assert theirs(video).shape == (2, 5)
    torch.testing.assert_close(theirs(video), ours(video), rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_videomae_equals_the_authors_on_their_weights(video, attention):
    sizes = {k: v for k, v in TINY_VIT.items() if k not in ("frames", "num_classes")}
    d, vit = sizes["width"], build_vit(**sizes).state_dict()
    shapes = {k: tuple(v.shape) for k, v in vit.items() if k.startswith("blocks.")}
    for i in range(sizes["depth"]):
        del shapes[f"blocks.{i}.attn.qkv.bias"]
        shapes |= {f"blocks.{i}.attn.{part}_bias": (d,) for part in "qv"}
    shapes |= {"patch_embed.proj.weight": (d, 3, 2, 16, 16), "patch_embed.proj.bias": (d,)}
    shapes |= {"fc_norm.weight": (d,), "fc_norm.bias": (d,), "head.weight": (5, d)}
    shapes |= {"head.bias": (5,)}
    theirs = split_qkv({k: weight(k, shape) for k, shape in shapes.items()})
    biases = ((".q_bias", ".q.bias"), (".v_bias", ".v.bias"))
    model = fresh(hf_videomae, attention=attention)
    load_official(model, classifier_for_head(renamed(theirs, (*biases, *hf_videomae.NAMES))))
    first = [-0.24166, 0.37121, -0.65961, 0.56596, -0.21373]
    assert_golden(model(video), (2, 5), first, -0.3576, 4.1139)


@torch.no_grad()
def test_vivit_of_single_frames_is_the_joint_timesformer_in_another_order(video):
    """(t h w) against (h w t), positions learned whole against a sum, up to the form of GELU."""
    joint = shake(fresh(timesformer, attention_type="joint")).eval()
    vivit = fresh(hf_vivit, tubelet=1)
    weights = split_qkv(official_state_dict(joint))
    places = weights["pos_embed"][:, None, 1:] + weights.pop("time_embed")[:, :, None]
    weights["pos_embed"] = torch.cat([weights["pos_embed"][:, :1], places.flatten(1, 2)], 1)
    weights["patch_embed.proj.weight"] = weights["patch_embed.proj.weight"][:, :, None]
    load_official(vivit, classifier_for_head(renamed(weights, hf_vivit.NAMES)))
    for layer in vivit.net.vivit.layers:
        layer.mlp.activation_fn = nn.GELU()
    torch.testing.assert_close(vivit(video), joint(video), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_vjepa2_without_predictor_says_what_transformers_says_with_it(video):
    from transformers import VJEPA2Config, VJEPA2ForVideoClassification

    ours = shake(fresh(hf_vjepa2)).eval()
    names = {"num_hidden_layers": 2, "hidden_size": 24, "num_attention_heads": 3, "crop_size": 32}
    whole = VJEPA2ForVideoClassification(VJEPA2Config(**names, num_labels=5)).eval()
    whole.load_state_dict({**whole.state_dict(), **official_state_dict(ours)})
    assert torch.equal(ours(video), whole(video).logits)
    twin = fresh(hf_vjepa2)
    load_official(twin, whole.state_dict())  # a checkpoint with the predictor
    assert torch.equal(twin(video), ours(video))


@torch.no_grad()
def test_vjepa2_has_the_same_weights_at_every_number_of_frames_and_knows_their_order(video):
    models = {t: fresh(hf_vjepa2, frames=t) for t in (2, 4)}
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in models.values()]
    assert shapes[0] == shapes[1]
    model = shake(models[4])
    assert not torch.allclose(model(video), model(video.flip(1)))


@pytest.mark.parametrize(
    ("module", "frames", "options", "total"),
    [
        (hf_timesformer, 8, {}, 121_566_352),
        (hf_timesformer, 8, {"attention_type": "joint"}, 86_112_400),
        (hf_timesformer, 8, {"attention_type": "space_only"}, 86_106_256),
        (hf_vivit, 32, {}, 88_954_000),
        (hf_videomae, 2, {}, 86_534_800),
        (hf_vjepa2, 64, {}, 303_885_312 + 49_336_320 + 410_000),
    ],
)
def test_parameters_at_paper_scale_equal_the_official_models(module, frames, options, total):
    model = on_meta(module, frames, **options)
    assert n_params(model) == n_params(model, trainable=True) == total


def test_a_frozen_vjepa2_trains_the_pooler_and_the_classifier_alone():
    model = on_meta(hf_vjepa2, 16, frozen=True)
    assert n_params(model.net.vjepa2) == 303_885_312
    assert n_params(model, trainable=True) == 49_336_320 + 410_000
    assert not model.train().net.vjepa2.training
    assert model.net.pooler.training


@pytest.mark.parametrize(
    ("module", "options", "frames", "giga_macs"),
    [
        (hf_timesformer, {}, 8, 195.8),
        (hf_timesformer, {"attention_type": "joint"}, 8, 179.4),
        (hf_timesformer, {"attention_type": "space_only"}, 16, 281.0),
        (hf_vivit, {}, 32, 451.5),
        (hf_videomae, {}, 16, 180.3),
    ],
)
def test_macs_at_paper_scale_equal_the_formulas_of_the_papers(module, options, frames, giga_macs):
    macs = on_meta(module, frames, **options).macs()
    assert sum(macs.values()) / GIGA == pytest.approx(giga_macs, rel=1e-3)


@every_type
@pytest.mark.parametrize("frames", [1, 8])
def test_timesformer_costs_what_ours_costs_by_stage(attention_type, frames):
    options = {"attention_type": attention_type}
    theirs, ours = (on_meta(m, frames, **options) for m in (hf_timesformer, timesformer))
    assert theirs.macs(2) == ours.macs(2)


@pytest.mark.parametrize("module", TUBELETS)
def test_joint_attention_on_one_tubelet_costs_nothing_for_time(module):
    assert fresh(module, frames=2).macs()["temporal"] == 0
    assert fresh(module, frames=4).macs()["temporal"] > 0


@pytest.mark.parametrize(
    ("module", "options"),
    [*((m, {}) for m in WRAPPERS), (hf_timesformer, {"attention_type": "space_only"})],
)
def test_fvcore_counts_the_closed_form_on_a_real_run(module, options):
    model = fresh(module, **options)
    assert count_with_fvcore(model, clip(4, size=32)).macs == sum(model.macs(2).values())


@every_wrapper
def test_simulated_bytes_under_autocast_equal_those_of_a_real_run(module, video):
    with torch.autocast("cpu", torch.bfloat16):
        real = saved_bytes(fresh(module).train(), video, "flash_cpu")
    with torch.device("meta"):
        model = module.build(**TINY_VIT).train()
    with on_fake_device(model, video, "cpu", "bfloat16") as there:
        assert saved_bytes(model, there, "flash_cpu") == real


@pytest.mark.parametrize("module", TUBELETS)
def test_eager_attention_keeps_the_scores_and_says_the_same(module, video):
    fused, eager = (fresh(module, attention=kind).train() for kind in ("sdpa", "eager"))
    torch.testing.assert_close(fused(video), eager(video))
    kept = [saved_bytes(m, video, "flash_cpu") for m in (fused, eager)]
    assert kept[0].by_class.total() < kept[1].by_class.total()
    assert [k.ran.kernel for k in kept] == ["flash_cpu", "no fused attention"]


def test_a_frozen_vjepa2_keeps_nothing_of_its_encoder(video):
    by_class = saved_bytes(fresh(hf_vjepa2, frozen=True).train(), video, "flash_cpu").by_class
    assert not {"VJEPA2RopeAttention", "VJEPA2Layer", "Conv3d"} & set(by_class)


@pytest.mark.parametrize("t", [2, 8])
@every_wrapper
def test_another_number_of_frames_is_refused_and_not_reshaped(module, t):
    with pytest.raises(ValueError, match="built for 4 frames, got"):
        fresh(module)(clip(t, size=32))


@every_wrapper
def test_another_image_size_is_refused(module):
    with pytest.raises(ValueError, match="video must be"):
        fresh(module)(clip(4, size=48))


@every_wrapper
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"image_size": 40}, "image_size 40 is not a multiple of patch_size 16"),
        ({"heads": 5}, "width 24 is not a multiple of heads 5"),
        ({"frames": 0}, "frames must be a whole number, 1 or more"),
        ({"attention": "flash"}, "attention"),
    ],
)
def test_a_wrong_size_is_one_line_that_names_it(module, wrong, said):
    with pytest.raises(ValueError, match=said) as error:
        fresh(module, **wrong)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("module", TUBELETS)
def test_frames_that_are_no_multiple_of_the_tubelet_are_refused(module):
    with pytest.raises(ValueError, match="frames 5 is not a multiple of tubelet 2"):
        fresh(module, frames=5)
    assert fresh(module, frames=6, tubelet=3)(clip(6, size=32)).shape == (2, 5)


def test_timesformer_has_no_fused_attention_and_says_where_one_is():
    with pytest.raises(ValueError, match=r"'eager', got 'sdpa'.*take the model timesformer"):
        fresh(hf_timesformer, attention="sdpa")


@torch.no_grad()
def test_space_only_is_blind_to_the_order_of_frames(video):
    model = shake(fresh(hf_timesformer, attention_type="space_only"))
    torch.testing.assert_close(model(video), model(video.flip(1)))


def test_the_positions_of_videomae_move_with_the_model_and_stay_out_of_its_weights():
    model = fresh(hf_videomae)
    assert not [k for k in model.state_dict() if "position" in k]
    assert model.to("meta").net.videomae.embeddings.position_embeddings.device.type == "meta"


def test_transformers_is_imported_only_when_a_model_is_built():
    root = Path(hf_vivit.__file__).parents[1]
    ours = root / "pks4" / "models" / "transformers_video.py"
    for path in (ours, *sorted((root / "baselines").glob("*.py"))):
        for node in ast.parse(path.read_text()).body:
            names = [a.name for a in getattr(node, "names", ())]
            assert "transformers" not in (getattr(node, "module", None), *names), path
