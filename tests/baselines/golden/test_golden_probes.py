"""Probes and cheap tuning equal the authors' code; who sees order is stated.

The expected outputs of the attentive probe are of the authors' code on features, filled as golden
weights are, but with matrices of size .75. Those of AdaptFormer and VPT are of the authors' code on
each frame, then averaged, and of AdaptFormer's model of video.
"""

import pytest
import torch

from baselines import adaptformer, attentive_probe, frame_mean, linear_probe, step_probe, vpt
from pks4.weights.official import load_official, official_state_dict
from tests.factories.golden import (
    GIGA,
    TINY_VIT,
    assert_golden,
    chirp,
    fill,
    golden,
    n_params,
    on_meta,
    small_clip,
)
from tests.factories.models import shake

pytestmark = pytest.mark.contract
PROBES = {linear_probe: {}, attentive_probe: {"probe_heads": 3}, step_probe: {"probe_heads": 3}}
TUNED = {adaptformer: {"adapter_width": 8}, vpt: {"prompts": 2}}
every_probe = pytest.mark.parametrize("module", PROBES, ids=lambda m: m.__name__.split(".")[-1])
every_tuned = pytest.mark.parametrize("module", TUNED, ids=lambda m: m.__name__.split(".")[-1])
D1 = {"probe_depth": 1}
VIDEO = {"joint": True, "tubelet": 2}
VIT_L = {"width": 1024, "depth": 24, "heads": 16}
VIT_L_256 = {**VIT_L, "image_size": 256}


def small(module, **options):
    """A contestant on a ViT of two blocks, the same weights each time."""
    torch.manual_seed(0)
    return module.build(**{**TINY_VIT, **(PROBES | TUNED)[module], **options})


def filled(width, heads, depth, classes, attention):
    """An attentive probe with golden values; its features are given."""
    sizes = {**TINY_VIT, "width": width, "heads": 2, "num_classes": classes}
    model = attentive_probe.build(
        **sizes, probe_depth=depth, probe_heads=heads, attention=attention
    )
    load_official(model, golden(official_state_dict(model), 0.75))
    return model.eval()


@torch.no_grad()
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(
    ("probe", "features", "first", "total", "total_abs"),
    [
        (
            (24, 3, 4, 5),
            chirp((2, 16, 24)),
            [-5.78605, 5.59749, -5.454, 4.88032, -4.13568],
            -9.39,
            49.6711,
        ),
        (  # features so small that the eps of the norms matters
            (16, 2, 1, 4),
            0.003 * chirp((2, 10, 16)),
            [0.22763, -6.83571, 6.26261, 0.70158, -1.66623],
            -1.1278,
            30.3104,
        ),
    ],
)
def test_attentive_probe(probe, features, first, total, total_abs, attention):
    model = filled(*probe, attention)
    logits = model.linear(model.pooler(features)[:, 0])
    assert_golden(logits, (2, probe[3]), first, total, total_abs)


@torch.no_grad()
def test_an_attentive_probe_of_three_queries():
    pooler = attentive_probe.AttentivePooler(24, heads=3, depth=2, queries=3)
    pooler.load_state_dict(golden(pooler.state_dict(), 0.75))
    first = [-0.31956, 2.6139, -1.80146, 0.34228, -2.54582]
    assert_golden(pooler(chirp((2, 16, 24))), (2, 3, 24), first, -247.6593, 471.559)


@torch.no_grad()
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(
    ("module", "options", "video", "first", "total", "total_abs"),
    [
        (
            adaptformer,
            {"scale": 1.0},
            chirp((2, 4, 3, 32, 32)),
            [1.51503, -1.46047, 1.24401, -1.40646, 1.82423],
            3.4201,
            14.8373,
        ),
        (
            adaptformer,
            {"scale": 1.0, **VIDEO},
            chirp((2, 3, 4, 32, 32)).transpose(1, 2),
            [0.49602, -0.4241, 0.19201, -0.34056, 0.7462],
            1.0369,
            3.105,
        ),
        (
            vpt,
            {},
            chirp((2, 4, 3, 32, 32)),
            [0.70016, -0.63232, 0.40396, -0.55589, 0.96455],
            1.7574,
            6.4962,
        ),
    ],
)
def test_adaptformer_and_vpt(module, options, video, first, total, total_abs, attention):
    model = fill(small(module, **options, attention=attention))
    assert_golden(model(video), (2, 5), first, total, total_abs)


@torch.no_grad()
def test_a_shallow_prompt_goes_through_all_blocks():
    model, video = shake(small(vpt, shallow=True)).eval(), small_clip(4)
    net = model.trunk
    x = net.norm_pre(net._pos_embed(net.patch_embed(video.flatten(0, 1))))
    x = torch.cat([model.embeddings[0].expand(8, -1, -1), x], 1)  # in front: it does not matter
    cls = net.norm(net.blocks(x))[:, 2]
    torch.testing.assert_close(model(video), model.head(cls.unflatten(0, (2, 4)).mean(1)))


