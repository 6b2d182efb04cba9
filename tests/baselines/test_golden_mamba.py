"""Mamba rivals equal the authors' code, or a plain reading of it where that code cannot run.

The rows marked `official` are outputs of the authors' code. The loops here are a second reading of
it: sequence by sequence, step by step, turned around for the way back, in float64. Weights are
those of test_golden, by official name.
"""

import math

import pytest
import torch
import torch.nn.functional as F

from baselines import frame_mean, time_mamba, video_mamba, video_mamba_pro
from baselines.video_mamba_pro import ResidualMixer, residual_scan
from pks4.macs import scan_flops, scan_macs
from pks4.models import bidirectional_mamba
from pks4.models.bidirectional_mamba import Mixer
from pks4.weights.official import load_official, official_state_dict
from tests.factories.golden import (
    GIGA,
    TINY,
    TINY_VIT,
    assert_golden,
    fill,
    golden,
    n_params,
    on_meta,
    sine,
)
from tests.factories.models import shake

SMALL = {**TINY, "width": 32, "depth": 3}
VIT_CLIP, BLOCKS = 85_799_424, 24_035_340
networks = pytest.mark.parametrize(
    "module", [video_mamba, video_mamba_pro], ids=["video_mamba", "video_mamba_pro"]
)


def plain_scan(u, dt, A, B, C, D, residual, masked):
    """One sequence forwards: u and dt (l, e), dt after softplus, A (e, n), B and C (l, n)."""
    h, rows = torch.zeros_like(A) + (u[0][:, None] if residual else 0), []
    for i in range(len(u)):
        own = dt[i][:, None] * u[i][:, None] * B[i]
        h = torch.exp(dt[i][:, None] * A) * h + own
        read = (h - own if masked else h) @ C[i]
        rows.append(D * u[i] + (0 if masked and i == 0 else read))
    return torch.stack(rows)


def plain_mixer(weights, x, residual):
    """The mixer on one sequence x (l, d); `residual` is VideoMambaPro's."""
    u, z = (x @ weights["in_proj.weight"].T).chunk(2, -1)
    y = plain_way(weights, u, "", residual, False) * F.silu(z)
    back = plain_way(weights, u.flip(0), "_b", residual, residual) * F.silu(z.flip(0))
    return (y + back.flip(0)) @ weights["out_proj.weight"].T


def plain_way(weights, u, end, residual, masked):
    """Convolution and scan of u (l, e), in the order in which it lies, with one way's weights."""
    kernel = weights[f"conv1d{end}.weight"][:, 0]  # (e, k)
    past = torch.cat([u.new_zeros(kernel.shape[1] - 1, u.shape[1]), u])
    c = sum(past[k : k + len(u)] * kernel[:, k] for k in range(kernel.shape[1]))
    c = F.silu(c + weights[f"conv1d{end}.bias"])
    A, to_step = -weights[f"A{end}_log"].exp(), weights[f"dt_proj{end}.weight"]
    sizes = (to_step.shape[1], A.shape[1], A.shape[1])
    low, B, C = (c @ weights[f"x_proj{end}.weight"].T).split(sizes, -1)
    dt = F.softplus(low @ to_step.T + weights[f"dt_proj{end}.bias"])
    return plain_scan(c, dt, A, B, C, weights[f"D{end}"], residual, masked)


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


def time_model(frames=4, **options):
    """TimeMamba small enough to run in milliseconds, the same weights each time."""
    torch.manual_seed(0)
    return time_mamba.build(**{**TINY_VIT, "frames": frames, **options})


