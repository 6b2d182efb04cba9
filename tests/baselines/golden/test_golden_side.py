"""EVL and Side4Video, which stand beside a frozen trunk, equal the authors' code.

Expected outputs come from the authors' layers (float32, CPU) on weights filled as in test_golden.
"""

import pytest
import torch

from baselines import evl, frame_mean, side4video
from pks4.macs import attention_macs
from pks4.simulate.saved_bytes import saved_bytes
from pks4.weights.official import load_official, official_state_dict
from tests.factories.golden import (
    GIGA,
    TINY_VIT,
    assert_golden,
    fill,
    n_params,
    on_meta,
    sine,
    weight,
)

pytestmark = pytest.mark.contract

TINY_EVL = {**TINY_VIT, "depth": 3, "decoder_layers": 2}
TINY_SIDE = {**TINY_VIT, "side_width": 64}
both = pytest.mark.parametrize(("module", "sizes"), [(evl, TINY_EVL), (side4video, TINY_SIDE)])
kernels = pytest.mark.parametrize("attention", ["sdpa", "eager"])


def clip(frames=4, size=32):
    """The golden clip, (b, t, 3, h, w)."""
    return sine((2, 3, frames, size, size), 0.37).transpose(1, 2)


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
@kernels
def test_evl_decoder(attention):
    model = evl.build(**TINY_EVL, attention=attention)
    bare = {  # the authors' trunk and decoder were run apart, each under its own names
        k: weight(k.removeprefix("backbone.").removeprefix("decoder."), x.shape)
        for k, x in official_state_dict(model).items()
    }
    load_official(model, bare)
    out = model.eval().decoder(model._features(clip()))
    first = [-0.62316, -0.16848, 0.00876, 0.3775, -0.71857]
    assert_golden(out, (2, 1, 24), first, -0.7777, 14.3205)


@torch.no_grad()
@kernels
def test_evl_on_a_grid_of_three_by_three_and_five_frames(attention):
    sizes = {"width": 32, "depth": 4, "heads": 2, "decoder_layers": 4, "image_size": 48}
    model = fill(evl.build(**{**TINY_VIT, **sizes, "frames": 5}, attention=attention))
    first = [-0.56760, 0.11317, 0.29304, -0.55680, 0.49801]
    assert_golden(model(clip(5, 48)), (2, 5), first, -0.41808, 3.95670)


@torch.no_grad()
@kernels
def test_side4video(attention):
    model = fill(side4video.build(**TINY_SIDE, attention=attention))
    first = [-3.21690, 19.04018, -12.25609, -9.21102, 19.81627]
    assert_golden(model(clip()), (2, 5), first, 28.23794, 127.29224)


@torch.no_grad()
def test_side4video_with_two_heads_on_a_grid_of_four_by_four():
    sizes = {"width": 32, "depth": 3, "heads": 2, "side_width": 128, "image_size": 64}
    model = fill(side4video.build(**{**TINY_SIDE, **sizes, "frames": 5}))
    first = [-2.38135, -7.11762, 11.75345, -8.85437, 0.45840]
    assert_golden(model(clip(5, 64)), (2, 5), first, -12.28288, 61.12899)


@torch.no_grad()
def test_side4video_normalises_by_the_batch_while_it_trains():
    model = fill(side4video.build(**TINY_SIDE)).train()
    first = [1.53091, -1.71847, -0.26251, 1.87509, -1.11801]
    assert_golden(model(clip()), (2, 5), first, 0.19016, 14.54362)


@pytest.mark.parametrize(
    ("module", "total", "trainable"),
    [(evl, 118_982_032, 33_183_376), (side4video, 106_983_120, 21_185_232)],
)
def test_parameters_at_paper_scale_equal_the_official_models(module, total, trainable):
    model = on_meta(module, 8)
    assert n_params(model) == total
    assert n_params(model, trainable=True) == trainable


