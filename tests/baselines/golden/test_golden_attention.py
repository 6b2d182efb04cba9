"""Rivals with attention over time equal the authors' code, and the models of transformers."""

import pytest
import torch
from transformers import (
    TimesformerConfig,
    TimesformerForVideoClassification,
    VideoMAEConfig,
    VideoMAEForVideoClassification,
)

from baselines import timesformer, videomae, vivit_fe
from pks4.weights.official import load_official, official_state_dict
from tests.factories.golden import (
    GIGA,
    TINY_VIT,
    assert_golden,
    fill,
    n_params,
    on_meta,
    shaken,
    small_clip,
)

pytestmark = pytest.mark.contract

HF_SIZES = {
    "hidden_size": 24,
    "intermediate_size": 96,
    "num_attention_heads": 3,
    "image_size": 32,
    "patch_size": 16,
    "num_labels": 5,
}
HF_BLOCKS = (
    (".norm1.", ".layernorm_before."),
    (".norm2.", ".layernorm_after."),
    (".mlp.fc1.", ".intermediate.dense."),
    (".mlp.fc2.", ".output.dense."),
)
HF_TIMESFORMER = (
    ("cls_token", "timesformer.embeddings.cls_token"),
    ("pos_embed", "timesformer.embeddings.position_embeddings"),
    ("time_embed", "timesformer.embeddings.time_embeddings"),
    ("patch_embed.proj.", "timesformer.embeddings.patch_embeddings.projection."),
    ("blocks.", "timesformer.encoder.layer."),
    (".temporal_norm1.", ".temporal_layernorm."),
    (".temporal_attn.qkv.", ".temporal_attention.attention.qkv."),
    (".temporal_attn.proj.", ".temporal_attention.output.dense."),
    (".temporal_fc.", ".temporal_dense."),
    (".attn.qkv.", ".attention.attention.qkv."),
    (".attn.proj.", ".attention.output.dense."),
    *HF_BLOCKS,
)
HF_VIDEOMAE = (
    ("patch_embed.proj.", "videomae.embeddings.patch_embeddings.projection."),
    ("blocks.", "videomae.encoder.layer."),
    (".attn.q_bias", ".attention.attention.query.bias"),
    (".attn.v_bias", ".attention.attention.value.bias"),
    (".attn.proj.", ".attention.output.dense."),
    *HF_BLOCKS,
    ("head.", "classifier."),
)


def renamed(state, names):
    """A state dict with each (old, new) replaced in its names, in this order."""
    out = {}
    for name, x in state.items():
        for old, new in names:
            name = name.replace(old, new)
        out[name] = x
    return out


@torch.no_grad()
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_videomae(video, attention):
    model = fill(videomae.build(**TINY_VIT, init_scale=1, attention=attention))
    first = [-0.24166, 0.37121, -0.65961, 0.56596, -0.21373]
    assert_golden(model(video), (2, 5), first, -0.3576, 4.1139)


def test_videomae_has_the_official_names():
    wide = 24
    state = official_state_dict(videomae.build(**TINY_VIT))
    assert {k: tuple(v.shape) for k, v in state.items() if not k.startswith("blocks.1.")} == {
        "patch_embed.proj.weight": (wide, 3, 2, 16, 16),
        "patch_embed.proj.bias": (wide,),
        "blocks.0.norm1.weight": (wide,),
        "blocks.0.norm1.bias": (wide,),
        "blocks.0.attn.q_bias": (wide,),
        "blocks.0.attn.v_bias": (wide,),
        "blocks.0.attn.qkv.weight": (3 * wide, wide),
        "blocks.0.attn.proj.weight": (wide, wide),
        "blocks.0.attn.proj.bias": (wide,),
        "blocks.0.norm2.weight": (wide,),
        "blocks.0.norm2.bias": (wide,),
        "blocks.0.mlp.fc1.weight": (4 * wide, wide),
        "blocks.0.mlp.fc1.bias": (4 * wide,),
        "blocks.0.mlp.fc2.weight": (wide, 4 * wide),
        "blocks.0.mlp.fc2.bias": (wide,),
        "fc_norm.weight": (wide,),
        "fc_norm.bias": (wide,),
        "head.weight": (5, wide),
        "head.bias": (5,),
    }