def plain_time_mamba(model, video):
    """TimeMamba as its authors lay it out: tokens (h w t) behind the cls token, one row a place."""
    trunk, (b, t) = model.trunk, video.shape[:2]
    x = trunk.patch_embed(video.flatten(0, 1))  # (b*t, n, d)
    x = torch.cat([trunk.cls_token.expand(b * t, -1, -1), x], 1) + trunk.pos_embed
    x = x.unflatten(0, (b, t))
    cls, x = x[:, 0, :1], x[:, :, 1:].transpose(1, 2)  # (b, 1, d), (b, n, t, d)
    n = x.shape[1]
    if model.temporal_embed is not None:
        x = x + model.temporal_embed[:, None]
    x = trunk.norm_pre(torch.cat([cls, x.flatten(1, 2)], 1))
    for block, time in zip(trunk.blocks, model.times, strict=True):
        cls, entered = x[:, :1], x[:, 1:].reshape(b * n, t, -1)
        weights = time.time_mamba.state_dict()
        rows = [plain_mixer(weights, row, False) for row in time.norm3(entered)]
        p = entered + torch.tanh(time.alpha_timeattn) * torch.stack(rows)
        frames = p.unflatten(0, (b, n)).transpose(1, 2).flatten(0, 1)  # (b*t, n, d)
        frames = torch.cat([cls.repeat_interleave(t, 0), frames], 1)
        r = block.attn(block.norm1(frames)).unflatten(0, (b, t))
        space = r[:, :, 1:].transpose(1, 2).flatten(1, 2)  # (b, n*t, d)
        if model.style == "timesformer-div":
            x = torch.cat([cls, p.reshape(b, n * t, -1)], 1)
        x = x + torch.cat([r[:, :, 0].mean(1, keepdim=True), space], 1)
        x = x + block.mlp(block.norm2(x))
    return model.fc_cls(trunk.norm(x)[:, 0])


@torch.no_grad()
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("style", time_mamba.STYLES)
@pytest.mark.parametrize("options", [{}, {"depth": 3, "state": 5}, {"temporal_embedding": False}])
def test_time_mamba_equals_a_plain_reading_in_the_authors_layout(video, options, style, clip):
    model, video = shake(time_model(style=style, clip=clip, **options)).double(), video.double()
    torch.testing.assert_close(model(video), plain_time_mamba(model, video))


def test_time_mamba_adds_as_many_parameters_as_the_authors_blocks():
    head, embedding = 768 * 400 + 400, 8 * 768
    model = on_meta(time_mamba, 8)
    assert n_params(model) == n_params(model, trainable=True)
    assert n_params(model) == VIT_CLIP + BLOCKS + embedding + head
    assert n_params(model.times) == BLOCKS
    assert n_params(on_meta(time_mamba, 8, temporal_embedding=False)) == VIT_CLIP + BLOCKS + head


def test_macs_of_time_mamba_equal_the_table_and_the_scan():
    macs, scan = on_meta(time_mamba, 8).macs(), (8 * 196 * 2 * 12, 768, 16)
    other_cls_tokens = 12 * 7 * 8 * 768**2  # the table has one a frame go through the MLPs
    linears = sum(macs.values()) - scan_macs(*scan) + other_cls_tokens
    assert linears / GIGA == pytest.approx(177.6, rel=1e-3)
    assert scan_flops(*scan) / GIGA == pytest.approx(4.2, rel=1e-2)


def test_time_mamba_has_the_names_of_the_authors_code():
    theirs = official_state_dict(time_model())
    both = {f"{layer}.{kind}" for kind in ("weight", "bias") for layer in (
        "norm1", "attn.Wqkv", "attn.out_proj", "norm2", "mlp.fc1", "mlp.fc2", "norm3",
    )}  # fmt: skip
    mixer = {f"time_mamba.{name}" for name in Mixer(24, expand=1).state_dict()}
    own = {k.removeprefix("blocks.1.") for k in theirs if k.startswith("blocks.1.")}
    assert own == both | mixer | {"alpha_timeattn"}
    assert theirs["blocks.1.alpha_timeattn"].shape == ()
    assert {k.split(".")[0] for k in theirs} == {
        *("cls_token", "pos_embed", "temporal_embed", "patch_embed", "ln_pre", "blocks", "norm"),
        "fc_cls",
    }
    saved = {k if k.startswith("fc_cls") else f"visual.{k}": v for k, v in theirs.items()}
    assert set(load_official(time_model(), saved).loaded) == set(theirs)


@torch.no_grad()
@pytest.mark.parametrize("style", time_mamba.STYLES)
@pytest.mark.parametrize("frames", [1, 3])
def test_a_fresh_time_mamba_is_the_image_model_and_blind_to_frame_order(frames, style):
    twin = frame_mean.build(**{**TINY_VIT, "frames": 1}).eval()
    model = time_model(frames, style=style, clip=False).eval()
    model.load_image_weights(twin.state_dict())
    clip = sine((2, frames, 3, 32, 32), 0.61)
    torch.testing.assert_close(model(clip), model(clip.flip(1)))
    still = clip[:, :1].expand(-1, frames, -1, -1, -1)
    want = model.fc_cls(twin.backbone.net.forward_features(still[:, 0])[:, 0])
    torch.testing.assert_close(model(still), want)