@pytest.mark.parametrize(
    ("module", "frames", "giga_macs"),
    [
        *((evl, t, g) for t, g in ((8, 151.3), (16, 303.0), (32, 606.5), (64, 1213.5))),
        *((side4video, t, g) for t, g in ((8, 175.7), (16, 351.4), (32, 702.8), (64, 1405.5))),
    ],
)
def test_macs_at_paper_scale_equal_the_analytic_table(module, frames, giga_macs):
    macs = on_meta(module, frames).macs()
    assert sum(macs.values()) / GIGA == pytest.approx(giga_macs, rel=1e-3)


def test_evl_published_its_macs_without_the_maps_between_frames():
    maps = 4 * 2 * attention_macs(7, 196, 196, 768)  # layers, neighbours; query-key and read-out
    assert (sum(on_meta(evl, 8).macs().values()) - maps) / GIGA == pytest.approx(148.0, abs=0.05)


def test_evl_has_the_authors_names_and_shapes():
    theirs = {k: tuple(x.shape) for k, x in official_state_dict(on_meta(evl, 8)).items()}
    linears = ("attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.out_proj", "mlp.fc1", "mlp.fc2")
    block = {f"{n}.{kind}" for n in (*linears, "norm1", "norm2") for kind in ("weight", "bias")}
    prefix = "backbone.blocks.11."
    assert {k.removeprefix(prefix) for k in theirs if k.startswith(prefix)} == block
    prefix = "decoder.decoder_layers.3."
    layer = {k.removeprefix(prefix) for k in theirs if k.startswith(prefix)}
    assert layer == block | {"norm3.weight", "norm3.bias"}
    assert theirs["backbone.patch_embed.proj.weight"] == (768, 768)
    assert theirs["backbone.patch_embed.proj.bias"] == (768,)
    assert theirs["backbone.cls_token"] == theirs["decoder.cls_token"] == (768,)
    assert theirs["backbone.pos_embed"] == (197, 768)
    assert theirs["decoder.temporal_conv.3.weight"] == (768, 1, 3)
    assert theirs["decoder.temporal_pos_embed.3"] == (8, 768)
    assert theirs["decoder.cross_attention.3.w2"] == (729, 768)
    assert theirs["proj.2.weight"] == (400, 768)
    trunk, decoder = 5 + 1 + 12 * 16, 4 * (16 + 2 + 2 + 1 + 2) + 1
    assert len(theirs) == trunk + decoder + 4  # the trunk has ln_pre, and no norm at its end


def test_side4video_has_the_authors_names_and_shapes():
    theirs = {k: tuple(x.shape) for k, x in official_state_dict(on_meta(side4video, 8)).items()}
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    layers = ("conv.0", "conv.1", "conv.2", "mlp.fc1", "mlp.fc2", "attn.out_proj", "ln_1")
    block = {f"{n}.{kind}" for n in layers for kind in ("weight", "bias")}
    block |= {f"{n}.{kind}" for n in ("bn_1", "bn_2") for kind in norm}
    block |= {"attn.in_proj_weight", "attn.in_proj_bias"}
    prefix = "visual.transformer.side_transformer.11."
    assert {k.removeprefix(prefix) for k in theirs if k.startswith(prefix)} == block
    assert theirs[f"{prefix}conv.0.weight"] == (320, 320, 1, 1, 1)
    assert theirs[f"{prefix}conv.1.weight"] == (320, 1, 3, 1, 1)
    assert theirs[f"{prefix}attn.in_proj_weight"] == (960, 320)
    assert theirs["visual.transformer.side_spatial_position_embeddings"] == (196, 320)
    assert theirs["visual.transformer.side_linears.11.weight"] == (320, 768)
    assert theirs["visual.transformer.side_lns.11.bias"] == (768,)
    assert theirs["visual.side_conv1.weight"] == (320, 3, 3, 16, 16)
    assert theirs["visual.side_pre_bn3d.running_var"] == (320,)
    assert theirs["visual.side_post_bn.num_batches_tracked"] == ()
    assert theirs["visual.transformer.resblocks.11.mlp.c_fc.weight"] == (3072, 768)
    assert theirs["visual.class_embedding"] == (768,)
    assert theirs["fc.weight"] == (400, 320)
    trunk, side = 5 + 12 * 12, 12 * (len(block) + 4) + 1 + 2 + 2 * 5
    assert len(theirs) == trunk + side + 2  # no norm at the trunk's end, no projection


