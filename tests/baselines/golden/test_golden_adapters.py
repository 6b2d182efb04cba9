"""Adapters on a frozen ViT equal the authors' code; what is special about each holds.

The rows marked `official` are outputs of the authors' code. The others are of a second reading of
it, in the authors' layout of tokens and with their layers, that gives the official rows too.
Weights are those of test_golden, by the names of the authors' backbone.
"""

import copy

import pytest
import torch

from baselines import aim, frame_mean, lora_time, st_adapter, zeroi2v
from pks4.simulate.saved_bytes import saved_bytes
from pks4.weights.official import load_official, official_state_dict
from tests.factories.adapters import SSV2, clip, every_model, shake, small
from tests.factories.golden import (
    GIGA,
    TINY,
    TINY_VIT,
    assert_golden,
    fill,
    golden,
    n_params,
    on_meta,
)

pytestmark = pytest.mark.contract


def fill_backbone(model):
    """Golden values by the names of the authors' backbone, which lack the `backbone.`."""
    part, theirs = "backbone.", official_state_dict(model)
    backbone = golden({k.removeprefix(part): v for k, v in theirs.items() if k.startswith(part)})
    load_official(model, {**theirs, **{part + k: v for k, v in backbone.items()}})
    return model.eval()


@torch.no_grad()
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(
    ("module", "options", "first", "total", "total_abs"),
    [
        pytest.param(
            aim, {}, [2.47684, 0.94878, 0.36175, 1.49134, 1.89762], 2.6755, 41.3883, id="official"
        ),
        (aim, SSV2, [2.66717, 0.77402, 0.33277, 1.59949, 1.72535], 3.0566, 41.3518),
        (
            aim,
            {"temporal_adapters": 2, "frames": 3, "depth": 3, "heads": 4, "image_size": 48},
            [1.56887, 1.33212, 0.21515, 1.65849, 1.51302],
            1.0649,
            42.3207,
        ),
        (aim, {"clip": False}, [-0.46804, -1.81942, -1.06924, -1.5112, 0.23565], 2.7818, 42.7905),
        (
            aim,
            {"clip": False, **SSV2},
            [-0.37507, -1.80275, -0.99937, -1.56081, 0.37486],
            2.9468,
            42.771,
        ),
        pytest.param(
            zeroi2v,
            {},
            [2.08575, 1.13235, 0.23986, 1.53687, 1.8409],
            2.2924,
            41.0012,
            id="official",
        ),
        (zeroi2v, {"scale": 1.0}, [1.9638, 1.1851, 0.15946, 1.5252, 1.85668], 2.2926, 40.793),
        (
            zeroi2v,
            {"adapters_per_block": 3},
            [2.10693, 1.13011, 0.23278, 1.50029, 1.8848],
            2.3345,
            40.7644,
        ),
        (
            zeroi2v,
            {"scale": 1.0, "shift_reach": 2, "frames": 5},
            [2.15326, 1.09901, 0.33376, 1.21816, 2.14487],
            2.1454,
            40.1351,
        ),
    ],
)
def test_features_of_the_backbone(module, options, first, total, total_abs, attention):
    sizes = {**TINY_VIT, "adapter_width": 6, **options}
    model = fill_backbone(module.build(**sizes, attention=attention))
    features = model.features(clip(sizes["frames"], sizes["image_size"]))
    assert_golden(features, (2, 24), first, total, total_abs)


@torch.no_grad()
@pytest.mark.parametrize(
    ("options", "first", "total", "total_abs"),
    [
        pytest.param(
            {}, [2.00122, -1.99542, 1.61362, -1.40387, 1.60952], 3.6475, 17.2342, id="official"
        ),
        (
            {"adapters_per_block": 2},
            [1.95565, -1.94958, 1.56757, -1.3577, 1.5633],
            3.56,
            16.7952,
        ),
        ({"adapter_layers": 1}, [1.97351, -1.96772, 1.58596, -1.3763, 1.5821], 3.5898, 16.9446),
        (
            {"adapters_per_block": 2, "adapter_layers": 1},
            [1.94368, -1.93792, 1.55624, -1.34671, 1.55268],
            3.5299,
            16.644,
        ),
    ],
)
def test_st_adapter(options, first, total, total_abs):
    model = fill(st_adapter.build(**TINY_VIT, adapter_width=8, **options))
    assert_golden(model(clip(4)), (2, 5), first, total, total_abs)