@torch.no_grad()
@pytest.mark.parametrize(("frames", "tubelet", "depth"), [(4, 2, 2), (8, 2, 3), (8, 4, 1)])
def test_videomae_equals_the_model_of_transformers(frames, tubelet, depth):
    model = shaken(videomae, frames=frames, tubelet=tubelet, depth=depth)
    config = VideoMAEConfig(
        num_frames=frames,
        tubelet_size=tubelet,
        num_hidden_layers=depth,
        layer_norm_eps=1e-6,
        **HF_SIZES,
    )
    theirs = VideoMAEForVideoClassification(config).eval()
    state = renamed(official_state_dict(model), HF_VIDEOMAE)
    for name in [k for k in state if k.endswith(".attn.qkv.weight")]:
        parts = zip(("query", "key", "value"), state.pop(name).chunk(3), strict=True)
        stem = name.removesuffix(".attn.qkv.weight") + ".attention.attention."
        state.update({f"{stem}{part}.weight": x for part, x in parts})
    theirs.load_state_dict(state)
    torch.testing.assert_close(model(small_clip(frames)), theirs(small_clip(frames)).logits)


@torch.no_grad()
@pytest.mark.parametrize("frames", [3, 8])
@pytest.mark.parametrize(
    ("ours", "hf"),
    [
        ("divided", "divided_space_time"),
        ("joint", "joint_space_time"),
        ("space_only", "space_only"),
    ],
)
def test_timesformer_equals_the_model_of_transformers(ours, hf, frames):
    model = shaken(timesformer, frames=frames, attention_type=ours)
    config = TimesformerConfig(
        num_frames=frames, num_hidden_layers=2, attention_type=hf, **HF_SIZES
    )
    theirs = TimesformerForVideoClassification(config).eval()
    state = renamed(official_state_dict(model), HF_TIMESFORMER)
    norm_and_head = {"norm.": "timesformer.layernorm.", "head.": "classifier."}
    for old, new in norm_and_head.items():
        state |= {new + end: state.pop(old + end) for end in ("weight", "bias")}
    theirs.load_state_dict(state)
    if ours == "space_only":  # theirs never averages the frames: done here, before the norm
        net = theirs.timesformer
        tokens = net.encoder(net.embeddings(small_clip(frames)))[0].unflatten(0, (2, frames))
        want = theirs.classifier(net.layernorm(tokens.mean(1))[:, 0])
    else:
        want = theirs(small_clip(frames)).logits
    torch.testing.assert_close(model(small_clip(frames)), want)


def test_space_only_has_no_place_in_time_and_no_weights_of_time():
    assert "time_embed" in official_state_dict(timesformer.build(**TINY_VIT))
    for frames in (1, 4):
        sizes = {**TINY_VIT, "frames": frames}
        state = official_state_dict(timesformer.build(**sizes, attention_type="space_only"))
        assert not [k for k in state if "time" in k or "temporal" in k]


@torch.no_grad()
def test_space_only_is_blind_to_the_order_of_frames_and_the_others_are_not():
    blind = shaken(timesformer, attention_type="space_only")
    torch.testing.assert_close(blind(small_clip(4)), blind(small_clip(4).flip(1)))
    for attention_type in ("divided", "joint"):
        model = shaken(timesformer, attention_type=attention_type)
        assert (model(small_clip(4)) - model(small_clip(4).flip(1))).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("attention_type", ["divided", "joint", "space_only"])
def test_timesformer_resizes_positions_to_the_nearest_token_in_a_row(attention_type):
    small = shaken(timesformer, attention_type=attention_type)
    sizes = {**TINY_VIT, "frames": 8, "image_size": 64, "attention_type": attention_type}
    large = timesformer.build(**sizes)
    resized = load_official(large, official_state_dict(small)).resized
    assert "pos_embed" in resized
    assert torch.equal(large.pos_embed[:, 0], small.pos_embed[:, 0])
    assert torch.equal(large.pos_embed[:, 1:], small.pos_embed[:, 1:].repeat_interleave(4, 1))
    if attention_type != "space_only":
        assert torch.equal(large.time_embed, small.time_embed.repeat_interleave(2, 1))


@pytest.mark.parametrize(
    ("module", "frames", "options", "total"),
    [
        (timesformer, 8, {"attention_type": "space_only"}, 86_106_256),
        (timesformer, 8, {"attention_type": "joint"}, 86_112_400),
        (timesformer, 16, {"image_size": 448}, 122_024_080),
        (timesformer, 96, {}, 121_633_936),
        (vivit_fe, 32, {}, 115_062_928),
        (videomae, 16, {}, 86_534_800),
    ],
)
def test_parameters_at_paper_scale_equal_the_official_models(module, frames, options, total):
    model = on_meta(module, frames, **options)
    assert n_params(model) == total
    assert n_params(model, trainable=True) == total