def test_the_checkpoints_of_evl_hold_no_trunk():
    model, other = (fill(evl.build(**TINY_EVL)) for _ in range(2))
    trunk = {k: x.clone() for k, x in model.trunk.state_dict().items()}
    trained = {k: 2 * x for k, x in official_state_dict(other).items() if "backbone." not in k}
    loaded = load_official(model, {"model": {f"module.{k}": x for k, x in trained.items()}})
    assert set(loaded.loaded) == set(trained)
    assert len(loaded.left) == 5 + 1 + 3 * 16
    assert all(torch.equal(model.trunk.state_dict()[k], x) for k, x in trunk.items())
    assert torch.equal(official_state_dict(model)["proj.2.bias"], trained["proj.2.bias"])


@torch.no_grad()
def test_running_statistics_travel_under_the_authors_names():
    model, twin = fill(side4video.build(**TINY_SIDE)), side4video.build(**TINY_SIDE).eval()
    for _ in range(3):
        model.train()(clip())
    theirs = official_state_dict(model)
    assert theirs["visual.side_pre_bn3d.num_batches_tracked"] == 3
    state = {f"module.{k}": x for k, x in theirs.items()}
    load_official(twin, {"model_state_dict": {**state, "module.logit_scale": torch.tensor(4.6)}})
    buffers = dict(twin.named_buffers())
    assert len(buffers) == 3 * (2 + 2 * 2)
    assert all(torch.equal(buffers[k], x) for k, x in model.named_buffers())
    assert torch.equal(twin(clip()), model.eval()(clip()))


@both
def test_the_trunk_keeps_nothing_but_what_trained_layers_read(module, sizes):
    model = fill(module.build(**sizes)).train()
    assert not any(layer.training for layer in model.trunk.modules())
    assert not any(p.requires_grad for p in model.trunk.parameters())
    video = clip().clone().requires_grad_()  # not even its own gradient passes through the trunk
    assert "trunk" not in saved_bytes(model, video, "flash_cpu")[1]
    model(video).square().sum().backward()
    assert all(p.grad is None for p in model.trunk.parameters())
    assert (video.grad is None) == (module is evl)  # Side4Video's own stem sees the video


def test_what_evl_keeps_does_not_grow_with_the_trunk():
    def kept(depth):
        with torch.device("meta"):
            model = evl.build(**{**TINY_EVL, "depth": depth})
        return saved_bytes(model, clip().to("meta"), "flash_cpu").by_class.total()

    assert kept(8) == kept(2) > 0


def test_patches_found_in_a_neighbouring_frame_become_the_vector_of_their_offset():
    side, width = 3, 5
    layer = evl.CrossFrames(side, width)
    layer.w1.data, layer.w2.data = w1, w2 = noise(25, width), noise(25, width).neg()
    here = 40 * torch.eye(9).view(side, side, 9)  # a code for each place, too sharp to be mixed up
    seen = torch.stack([here, here.roll((1, 1), (0, 1))])  # what was at (0, 0) moves to (1, 1)
    codes = seen.flatten(1, 2)[None, :, None]  # (b, t, heads, n, e)
    found = layer(codes, codes)
    down_right, up_left = (1 + 2) * 5 + (1 + 2), (-1 + 2) * 5 + (-1 + 2)  # query minus key
    torch.testing.assert_close(found[0, 1, 4], w1[down_right])  # (1, 1) was found at (0, 0)
    torch.testing.assert_close(found[0, 0, 0], w2[up_left])
    twice = torch.cat([codes, codes], 2)
    torch.testing.assert_close(layer(twice, twice), found)  # heads are averaged
    assert not layer(codes[:, :1], codes[:, :1]).any()  # a single frame has no neighbour


@torch.no_grad()
def test_time_enters_evl_by_convolution_offsets_and_places_alone():
    model = fill(evl.build(**TINY_EVL))
    assert not torch.allclose(model(clip()), model(clip().flip(1)), atol=1e-3)
    for name, p in model.decoder.named_parameters():
        if name.startswith(("temporal_", "cross_attention.")):
            p.zero_()
    torch.testing.assert_close(model(clip()), model(clip().flip(1)))


