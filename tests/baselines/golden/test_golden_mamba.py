"""Mamba rivals equal the authors' code, or a plain reading of it where that code cannot run.

The rows marked `official` are outputs of the authors' code. The loops here are a second reading of
it: sequence by sequence, step by step, turned around for the way back, in float64. Weights are
those of test_golden, by official name.
"""

import math

import pytest
import torch
import torch.nn.functional as F

from baselines import video_mamba, video_mamba_pro
from baselines.video_mamba_pro import ResidualMixer, residual_scan
from pks4.macs import scan_flops, scan_macs
from pks4.models.bidirectional_mamba import Mixer
from pks4.weights.official import load_official, official_state_dict
from tests.factories.golden import (
    GIGA,
    TINY,
    assert_golden,
    fill,
    golden,
    n_params,
    on_meta,
    sine,
)
from tests.factories.models import shake
from tests.factories.plain_mamba import plain_mixer, plain_scan

pytestmark = pytest.mark.contract

SMALL = {**TINY, "width": 32, "depth": 3}
networks = pytest.mark.parametrize(
    "module", [video_mamba, video_mamba_pro], ids=["video_mamba", "video_mamba_pro"]
)


def filled(mixer):
    """A mixer with golden weights in float64, and its state dict."""
    mixer.load_state_dict(golden(mixer.state_dict()))
    return mixer.double(), mixer.double().state_dict()


def scan_inputs(d=3, n=2, t=5, s=1, b=2):
    """u, delta, A, B, C, D, bias of `scan_sites` in float64, all of them learned."""
    shapes = [(b, t, s, d), (b, t, s, d), (d, n), (b, t, s, n), (b, t, s, n), (d,), (d,)]
    inputs = [sine(shape, 0.37 + i / 10, i).double() for i, shape in enumerate(shapes)]
    inputs[2] = -inputs[2].abs() - 0.1
    return [x.requires_grad_() for x in inputs]


@torch.no_grad()
@pytest.mark.parametrize("backend", ["reference", "recompute", "numba"])
def test_the_residual_scan_equals_the_official_one(backend):
    u, B = sine((1, 3, 5), 0.37), sine((1, 2, 5), 0.37)  # (b, d, l) and (b, n, l)
    A, D = -torch.tensor([[1.0, 2.0]] * 3), torch.ones(3)
    sites = [x.transpose(1, 2)[:, :, None] for x in (u, 0.1 * u, B, B + 0.5)]
    v, delta, *BC = sites
    y = residual_scan(v, delta, A, *BC, D, torch.zeros(3), backend=backend)
    out = y[:, :, 0].transpose(1, 2) * F.silu(u)
    assert_golden(out, (1, 3, 5), [0, 0.15079, 0.63772, 1.33703, 1.90446], 10.0113, 10.0113)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("t", [1, 2, 5])