def test_names_of_aim_are_those_of_the_authors_two_models():
    on_clip, on_imagenet = (official_state_dict(small(aim, clip=c)) for c in (True, False))
    assert "backbone.transformer.resblocks.1.MLP_Adapter.D_fc2.weight" in on_clip
    assert on_clip["backbone.positional_embedding"].shape == (5, 24)
    assert "backbone.blocks.1.T_Adapter.D_fc1.bias" in on_imagenet
    assert on_imagenet["backbone.pos_embed"].shape == (1, 5, 24)
    both = {"backbone.temporal_embedding", "backbone.ln_post.bias", "cls_head.fc_cls.weight"}
    assert both <= on_clip.keys() & on_imagenet.keys()


@pytest.mark.parametrize(
    ("module", "options", "total", "trainable"),
    [
        (aim, {}, 96_764_560, 10_966_672),
        (aim, {"num_classes": 174, **SSV2}, 100_141_230, 14_343_342),
        (lora_time, {}, 85_799_424 + 1_209_232 - 1_536, 1_209_232),
        (st_adapter, {"adapter_layers": 6}, 93_217_168 - 6 * 592_512, 7_417_744 - 6 * 592_512),
    ],
)
def test_parameters_at_paper_scale(module, options, total, trainable):
    model = on_meta(module, 8, **options)
    assert n_params(model) == total
    assert n_params(model, trainable=True) == trainable


@pytest.mark.parametrize(
    ("module", "options", "frames", "giga_macs"),
    [
        *((aim, {}, t, g) for t, g in ((8, 202.1), (16, 404.6), (32, 811.1), (64, 1629.7))),
        *((aim, SSV2, t, g) for t, g in ((8, 207.7), (16, 415.8), (32, 833.5), (64, 1674.3))),
        *((zeroi2v, {"merged": True}, t, 140.5 * t / 8) for t in (8, 16, 32, 64)),
        *((st_adapter, {}, t, g) for t, g in ((32, 606.5), (64, 1213))),
        (st_adapter, {"adapters_per_block": 2}, 64, 1302),
    ],
)
def test_macs_at_paper_scale(module, options, frames, giga_macs):
    macs = on_meta(module, frames, **options).macs()
    assert sum(macs.values()) / GIGA == pytest.approx(giga_macs, rel=1e-3)


@pytest.mark.parametrize(
    ("module", "options", "mebibytes"),
    [(aim, SSV2, 1397), (st_adapter, {}, 864), (st_adapter, {"adapters_per_block": 2}, 997)],
)
def test_bytes_kept_at_paper_scale_are_those_of_the_authors_code(module, options, mebibytes):
    model = on_meta(module, 8, **options).train()
    video = torch.empty(1, 8, 3, 224, 224, device="meta")
    kept = saved_bytes(model, video, "flash_cpu").by_class
    assert sum(kept.values()) / 2**20 == pytest.approx(mebibytes, abs=1)


def image_features(model, video):
    """The trunk's own normed cls tokens of every frame, mean over frames."""
    return model.trunk.forward_features(video.flatten(0, 1))[:, 0].unflatten(0, (2, -1)).mean(1)


def head(model):
    """The linear layer at the end."""
    return next(getattr(model, k) for k in ("fc", "fc_cls", "head") if hasattr(model, k))


@torch.no_grad()
@pytest.mark.parametrize("on_clip", [True, False])
@pytest.mark.parametrize("module", [aim, lora_time])
def test_a_fresh_model_is_its_trunk_on_each_frame_averaged(module, on_clip):
    model = small(module, clip=on_clip).eval()
    want = head(model)(image_features(model, clip()))
    torch.testing.assert_close(model(clip()), want)


@torch.no_grad()
@every_model
def test_with_image_weights_a_still_clip_has_the_features_of_the_image_model(module):
    twin = shake(frame_mean.build(**{**TINY_VIT, "frames": 1}))
    model, image = small(module, clip=False).eval(), clip(1)
    model.load_image_weights(twin.state_dict())
    want = head(model)(twin.backbone.net.forward_features(image[:, 0])[:, 0])
    torch.testing.assert_close(model(image.expand(-1, 3, -1, -1, -1)), want)