def test_a_fresh_evl_starts_without_offsets_places_and_query():
    decoder = evl.build(**TINY_EVL).decoder
    zeros = ("cls_token", ".w1", ".w2", "_proj.bias")
    started = {
        name: bool(p.any())
        for name, p in decoder.named_parameters()
        if name.endswith(zeros) or name.startswith("temporal_")
    }
    assert {name for name, any_ in started.items() if any_} == {
        f"temporal_conv.{i}.{kind}" for i in range(2) for kind in ("weight", "bias")
    }
    assert 0 < decoder.decoder_layers[0].mlp.fc1.bias.abs().max() < 1e-5


def test_the_cls_token_comes_half_from_the_next_frame_and_half_from_the_one_before():
    cls = torch.arange(1.0, 5)[None, :, None].expand(1, 4, 6)  # frame t says t + 1
    want = [[2, 2, 2, 0, 0, 0], [3, 3, 3, 1, 1, 1], [4, 4, 4, 2, 2, 2], [0, 0, 0, 3, 3, 3]]
    assert side4video.shifted(cls)[0].tolist() == want
    assert not side4video.shifted(cls[:, :1]).any()


@pytest.mark.parametrize("depth", [1, 3])
def test_a_fresh_side_block_starts_as_the_authors_do_whatever_the_depth(depth):
    torch.manual_seed(0)
    model = side4video.build(**{**TINY_SIDE, "depth": depth, "side_width": 256})
    block = model.side_transformer[-1]
    stds = {
        block.attn.in_proj_weight: 256**-0.5,
        block.attn.out_proj.weight: (256 * 24) ** -0.5,
        block.ffn.fc1.weight: 512**-0.5,
        block.ffn.fc2.weight: (256 * 24) ** -0.5,
        model.side_spatial_position_embeddings: 0.01,
    }
    for p, std in stds.items():
        assert p.std().item() == pytest.approx(std, rel=0.06)
    assert not block.attn.in_proj_bias.any()
    assert not block.attn.out_proj.bias.any()


@both
@pytest.mark.parametrize("backbone", ["vit", "vit_clip"])
def test_the_trunk_comes_from_the_image_twin_whole(module, sizes, backbone):
    twin = frame_mean.build(**TINY_VIT | {"depth": sizes["depth"]}, backbone=backbone)
    state = {k: noise(*x.shape) for k, x in twin.state_dict().items()}
    model = module.build(**sizes, clip=backbone == "vit_clip")
    model.load_image_weights(state)
    for name, x in model.trunk.state_dict().items():
        if name == "patch_embed.proj.bias" and backbone == "vit_clip":
            assert not x.any()  # CLIP has none
        else:
            assert torch.equal(x, state[f"backbone.net.{name}"]), name
    for lost in ("backbone.net.norm.weight", "backbone.net.blocks.1.mlp.fc2.bias"):
        with pytest.raises(ValueError, match="nothing was loaded; missing: "):
            model.load_image_weights({k: x for k, x in state.items() if k != lost})


@pytest.mark.parametrize(
    ("module", "options", "line"),
    [
        (evl, {"decoder_layers": 0}, "from 1 to depth 2, got 0"),
        (evl, {"decoder_layers": 3}, "from 1 to depth 2, got 3"),
        (evl, {"attention": "spda", "decoder_layers": 1}, "did you mean 'sdpa'"),
        (side4video, {"side_width": 32}, "take a multiple of 64"),
        (side4video, {"side_width": 129}, "take a multiple of 64"),
        (side4video, {"attention": "flash"}, "there are: eager, sdpa"),
    ],
)
def test_options_that_do_not_exist_are_refused_in_one_line(module, options, line):
    with pytest.raises(ValueError, match=rf"^[^\n]*{line}[^\n]*$"):
        module.build(**TINY_VIT, **options)


@both
def test_other_frames_or_sizes_are_refused_in_one_line(module, sizes):
    model = module.build(**sizes)
    with pytest.raises(ValueError, match=r"^this model was built for 4 frames, got 3.*$"):
        model(clip(3))
    with pytest.raises(ValueError, match=r"^video must be \(b, t, 3, 32, 32\).*$"):
        model(clip(4, 48))