@pytest.mark.parametrize(
    ("module", "options", "table"),
    [
        (timesformer, {"attention_type": "space_only"}, (140.5, 281.0, 562.0, 1124.0)),
        (videomae, {}, (78.8, 180.3, 451.3, 1265.2)),
        (vivit_fe, {}, (70.9, 141.7, 283.3, 566.7)),
    ],
)
def test_macs_at_paper_scale_equal_the_formulas_of_the_papers(module, options, table):
    for frames, giga_macs in zip((8, 16, 32, 64), table, strict=True):
        macs = on_meta(module, frames, **options).macs()
        assert sum(macs.values()) / GIGA == pytest.approx(giga_macs, rel=1e-3)


def test_without_time_nothing_is_spent_on_it():
    assert on_meta(timesformer, 8, attention_type="space_only").macs()["temporal"] == 0
    assert on_meta(videomae, 2).macs()["temporal"] == 0
    assert on_meta(vivit_fe, 8, spatial_only_baseline=True).macs()["temporal"] == 0


@torch.no_grad()
def test_the_head_of_videomae_starts_small_by_init_scale():
    heads = [
        (torch.manual_seed(3), videomae.build(**TINY_VIT, init_scale=scale).head.weight)[1]
        for scale in (1, 0.001)
    ]
    torch.testing.assert_close(heads[1], heads[0] * 0.001)
    assert 0.01 < heads[0].std() < 0.03


@torch.no_grad()
def test_space_only_from_image_weights_is_the_image_model_on_a_still_clip(image_model):
    net, state = image_model
    model = timesformer.build(**TINY_VIT, attention_type="space_only").eval()
    model.load_image_weights(state)
    still = small_clip(1).expand(-1, 4, -1, -1, -1)
    want = model.head(net.forward_features(small_clip(1)[:, 0])[:, 0])
    torch.testing.assert_close(model(still), want)


@torch.no_grad()
def test_videomae_from_image_weights_reads_still_tubelets_with_the_blocks_of_the_image(image_model):
    net, state = image_model
    model = videomae.build(**TINY_VIT).eval()
    model.load_image_weights(state)
    still = small_clip(1).expand(-1, 4, -1, -1, -1)
    tokens = model.patch_embed(still)
    torch.testing.assert_close(tokens, net.patch_embed(small_clip(1)[:, 0]).repeat(1, 2, 1))
    torch.testing.assert_close(model.blocks(tokens), net.blocks(tokens))
    torch.testing.assert_close(model.fc_norm(tokens), net.norm(tokens))


@pytest.mark.parametrize("module", [videomae, vivit_fe])
def test_image_weights_that_do_not_fit_are_refused_and_change_nothing(image_model, module):
    _, state = image_model
    faults = {
        "missing": {k: v for k, v in state.items() if not k.endswith("net.norm.weight")},
        "missing: patch_embed": {k: v for k, v in state.items() if "patch_embed.proj.w" not in k},
        "unknown": {**state, "backbone.net.blocks.2.norm1.bias": state["backbone.net.norm.bias"]},
    }
    for said, broken in faults.items():
        model = module.build(**TINY_VIT)
        before = {k: v.clone() for k, v in model.state_dict().items()}
        with pytest.raises(ValueError, match=f"nothing was loaded; {said}"):
            model.load_image_weights(broken)
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("module", [videomae, vivit_fe])
@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"frames": 5}, "frames 5 is not a multiple of tubelet 2"),
        ({"tubelet": 0}, "tubelet must be a whole number, 1 or more"),
        ({"heads": 5}, "width 24 is not a multiple of heads 5"),
        ({"patch_size": 15}, "image_size 32 is not a multiple of patch_size 15"),
        ({"attention": "spda"}, "did you mean 'sdpa'"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(module, options, line):
    with pytest.raises(ValueError, match=rf"^{line}|{line}"):
        module.build(**{**TINY_VIT, **options})


def test_drop_path_of_videomae_grows_from_the_first_block_to_the_last():
    model = videomae.build(**{**TINY_VIT, "depth": 3}, drop_path=0.8)
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in model.blocks]
    assert rates == pytest.approx([0.0, 0.4, 0.8])
