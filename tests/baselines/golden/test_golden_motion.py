"""The motion modules equal their authors' code, cost what their cards say, and see motion."""

import pytest
import torch

from baselines import motion_squeeze, tsm, tsn_r50
from baselines.motion_squeeze import Motion
from pks4.weights.official import load_official, official_state_dict
from tests.factories.fillings import assert_near, chirp, filled, of_cnn
from tests.factories.golden import GIGA, n_params, on_meta
from tests.factories.models import clip, shake

pytestmark = pytest.mark.contract

ONE_EACH = {"num_classes": 5, "image_size": 64, "layers": [1, 1, 1, 1]}
R18 = {"block": "basic", "layers": [2, 2, 2, 2]}


def part(net):
    """A module with golden weights, in eval mode."""
    net.load_state_dict(filled(net.state_dict(), of_cnn))
    return net.eval()


def whole(model, name):
    """A model with golden weights by its authors' names, which `name` shortens further."""
    load_official(model, filled(official_state_dict(model), of_cnn, name))
    return model.eval()


@torch.no_grad()
def test_motion_squeeze_on_narrow_maps_equals_the_authors():
    net, x = part(Motion(4, 128, 7)), chirp((4, 128, 8, 8))
    moved = net.displacement(x)
    flow = [0.71417, 0.42857, -0.14286, -0.42857, -0.57141]
    assert_near(moved[:, :2], flow, -12.2285, 141.4415, (3, 2, 8, 8))
    confidence = [0.9941, 0.9907, 0.99654, 0.965, 0.99]
    assert_near(moved[:, 2:], confidence, 190.4952, 190.4952, (3, 1, 8, 8))
    first = [3.83398, 3.78352, 3.66478, 3.29159, 6.2118]
    assert_near(net(x), first, 54780.0132, 65361.8972, (4, 128, 8, 8))


@torch.no_grad()
def test_motion_squeeze_on_wide_maps_equals_the_authors():
    net, x = part(Motion(3, 512, 7)), chirp((3, 512, 8, 8))
    flow = [0.28571, 0.00018, 0.57101, -0.42857, -0.28571]
    assert_near(net.displacement(x)[:, :2], flow, -0.9962, 97.2999, (2, 2, 8, 8))
    first = [4.09605, 4.92497, 5.60048, 5.68088, 4.33581]
    assert_near(net(x), first, 172129.1924, 204825.8523, (3, 512, 8, 8))


@torch.no_grad()
def test_motion_squeeze_on_basic_blocks_equals_the_authors():
    model = motion_squeeze.build(frames=4, block="basic", **ONE_EACH)
    whole(model, lambda k: k.removeprefix("base_model.").replace("new_fc", "fc1"))
    seen = []
    model.new_fc.register_forward_hook(lambda _, __, out: seen.append(out))
    # double: here the best two offsets of some places differ by 1e-8
    mean = model.double()(chirp((1, 4, 3, 64, 64)).double())
    first = [-18.46675, 25.89576, -32.09342, 37.35016, -41.84225]
    assert_near(seen[0], first, -114.3781, 610.5724, (4, 5))
    first = [-18.73312, 25.71571, -31.4727, 36.30857, -40.41299]
    assert_near(mean, first, -28.5945, 152.6431, (1, 5))


@pytest.mark.parametrize(
    ("options", "num_classes", "total"),
    [({}, 400, 24_398_793), ({}, 174, 23_935_719), (R18, 400, 11_402_953)],
)
def test_parameters_of_motion_squeeze_are_the_authors_less_a_norm_without_use(
    options, num_classes, total
):
    model = on_meta(motion_squeeze, 8, num_classes, **options)
    assert n_params(model) == n_params(model, trainable=True) == total - 256


def test_the_module_of_motion_squeeze_has_the_authors_parameters():
    assert n_params(on_meta(motion_squeeze, 8).motion) == 70_905
    assert n_params(on_meta(motion_squeeze, 8, **R18).motion) == 20_985


@pytest.mark.parametrize(
    ("options", "frames", "num_classes", "giga_macs"),
    [({}, 8, 174, 33.214), ({}, 16, 174, 66.439), (R18, 8, 400, 14.715)],
)
def test_macs_of_motion_squeeze(options, frames, num_classes, giga_macs):
    macs = on_meta(motion_squeeze, frames, num_classes, **options).macs()
    assert sum(macs.values()) / GIGA == pytest.approx(giga_macs, rel=2e-4)


def test_motion_squeeze_costs_what_its_module_adds_to_tsm():
    ours, theirs = (on_meta(m, 8).macs() for m in (motion_squeeze, tsm))
    assert ours["temporal"] / GIGA == pytest.approx(0.2055 + 0.0790 + 0.2291, abs=5e-4)
    assert {**ours, "temporal": 0} == theirs


@torch.no_grad()
def test_motion_squeeze_finds_a_shift_of_the_image():
    torch.manual_seed(0)
    net, still = Motion(2, 16, 3).eval(), torch.randn(1, 16, 12, 12)
    x = torch.cat([still, still.roll((1, 2), (2, 3))])  # one row down, two columns right
    dx, dy, match = net.displacement(x)[0, :, 3:-3, 3:-3].flatten(1).median(1).values
    assert (dx.item(), dy.item()) == pytest.approx((2 / 3, 1 / 3), abs=0.02)
    assert match.item() == pytest.approx(1, abs=1e-3)


@torch.no_grad()
def test_motion_squeeze_takes_the_resnet_of_its_image_twin():
    sizes = {**ONE_EACH, "channels": [16, 32, 64, 128]}
    twin = shake(tsn_r50.build(frames=1, **sizes))
    model = motion_squeeze.build(frames=3, **sizes)
    kept = {k: v.clone() for k, v in model.motion.state_dict().items()}
    model.load_image_weights(twin.state_dict())
    for key, value in twin.base_model.state_dict().items():
        ours = model.base_model.state_dict()[key.replace(".conv1.", ".conv1.net.")]
        assert torch.equal(ours, value)
    assert all(torch.equal(v, kept[k]) for k, v in model.motion.state_dict().items())


@pytest.mark.parametrize("window", [4, 1, 7.0])
def test_a_window_without_a_middle_is_named(window):
    with pytest.raises(ValueError, match="window must be an odd whole number"):
        on_meta(motion_squeeze, 4, window=window)


@torch.no_grad()
def test_frames_of_a_clip_of_one_are_compared_with_themselves():
    model = motion_squeeze.build(frames=1, **ONE_EACH, channels=[16, 32, 64, 128]).eval()
    moved = model.motion.displacement(torch.randn(2, 128, 8, 8))
    assert moved[:, :2].abs().max() < 0.5
    assert model(clip(1)).shape == (2, 5)