def test_the_residual_scan_equals_the_loop_of_the_paper_with_gradients(t, reverse, masked):
    inputs = scan_inputs(t=t, s=2)
    u, delta, A, B, C, D, bias = inputs
    y = residual_scan(*inputs, reverse=reverse, masked=masked, backend="reference")
    plain = torch.empty_like(y)
    for b in range(2):
        for s in range(2):
            turned = [x[b, :, s].flip(0) if reverse else x[b, :, s] for x in (u, delta, B, C)]
            v, low, *BC = turned
            row = plain_scan(v, F.softplus(low + bias), A, *BC, D, True, masked)
            plain[b, :, s] = row.flip(0) if reverse else row
    torch.testing.assert_close(y, plain)
    g = sine(y.shape, 0.9).double()
    ours, theirs = (
        torch.autograd.grad(out, inputs, g, materialize_grads=True) for out in (y, plain)
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_the_masked_scan_gives_its_first_step_nothing_but_the_skip():
    u, *rest = scan_inputs()
    D = rest[-2]
    for reverse, first in ((False, 0), (True, -1)):
        y = residual_scan(u, *rest, reverse=reverse, masked=True, backend="reference")
        torch.testing.assert_close(y[:, first], D * u[:, first])


@torch.no_grad()
@pytest.mark.parametrize("kind", [Mixer, ResidualMixer])
@pytest.mark.parametrize(
    ("width", "sizes", "t"),
    [(16, {}, 7), (40, {"state": 3, "expand": 1, "taps": 2}, 1), (20, {"expand": 3}, 2)],
)
def test_a_mixer_equals_its_plain_loop_at_every_site(kind, width, sizes, t):
    mixer, weights = filled(kind(width, scan_backend="reference", **sizes))
    x = 5 * sine((2, t, 3, width), 0.37).double()
    out = mixer(x)
    for b in range(2):
        for s in range(3):
            want = plain_mixer(weights, x[b, :, s], kind is ResidualMixer)
            torch.testing.assert_close(out[b, :, s], want)
    torch.testing.assert_close(mixer(x[:, :, 1]), out[:, :, 1])  # one site may go without its axis


@pytest.mark.parametrize("kind", [Mixer, ResidualMixer])
def test_the_scan_backend_changes_neither_outputs_nor_gradients_of_a_mixer(kind):
    grads = []
    for backend in ("reference", "recompute", "numba"):
        mixer = kind(16, state=4, scan_backend=backend)
        mixer.load_state_dict(golden(mixer.state_dict()))
        x = sine((2, 5, 3, 16), 0.37).requires_grad_()
        y = mixer(x)
        grads.append([y, *torch.autograd.grad(y.square().sum(), [x, *mixer.parameters()])])
    for other in grads[1:]:
        for a, b in zip(grads[0], other, strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3)


@torch.no_grad()
def test_video_mamba_pro_equals_a_plain_reading_of_its_readme(video):
    model = shake(video_mamba_pro.build(**SMALL, scan_backend="reference")).double()
    state, video = model.state_dict(), video.double()
    b, t = video.shape[:2]
    x = F.conv3d(
        video.transpose(1, 2),
        state["patch_embed.proj.weight"],
        state["patch_embed.proj.bias"],
        stride=(1, 16, 16),
    )  # (b, d, t, h, w)
    x = x.permute(0, 2, 3, 4, 1).reshape(b, t, -1, x.shape[1]) + state["pos_embed"][:, None, 1:]
    x = x + state["temporal_pos_embedding"][:, :, None]
    cls = (state["cls_token"] + state["pos_embed"][:, :1]).repeat(b, 1, 1)
    x = torch.cat([cls, x.reshape(b, -1, x.shape[-1])], 1)
    for i in range(len(model.layers)):
        start = f"layers.{i}.mixer."
        own = {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
        normed = F.rms_norm(x, x.shape[-1:], state[f"layers.{i}.norm.weight"], 1e-5)
        x = x + torch.stack([plain_mixer(own, row, True) for row in normed])
    x = F.rms_norm(x[:, 0], x.shape[-1:], state["norm_f.weight"], 1e-5)
    want = x @ state["head.weight"].T + state["head.bias"]
    torch.testing.assert_close(model(video), want)


@torch.no_grad()
def test_video_mamba_pro_takes_weights_of_video_mamba_and_reads_them_differently(video):
    model, pro = fill(video_mamba.build(**SMALL)), video_mamba_pro.build(**SMALL).eval()
    theirs = official_state_dict(model)
    assert set(load_official(pro, theirs).loaded) == set(theirs) == set(official_state_dict(pro))
    assert (pro(video) - model(video)).abs().max() > 0.01


@pytest.mark.parametrize(
    ("size", "frames", "total"),
    [("Ti", 8, 7_033_744), ("S", 8, 25_568_656), ("M", 8, 73_875_856), ("M", 16, 73_880_464)],
)
@networks
def test_parameters_of_every_size_equal_the_official_models(module, size, frames, total):
    model = on_meta(module, frames, **module.SIZES[size])
    assert n_params(model) == n_params(model, trainable=True) == total


@pytest.mark.parametrize(
    ("size", "frames", "published", "with_linears", "with_scan"),
    [
        ("Ti", 16, 17.2, 20.7, 29.1),
        ("Ti", 64, 68.7, 82.6, 116.4),
        ("S", 32, 135.3, 154.8, 188.5),
        ("M", 16, 201.5, 226.5, 260.3),
        ("M", 64, 805.9, 905.8, 1040.8),
    ],
)
def test_macs_of_video_mamba_equal_the_table_with_and_without_what_was_left_out(
    size, frames, published, with_linears, with_scan
):
    model = on_meta(video_mamba, frames, **video_mamba.SIZES[size])
    macs, tokens = model.macs(), 1 + 196 * frames
    depth, width = len(model.layers), model.head.in_features
    norms = 5 * tokens * width * (depth + 1)  # the published tool counts them, macs/v1 does not
    scan = (tokens * 2 * depth, 2 * width, 16)
    linears = sum(macs.values()) - scan_macs(*scan) + norms
    assert (macs["backbone"] + norms) / GIGA == pytest.approx(published, abs=0.06)
    assert linears / GIGA == pytest.approx(with_linears, abs=0.06)
    assert (linears + scan_flops(*scan)) / GIGA == pytest.approx(with_scan, abs=0.06)


def test_macs_of_video_mamba_at_384_pixels_equal_the_published_number():
    macs, tokens = on_meta(video_mamba, 64, image_size=384).macs(), 1 + 64 * 24 * 24
    norms = 5 * tokens * 576 * 33
    assert (macs["backbone"] + norms) / GIGA == pytest.approx(2368.15, abs=0.01)


def test_video_mamba_pro_pays_for_one_more_step_of_every_scan():
    plain, pro = (on_meta(m, 8).macs(3) for m in (video_mamba, video_mamba_pro))
    assert pro["temporal"] - plain["temporal"] == scan_macs(3 * 2 * 32, 1152, 16)
    assert {k: v for k, v in pro.items() if k != "temporal"} == {
        k: v for k, v in plain.items() if k != "temporal"
    }


@networks
def test_a_tubelet_takes_several_frames_to_one_slice(module):
    model = module.build(**SMALL, tubelet=2)
    assert model.patch_embed.proj.weight.shape == (32, 3, 2, 16, 16)
    assert model.temporal_pos_embedding.shape == (1, 2, 32)
    for tubelet, line in ((3, r"^frames 4 is not a multiple of tubelet 3$"), (0, r"^tubelet must")):
        with pytest.raises(ValueError, match=line):
            module.build(**SMALL, tubelet=tubelet)


@torch.no_grad()
@pytest.mark.parametrize("tubelet", [1, 2, 4])
@pytest.mark.parametrize("dims", [4, 5])
@networks
def test_an_image_kernel_goes_to_the_centre_tap(module, dims, tubelet):
    image = fill(module.build(**{**SMALL, "frames": 1})).state_dict()
    if dims == 4:  # as in the authors' ImageNet models
        image["patch_embed.proj.weight"] = image["patch_embed.proj.weight"][:, :, 0]
    centre, model = tubelet // 2, module.build(**SMALL, tubelet=tubelet).eval()
    model.load_image_weights(image)
    plain = module.build(**{**SMALL, "frames": 4 // tubelet}).eval()
    plain.load_image_weights(image)
    plain.head = model.head
    clip = sine((2, 3, 4, 32, 32), 0.37).transpose(1, 2)
    torch.testing.assert_close(model(clip), plain(clip[:, centre::tubelet]))


@networks
def test_embeddings_of_another_size_are_resized_as_the_authors_do(module):
    small = official_state_dict(fill(module.build(**SMALL)))
    large = module.build(**{**SMALL, "frames": 6, "image_size": 48})
    loaded = load_official(large, small)
    assert set(loaded.resized) == {"pos_embed", "temporal_pos_embedding"}
    cls, rest = small["pos_embed"].split([1, 4], 1)
    grid = rest.view(1, 2, 2, 32).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, (3, 3), mode="bicubic", align_corners=False)
    place = torch.cat([cls, grid.permute(0, 2, 3, 1).reshape(1, 9, 32)], 1)
    torch.testing.assert_close(large.pos_embed.data, place)
    time = small["temporal_pos_embedding"].transpose(1, 2)
    time = F.interpolate(time, 6, mode="linear", align_corners=False).transpose(1, 2)
    torch.testing.assert_close(large.temporal_pos_embedding.data, time)


def test_video_mamba_starts_as_the_authors_code_ends():
    torch.manual_seed(0)
    model = video_mamba.build(frames=2, num_classes=5, width=192, depth=2, image_size=32)
    mixer = model.layers[1].mixer
    bound = 1 / math.sqrt(384) / math.sqrt(2)
    assert 0.95 * bound < mixer.out_proj.weight.abs().max() <= bound
    for end in ("", "_b"):
        assert not getattr(mixer, f"dt_proj{end}").bias.any()
        for layer in ("x_proj", "dt_proj"):
            std = getattr(mixer, layer + end).weight.std().item()
            assert std == pytest.approx(0.02, rel=0.1)
        assert torch.equal(getattr(mixer, f"A{end}_log").exp().round()[7], torch.arange(1, 17.0))
        assert (getattr(mixer, f"D{end}") == 1).all()
    assert model.pos_embed.std().item() == pytest.approx(0.02, rel=0.2)
    assert not model.cls_token.any()
    assert not model.temporal_pos_embedding.any()