@every_model
def test_image_weights_that_lack_something_are_refused(module):
    state = frame_mean.build(**{**TINY_VIT, "frames": 1}).state_dict()
    del state["backbone.net.blocks.1.norm1.weight"]
    with pytest.raises(ValueError, match=r"nothing was loaded; missing: blocks\.1\.norm1\.weight$"):
        small(module, clip=False).load_image_weights(state)


@torch.no_grad()
@every_model
def test_frame_order_matters_once_nothing_is_zero(module):
    model = shake(small(module))
    assert (model(clip()) - model(clip().flip(1))).abs().max() > 1e-4


@every_model
def test_exactly_what_the_authors_train_is_trained(module):
    trained = {k for k, p in small(module).named_parameters() if p.requires_grad}
    last_norm = {"trunk.norm.weight", "trunk.norm.bias"}
    assert {k for k in trained if k.startswith("trunk.")} == (
        set() if module is st_adapter else last_norm
    )
    assert all(k in trained for k, _ in small(module).named_parameters() if "trunk." not in k)


def test_adapter_layers_leave_the_lower_blocks_as_they_are_and_without_gradient():
    model = small(st_adapter, depth=3, adapter_layers=1).train()
    assert [len(adapters) for adapters in model.adapters] == [0, 0, 1]
    needs = {}
    for i, block in enumerate(model.trunk.blocks):
        block.mlp.register_forward_hook(
            lambda _, __, out, i=i: needs.__setitem__(i, out.requires_grad)
        )
    model(clip())
    assert needs == {0: False, 1: False, 2: True}


@pytest.mark.parametrize(("on_clip", "dropped_at_once"), [(True, 1 + 4), (False, 2 * 3)])
def test_drop_path_of_aim_drops_token_indices_on_clip_and_frames_on_imagenet(
    on_clip, dropped_at_once
):
    model = small(aim, clip=on_clip, drop_path=0.5).train()
    assert [adapters.drop_path.drop_prob for adapters in model.adapters] == [0.0, 0.5]
    draws = []  # DropPath draws once for each index of the first dimension
    for adapters in model.adapters:
        adapters.drop_path.register_forward_hook(lambda _, x, __: draws.append(len(x[0])))
    model(clip())
    assert draws == [dropped_at_once] * 4  # along time and beside the MLP, in two blocks
    plain = small(aim, clip=on_clip)
    torch.testing.assert_close(shake(model)(clip()), shake(plain)(clip()))


@torch.no_grad()
def test_a_low_rank_update_is_a_change_of_the_frozen_weights():
    model = shake(small(lora_time, rank=2, alpha=3.0))
    along_time, attn = model.updates[0], copy.deepcopy(model.trunk.blocks[0].attn)
    for update, layer in ((along_time.qkv, attn.qkv), (along_time.proj, attn.proj)):
        layer.weight += 3 / 2 * update.up.weight @ update.down.weight
    block, x = model.trunk.blocks[0], torch.randn(2 * 3, 5, 24)
    z = block.norm1(x).view(2, 3, 5, 24).transpose(1, 2).reshape(10, 3, 24)
    changed = attn(z).view(2, 5, 3, 24).transpose(1, 2).reshape(6, 5, 24)
    torch.testing.assert_close(along_time(x, block, 3), x + along_time.gate * changed)


def test_low_rank_updates_wait_for_the_gate():
    model = small(lora_time)
    model(clip()).square().sum().backward()
    moved = {k for k, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert "updates.0.gate" in moved
    assert not any(part in k for k in moved for part in (".up.", ".down."))


@pytest.mark.parametrize(
    ("module", "options", "line"),
    [
        (aim, {"temporal_adapters": 3}, "temporal_adapters must be 1 or 2"),
        (aim, {"attention": "egaer"}, "did you mean 'eager'"),
        (zeroi2v, {"adapters_per_block": 2}, "adapters_per_block must be 3 or 4"),
        (zeroi2v, {"shift_div": 3, "shift_reach": 2}, "take at least 4"),
        (lora_time, {"rank": 0}, "rank must be a whole number, 1 or more"),
        (st_adapter, {"adapter_layers": 3}, "adapter_layers must be from 1 to depth 2"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_line(module, options, line):
    with pytest.raises(ValueError, match=f"^[^\n]*{line}[^\n]*$"):
        module.build(**TINY, width=24, depth=2, heads=3, **options)