def test_an_attentive_probe_has_the_names_of_the_authors():
    names = official_state_dict(small(attentive_probe, probe_depth=2)).keys()
    block = {f"pooler.blocks.0.{part}" for part in (
        "norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")}  # fmt: skip
    cross = {f"pooler.cross_attention_block.{part}" for part in (
        "norm1", "norm2", "xattn.q", "xattn.kv", "mlp.fc1", "mlp.fc2")}  # fmt: skip
    parts = {name.rpartition(".")[0] for name in names} - {"pooler"}
    assert parts == block | cross | {"linear"}
    assert "pooler.query_tokens" in names
    assert not any("blocks" in k for k in official_state_dict(small(attentive_probe, **D1)))


def test_an_attentive_probe_starts_as_the_authors():
    pooler = attentive_probe.AttentivePooler(128, heads=4, depth=4)
    ends = [layer.mlp.fc2 for layer in (*pooler.blocks, pooler.cross_attention_block)]
    stds = [layer.weight.std().item() for layer in ends]
    assert stds == pytest.approx([0.0141, 0.01, 0.00816, 0.00816], rel=0.02)
    assert pooler.cross_attention_block.xattn.kv.weight.std().item() == pytest.approx(0.02, 0.02)


@pytest.mark.parametrize(
    ("module", "options", "classes", "trained"),
    [
        (attentive_probe, {}, 400, 28_069_264),
        (attentive_probe, {}, 174, 27_895_470),
        (attentive_probe, D1, 400, 6_805_648),
        (attentive_probe, D1, 174, 6_631_854),
        (attentive_probe, VIT_L, 400, 49_746_320),
        (attentive_probe, VIT_L, 174, 49_514_670),
        (step_probe, {}, 400, 2_366_208 + 8 * 768 + 400 * 769),
        (linear_probe, {}, 400, 400 * 769),
        (linear_probe, {"batch_norm": True}, 400, 400 * 769),
    ],
)
def test_parameters_at_paper_scale(module, options, classes, trained):
    model = on_meta(module, 8, classes, **options)
    assert n_params(model, trainable=True) == trained
    assert n_params(model.backbone) == n_params(model) - trained
    if "width" not in options:
        assert n_params(model.backbone) == 85_798_656


@pytest.mark.parametrize(
    ("module", "options", "trained"),
    [
        *((adaptformer, {"adapter_width": n}, added) for n, added in (
            (1, 27_660), (4, 82_992), (16, 304_320), (32, 599_424), (64, 1_189_632),
            (128, 2_370_048), (256, 4_730_880))),
        *((vpt, {"prompts": p}, added) for p, added in ((1, 9_216), (8, 73_728), (50, 460_800))),
        (vpt, {"prompts": 50, "shallow": True}, 50 * 768),
    ],
)  # fmt: skip
def test_parameters_that_cheap_tuning_adds_to_a_vit_b(module, options, trained):
    model = on_meta(module, 8, **options)
    assert n_params(model, trainable=True) == trained + 769 * 400
    assert n_params(model) == trained + 769 * 400 + 85_798_656


def test_parameters_of_adaptformer_as_the_authors_model_of_video():
    model = on_meta(adaptformer, 16, 174, **VIDEO)
    assert n_params(model, trainable=True) == 1_324_974
    assert n_params(model) == 87_550_638


@pytest.mark.parametrize(
    ("module", "options", "giga_macs"),
    [
        (adaptformer, {}, 0.232),
        (vpt, {"prompts": 1}, 0.092),
        (vpt, {}, 0.739),
        (vpt, {"prompts": 50}, 4.66),
    ],
)
def test_macs_that_cheap_tuning_adds_to_a_frame(module, options, giga_macs):
    macs = on_meta(module, 8, **options).macs()
    assert macs["temporal"] / 8 / GIGA == pytest.approx(giga_macs, rel=5e-3)
    assert macs["backbone"] / GIGA == pytest.approx(140.5, rel=1e-3)


@pytest.mark.parametrize(
    ("module", "options", "frames", "giga_macs"),
    [
        *((attentive_probe, {}, t, g) for t, g in
          ((8, 46.5), (16, 115.6), (32, 321.9), (64, 1006.3))),
        *((attentive_probe, D1, t, g) for t, g in ((8, 1.86), (16, 3.71), (32, 7.41), (64, 14.8))),
        (attentive_probe, VIT_L_256, 8, 107.4),  # as many tokens as 16 frames in tubelets of 2
        (linear_probe, {}, 8, 0),
    ],
)  # fmt: skip
def test_macs_of_the_probe_at_paper_scale(module, options, frames, giga_macs):
    macs = on_meta(module, frames, **options).macs()
    assert macs["temporal"] / GIGA == pytest.approx(giga_macs, rel=2e-3)
    if not options:
        assert macs["backbone"] / GIGA == pytest.approx(140.5 * frames / 8, rel=1e-3)


