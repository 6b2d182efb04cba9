"""TimeMamba equals a plain reading of its authors' layout, and costs what their table says."""

import pytest
import torch
import torch.nn.functional as F

from baselines import frame_mean, time_mamba
from pks4.macs import scan_flops, scan_macs
from pks4.models import bidirectional_mamba
from pks4.models.bidirectional_mamba import Mixer
from pks4.weights.official import load_official, official_state_dict
from tests.factories.golden import (
    GIGA,
    TINY_VIT,
    n_params,
    on_meta,
    sine,
)
from tests.factories.models import shake
from tests.factories.plain_mamba import plain_mixer

pytestmark = pytest.mark.contract

VIT_CLIP, BLOCKS = 85_799_424, 24_035_340


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
