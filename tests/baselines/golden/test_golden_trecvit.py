"""TRecViT equals its authors' code, costs what its card says, and streams exactly."""

import numpy as np
import pytest
import torch

from baselines import frame_mean, trecvit
from baselines.trecvit import RGLRU
from pks4.weights.official import load_official, official_state_dict
from tests.factories.fillings import assert_near, chirp, filled, of_flax
from tests.factories.golden import GIGA, TINY_VIT, n_params, on_meta, shaken, small_clip

pytestmark = pytest.mark.contract

A = {**TINY_VIT, "representation": 40}
C = {
    "frames": 3, "num_classes": 6, "width": 32, "depth": 1, "heads": 4, "patch_size": 16,
    "image_size": 48, "mlp_ratio": 1.5, "representation": 32, "pool": "mean",
}  # fmt: skip
SIZES = {
    "Ti": {"width": 192, "depth": 12, "heads": 3},
    "S": {"width": 384, "depth": 12, "heads": 6},
    "B": {},
    "L": {"width": 1024, "depth": 24, "heads": 16},
}


def golden(name=str, **options):
    """A small TRecViT with golden weights, in eval mode."""
    model = trecvit.build(**options)
    load_official(model, filled(official_state_dict(model), of_flax, name))
    return model.eval()


@torch.no_grad()
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_whole_model_equals_the_authors(attention):
    model, video = golden(**A, attention=attention), chirp((2, 4, 3, 32, 32))
    logits = [0.2698, 0.61833, -0.42913, -0.50775, 0.55997]
    assert_near(model(video), logits, 0.8394, 4.3351, (2, 5))
    tokens = [0.80045, 0.9585, -0.98847, -0.43541, 1.30723]
    assert_near(model.encode(video), tokens, -0.0894, 877.228, (2, 4, 5, 24))
    assert n_params(model) == 45_317


@torch.no_grad()
def test_the_mean_of_tokens_and_another_mlp_equal_the_authors():
    model = golden(**C)
    first = [0.78869, -0.76224, -0.59227, 0.91486, 0.35652]
    assert_near(model(chirp((1, 3, 3, 48, 48))), first, -0.3012, 4.4213, (1, 6))
    assert n_params(model) == 42_614


@torch.no_grad()
def test_the_recurrence_alone_equals_the_authors():
    net = RGLRU(8, 2)
    net.load_state_dict(filled(net.state_dict(), of_flax, lambda k: k.replace(".", "/")))
    out = net(chirp((2, 5, 8))[:, :, None])
    assert_near(out, [0.0, 0.05389, 0.37375, 0.80268, 0.23397], 3.1771, 31.6873)


@torch.no_grad()
def test_a_residual_block_alone_equals_the_authors():
    block = "encoder/residualblock_00/"
    sizes = {"width": 8, "depth": 1, "heads": 2, "conv_kernel": 2}
    model = golden(lambda k: k.removeprefix(block), **{**TINY_VIT, **sizes})
    out = model.recurrent[0](chirp((1, 5, 8))[:, :, None])
    assert_near(out, [0.18606, 0.50986, 0.49061, 0.86232, 1.23469], 3.5493, 25.0522)


@pytest.mark.parametrize(
    ("size", "num_classes", "total"),
    [
        ("Ti", 400, 11_230_864),
        ("S", 400, 37_154_704),
        ("B", 400, 136_778_128),
        ("B", 174, 136_083_630),
        ("L", 400, 471_797_136),
    ],
)
def test_parameters_of_every_size_equal_the_authors(size, num_classes, total):
    model = on_meta(trecvit, 8, num_classes, **SIZES[size])
    assert n_params(model) == n_params(model, trainable=True) == total


@pytest.mark.parametrize(
    ("frames", "giga_macs"), [(8, 215.0), (16, 430.1), (32, 860.1), (64, 1720.3)]
)
def test_macs_are_linear_in_frames(frames, giga_macs):
    macs = on_meta(trecvit, frames).macs()
    assert sum(macs.values()) / GIGA == pytest.approx(giga_macs, abs=0.06)
    assert macs["temporal"] / GIGA == pytest.approx(74.5 * frames / 8, rel=1e-3)


def test_it_loads_the_file_format_of_the_authors(tmp_path):
    model, other = trecvit.build(**A), golden(**A)
    np.savez(tmp_path / "B.npz", **{k: v.numpy() for k, v in official_state_dict(other).items()})
    load_official(model, tmp_path / "B.npz")
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in model.state_dict().items())


@torch.no_grad()
def test_order_and_the_whole_first_frame_matter():
    model, video = golden(**A), chirp((2, 4, 3, 32, 32))
    forward, backward = model(video), model(video.flip(1))
    assert (forward - backward).abs().max().item() == pytest.approx(0.18, abs=0.02)


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"pool": "mean"}, {"conv_kernel": 1}])
def test_frame_by_frame_it_gives_what_the_clip_so_far_gives(options):
    model, video = golden(**{**A, **options}), small_clip(5)
    state = model.initial_state(2)
    sizes = []
    for t in range(5):
        logits, state = model.step(video[:, t], state)
        torch.testing.assert_close(logits, model(video[:, : t + 1]), rtol=1e-5, atol=1e-5)
        sizes.append(sum(x.numel() for block in state.blocks for x in block))
    assert len(set(sizes)) == 1


def test_the_state_of_a_stream_at_paper_scale():
    state = on_meta(trecvit, 8).initial_state(1)
    assert sum(x.nbytes for block in state.blocks for x in block) == 58_097_664


def test_it_starts_as_the_authors():
    torch.manual_seed(0)
    block = trecvit.build(**{**A, "width": 192, "heads": 3}).recurrent[0]
    decay = torch.exp(-torch.nn.functional.softplus(block.rg_lru.a_param))
    assert 0.5 <= decay.min() < 0.6
    assert 0.9 < decay.max() <= 0.999
    for weight, std in (
        (block.linear_x.weight, 192**-0.5),
        (block.linear_out.weight, (2 / (2 * 384)) ** 0.5),
        (block.conv_1d.weight, 0.05),
        (block.rg_lru.a_gate.w, 384**-0.5),
    ):
        assert weight.std().item() == pytest.approx(std, rel=0.05)


@torch.no_grad()
@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_the_vit_of_an_image_model_sees_the_position_of_its_cls_token(pool):
    twin = shaken(frame_mean)
    model = trecvit.build(**A, pool=pool)
    model.load_image_weights(twin.state_dict())
    images = small_clip(1)
    patches = twin.backbone.net.patch_embed(images[:, 0])
    tokens = twin.backbone.net._pos_embed(patches)
    seen = model._embed(images)[:, 0]
    torch.testing.assert_close(seen, tokens if pool == "cls" else tokens[:, 1:])


def test_a_pool_that_is_not_known_is_named():
    with pytest.raises(ValueError, match="pool must be one of"):
        trecvit.build(**A, pool="max")