@torch.no_grad()
@pytest.mark.parametrize(
    ("module", "options", "sees"),
    [
        (linear_probe, {}, False),
        (linear_probe, {"pool": "mean"}, False),
        (attentive_probe, {}, False),
        (attentive_probe, D1, False),
        (attentive_probe, {"positions": "sincos"}, True),
        (attentive_probe, {**D1, "positions": "sincos"}, True),
        (step_probe, {}, True),
        (adaptformer, {}, False),
        (adaptformer, VIDEO, True),
        (vpt, {}, False),
    ],
)
def test_only_positions_of_frames_let_a_model_see_the_order_of_frames(module, options, sees):
    model, video = shake(small(module, **options)).eval(), small_clip(4)
    change = (model(video) - model(video.flip(1))).abs().max()
    assert change > 1e-3 if sees else change < 1e-5


def test_positions_are_sines_and_then_cosines_of_the_frame():
    row = attentive_probe.sincos_table(3, 4)[2, 0]
    want = torch.tensor([2.0, 0.02])  # 10000^(-1/2) = .01
    torch.testing.assert_close(row, torch.cat([want.sin(), want.cos()]))


@torch.no_grad()
@every_probe
def test_a_probe_takes_the_image_model_and_reads_its_features(module):
    twin = shake(frame_mean.build(**{**TINY_VIT, "frames": 1}))
    model, video = small(module).eval(), small_clip(4)
    model.load_image_weights(twin.state_dict())
    net = twin.backbone.net.eval()
    tokens = net.forward_features(video.flatten(0, 1)).unflatten(0, (2, 4))
    read = model.frame_tokens(model.backbone.features(video))
    torch.testing.assert_close(read, tokens[:, :, 1:])
    if module is linear_probe:
        torch.testing.assert_close(model(video), model.head(tokens[:, :, 0].mean(1)))


@torch.no_grad()
@every_tuned
def test_with_image_weights_cheap_tuning_is_the_image_model_once_it_adds_nothing(module):
    twin = shake(frame_mean.build(**{**TINY_VIT, "frames": 1})).backbone.net.eval()
    model, video = small(module).eval(), small_clip(4)
    model.load_image_weights({f"backbone.net.{k}": v for k, v in twin.state_dict().items()})
    cls = twin.forward_features(video.flatten(0, 1))[:, 0].unflatten(0, (2, 4)).mean(1)
    near = torch.allclose(model(video), model.head(cls), atol=1e-5)
    assert near == (module is adaptformer)  # a prompt takes attention from the start


@torch.no_grad()
def test_a_fresh_adaptformer_of_video_is_a_fresh_trunk():
    model, video = small(adaptformer, **VIDEO).eval(), small_clip(4)
    assert not model.trunk.blocks[0].mlp.fc1.bias.any()  # as VideoMAE starts
    tokens = model.trunk.blocks(model.trunk.embed(video)).mean(1)
    torch.testing.assert_close(model(video), model.head(model.trunk.fc_norm(tokens)))


@torch.no_grad()
def test_a_sequential_adapter_reads_what_the_mlp_gives():
    model = shake(small(adaptformer, sequential=True)).eval()
    block, adapter, x = model.trunk.blocks[0], model.adapters[0]["adaptmlp"], torch.randn(2, 5, 24)
    after = x + block.attn(block.norm1(x))
    y = block.mlp(block.norm2(after))
    torch.testing.assert_close(model.run_block(x, block, adapter), after + y + adapter(y))


@every_tuned
def test_exactly_what_is_added_is_trained(module):
    trained = {k for k, p in small(module).named_parameters() if p.requires_grad}
    assert not any(k.startswith("trunk.") for k in trained)
    video = {k for k, p in small(adaptformer, **VIDEO).named_parameters() if p.requires_grad}
    kept = {"trunk.fc_norm.weight", "trunk.fc_norm.bias"}
    assert {k for k in video if k.startswith("trunk.")} == kept


@every_probe
def test_the_image_model_stays_frozen_and_in_eval_mode(module):
    model = small(module).train()
    assert model.frozen_part is model.backbone
    assert not any(layer.training for layer in model.backbone.modules())
    assert not any(p.requires_grad for p in model.backbone.parameters())


@pytest.mark.parametrize(
    ("module", "options", "line"),
    [
        (attentive_probe, {"probe_heads": 5}, "probe_heads must divide the 24 channels, got 5"),
        (attentive_probe, {"probe_depth": 0}, "probe_depth must be a whole number, 1 or more"),
        (attentive_probe, {"positions": "sine"}, "did you mean 'sincos'"),
        (attentive_probe, {"attention": "egaer"}, "did you mean 'eager'"),
        (step_probe, {"probe_heads": 5}, "probe_heads must divide the 24 channels, got 5"),
        (step_probe, {"attention": "egaer"}, "did you mean 'eager'"),
        (adaptformer, {"tubelet": 2}, "takes single frames; give joint=True"),
        (adaptformer, {"adapter_width": 0}, "adapter_width must be a whole number, 1 or more"),
        (vpt, {"prompts": 0}, "prompts must be a whole number, 1 or more"),
        (linear_probe, {"pool": "sls"}, "did you mean 'cls'"),
        (linear_probe, {"backbone": "mobilenetv2_035"}, "has no cls token; give pool='mean'"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_line(module, options, line):
    with pytest.raises(ValueError, match=f"^[^\n]*{line}[^\n]*$"):
        small(module, **options)