@torch.no_grad()
def test_time_mamba_sees_frame_order_and_its_style_once_alpha_has_moved(video):
    model = shake(time_model(temporal_embedding=False)).eval()
    assert (model(video) - model(video.flip(1))).abs().max() > 0.01
    frozen = shake(time_model(style="frozen-in-time", temporal_embedding=False)).eval()
    assert (model(video) - frozen(video)).abs().max() > 0.01
    for block in (*model.times, *frozen.times):
        block.alpha_timeattn.zero_()
    torch.testing.assert_close(model(video), model(video.flip(1)))
    torch.testing.assert_close(model(video), frozen(video))


def test_the_first_step_of_training_opens_the_gate_and_nothing_behind_it(video):
    model = time_model()
    model(video).square().sum().backward()
    for time in model.times:
        assert time.alpha_timeattn.grad != 0
        assert not any(p.grad.any() for p in time.time_mamba.parameters())


def test_the_scan_of_time_mamba_gets_its_sites_as_they_lie(video, monkeypatch):
    seen, scan = [], bidirectional_mamba.scan_sites

    def noted(u, *args, reverse, **kwargs):
        seen.append((tuple(u.shape), u.is_contiguous(), reverse))
        return scan(u, *args, reverse=reverse, **kwargs)

    monkeypatch.setattr(bidirectional_mamba, "scan_sites", noted)
    time_model()(video)
    shape = (2, 4, 4, 24)  # (b, t, sites, e)
    assert seen == [(shape, True, False), (shape, True, True)] * 2


def test_steps_of_time_mamba_start_as_mambas_forwards_and_as_a_linear_layers_backwards():
    mixer = time_model(width=96, heads=3).times[0].time_mamba
    steps = F.softplus(mixer.dt_proj.bias)
    assert 0.001 <= steps.min() < 0.01 < steps.max() <= 0.1
    assert mixer.dt_proj_b.bias.abs().max() <= mixer.dt_proj_b.in_features**-0.5


def test_drop_path_of_time_mamba_acts_on_mlps_in_training_only(video):
    model, plain = (shake(time_model(drop_path=p)).eval() for p in (0.9, 0.0))
    torch.testing.assert_close(model(video), plain(video))
    torch.manual_seed(0)
    assert not torch.allclose(model.train()(video), plain(video))
    for block in model.trunk.blocks:
        block.drop_path2 = torch.nn.Identity()
    torch.testing.assert_close(model(video), plain(video))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"style": "timesformer"}, "did you mean 'timesformer-div'"),
        ({"attention": "spda"}, "did you mean 'sdpa'"),
        ({"heads": 5}, "width 24 is not a multiple of heads 5"),
        ({"scan_backend": "numbe"}, "did you mean 'numba'"),
    ],
)
def test_options_of_time_mamba_that_do_not_exist_are_refused(video, options, line):
    with pytest.raises(ValueError, match=line):
        time_model(**options)(video)


def test_time_mamba_drops_what_it_classifies(video):
    model = shake(time_model(dropout=0.5)).train()
    assert not torch.equal(model(video), model(video))
    assert torch.equal(model.eval()(video), shake(time_model()).eval()(video))


def test_the_step_of_time_mamba_starts_as_mambas_forwards_alone():
    mixer = time_model(width=96, heads=3).times[0].time_mamba
    forwards, backwards = (F.softplus(p.bias) for p in (mixer.dt_proj, mixer.dt_proj_b))
    assert forwards.min() >= 0.99e-3
    assert forwards.max() <= 1.01e-1
    assert backwards.min() > 0.4  # of a bias near zero


def test_image_weights_of_another_model_are_refused():
    state = frame_mean.build(**{**TINY_VIT, "frames": 1}).state_dict()
    lost = {k: v for k, v in state.items() if not k.endswith("norm.weight")}
    with pytest.raises(ValueError, match="nothing was loaded; missing: "):
        time_model(clip=False).load_image_weights(lost)
