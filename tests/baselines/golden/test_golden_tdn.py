"""TDN equals its authors' code, costs what its card says, and sees neighbouring frames."""

import pytest
import torch
from torch import nn

from baselines import tdn, tsn_r50
from baselines.tdn import Excitation, LongTerm, Shift
from pks4.models.resnet import build_resnet
from pks4.weights.official import load_official, official_state_dict
from tests.factories.fillings import assert_near, chirp, filled, of_cnn
from tests.factories.golden import GIGA, n_params, on_meta
from tests.factories.models import clip, shake

pytestmark = pytest.mark.contract

SLIM = {
    "num_classes": 5, "image_size": 64, "layers": [1, 1, 1, 1], "channels": [16, 32, 64, 128]
}  # fmt: skip
R101 = {"layers": (3, 4, 23, 3)}
DEAD = 9_472  # their conv1_temp


@torch.no_grad()
def test_the_excitation_equals_the_authors():
    net = Excitation(32, 4)
    net.load_state_dict(filled(net.state_dict(), of_cnn))
    first = [0.0, 0.31258, 0.75043, 1.16764, 1.17949]
    assert_near(net.eval()(chirp((8, 32, 8, 8))), first, 146.3721, 10458.0364, (8, 32, 8, 8))


@torch.no_grad()
def test_a_new_shift_equals_the_authors():
    first = [0.67136, 0.24679, -0.95233, 0.74692, 0.21822]
    assert_near(Shift(16, 4)(chirp((4, 16, 3, 3))), first, -1.2823, 339.0282)


@torch.no_grad()
def test_a_block_equals_the_authors():
    block = build_resnet((1, 2, 1, 1), (8, 16, 16, 16)).layer2[1]  # 64 -> 16 -> 64
    for conv in (block.conv1, block.conv2, block.conv3):
        conv.bias = nn.Parameter(torch.zeros(conv.out_channels))
    block.act1 = LongTerm(block.act1, 16, 4)
    state = filled(block.state_dict(), of_cnn, lambda k: k.replace("act1.", ""))
    block.load_state_dict(state)
    first = [0.59103, 0.29899, 0.88362, 0.85958, 1.24376]
    assert_near(block.eval()(chirp((8, 64, 8, 8))), first, 14554.5056, 14554.5056, (8, 64, 8, 8))


@torch.no_grad()
def test_the_whole_network_equals_the_authors():
    sizes = {"num_classes": 5, "image_size": 64, "layers": [1, 1, 1, 1]}
    model = tdn.build(frames=20, tubelet=5, **sizes).eval()
    model.share = 0.5  # as for 8 segments

    def bare(name):
        return name.removeprefix("base_model.").replace("new_fc", "fc")

    load_official(model, filled(official_state_dict(model), of_cnn, bare))
    seen = []
    model.new_fc.register_forward_hook(lambda _, __, out: seen.append(out))
    video = chirp((4, 15, 64, 64)).view(1, 20, 3, 64, 64)
    mean, reverse = model(video), video.unflatten(1, (4, 5)).flip(1).flatten(1, 2)
    first = [80.34654, 278.39984, 340.34348, 235.60809, 14.93943]
    assert_near(seen[0], first, 3681.7874, 3681.7874, (4, 5))
    first = [77.7898, 269.77399, 329.87741, 228.43283, 14.5728]
    assert_near(mean, first, 920.4468, 920.4468, (1, 5))
    model(reverse)
    assert (seen[1] - seen[0]).abs().max().item() > 10


@pytest.mark.parametrize(
    ("options", "num_classes", "total"),
    [
        ({}, 400, 24_883_120),
        ({}, 174, 24_420_046),
        (R101, 400, 44_144_800),
        (R101, 174, 43_681_726),
    ],
)
def test_parameters_are_the_authors_less_a_convolution_without_use(options, num_classes, total):
    model = on_meta(tdn, 8, num_classes, **options)
    assert n_params(model) == n_params(model, trainable=True) == total - DEAD


def test_parameters_by_part():
    model = on_meta(tdn, 8)
    parts = {"mse": 253_728, "shift": 10_752, "resnext_layer1": 217_216, "conv1_5": 37_760}
    for part, total in parts.items():
        assert sum(p.numel() for k, p in model.named_parameters() if f".{part}." in k) == total


@pytest.mark.parametrize(("options", "giga_macs"), [({}, 35.642), (R101, 65.846)])
@pytest.mark.parametrize("tubelet", [1, 5])
def test_macs_of_eight_segments(options, giga_macs, tubelet):
    macs = on_meta(tdn, 8 * tubelet, 174, tubelet=tubelet, **options).macs()
    assert sum(macs.values()) / GIGA == pytest.approx(giga_macs, rel=2e-4)


@torch.no_grad()
def test_neighbours_are_those_of_the_clip_clamped_at_its_ends():
    model = tdn.build(frames=4, **SLIM)
    video = torch.arange(4.0)[None, :, None, None, None].expand(1, 4, 3, 64, 64)
    assert model._images(video)[:, :, 0, 0, 0].tolist() == [
        [0, 0, 0, 1, 2], [0, 0, 1, 2, 3], [0, 1, 2, 3, 3], [1, 2, 3, 3, 3],
    ]  # fmt: skip


@torch.no_grad()
def test_segments_of_the_same_images_give_the_same_either_way():
    video = clip(3)
    near, apart = (tdn.build(frames=t, tubelet=n, **SLIM) for t, n in ((3, 1), (15, 5)))
    apart.load_state_dict(shake(near).state_dict())
    images = near._images(video).view(2, 15, 3, 64, 64)
    torch.testing.assert_close(near.eval()(video), apart.eval()(images))


@pytest.mark.parametrize(("segments", "share"), [(8, 0.5), (4, 0.75), (16, 0.75)])
def test_the_share_of_the_short_term_follows_the_number_of_segments(segments, share):
    assert on_meta(tdn, segments).share == share


@torch.no_grad()
def test_it_takes_the_resnet_of_its_image_twin():
    twin, model = shake(tsn_r50.build(frames=1, **SLIM)), tdn.build(frames=3, **SLIM)
    model.load_image_weights(twin.state_dict())
    state = model.base_model.state_dict()
    assert all(torch.equal(state[k], v) for k, v in twin.base_model.state_dict().items())
    assert not any(v.any() for k, v in state.items() if k.endswith("conv1.bias"))
    short, kernel = model.short_term, twin.base_model.conv1.weight
    torch.testing.assert_close(short.conv1_5[0].weight[:, 7], kernel.mean(1))
    assert torch.equal(short.resnext_layer1[0].conv2.weight, twin.base_model.layer1[0].conv2.weight)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tubelet": 2}, "tubelet must be one of"),
        ({"tubelet": 5}, "frames 3 is not a multiple of tubelet 5"),
        ({"image_size": 32}, "image_size must be at least 33"),
        ({"channels": [16, 8, 16, 16]}, "channels must be at least 16"),
    ],
)
def test_sizes_that_it_cannot_have_are_named(options, said):
    with pytest.raises(ValueError, match=said):
        tdn.build(**{"frames": 3, **SLIM, **options})
