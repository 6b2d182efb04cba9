"""The 2D floors with and without a shift in time equal torchvision, the authors' rule and its cost.

No golden outputs of whole models are known for these; what they are compared with is torchvision's
ResNet, and a shift written as a loop.
"""

import pytest
import torch
import torchvision
from torch import nn

from baselines import frame_mean, tsm, tsm_vit, tsn_r50
from pks4.models.resnet import build_resnet
from pks4.models.temporal_shift import temporal_shift
from pks4.weights.official import load_official, official_state_dict
from tests.factories.golden import GIGA, TINY_VIT, n_params, on_meta, sine

pytestmark = pytest.mark.contract

SIZES = {"frames": 4, "num_classes": 5, "image_size": 32}
SLIM = {**SIZES, "layers": [1, 2, 1, 1], "channels": [4, 8, 8, 12]}
AS_WIDE_AS_R50 = {**SLIM, "channels": [64, 128, 256, 512]}  # torchvision knows no other
EACH = {"tsn": (tsn_r50, SLIM), "tsm": (tsm, SLIM), "tsm on a ViT": (tsm_vit, TINY_VIT)}
VIDEO = sine((2, 4, 3, 32, 32), 0.37)


def small(which, **options):
    """A floor small enough for milliseconds with weights from a fixed seed, in eval mode."""
    module, own = EACH[which]
    torch.manual_seed(0)
    model = module.build(**{**own, **options})
    for p in model.parameters():
        nn.init.normal_(p, std=0.2) if p.ndim > 1 else nn.init.uniform_(p, 0.5, 1.5)
    return model.eval()


def shift_in_a_loop(x, n_div, dim):
    """The rule, channel by channel and frame by frame."""
    out, frames, fold = 0 * x, x.shape[1], x.shape[dim] // n_div
    for c in range(x.shape[dim]):
        step = 1 if c < fold else -1 if c < 2 * fold else 0
        for t in range(frames):
            if 0 <= t + step < frames:
                out[:, t].select(dim - 1, c)[:] = x[:, t + step].select(dim - 1, c)
    return out


def test_shift_takes_an_eighth_from_the_next_frame_and_an_eighth_from_the_one_before():
    frames = torch.arange(4.0)[None, :, None].expand(1, 4, 8)  # its number in every channel
    first_two = [[1, 0], [2, 0], [3, 1], [0, 2]]
    assert temporal_shift(frames, 8, dim=2)[0].tolist() == [
        [*two, *[t] * 6] for t, two in enumerate(first_two)
    ]


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize(("channels", "n_div"), [(8, 8), (19, 8), (12, 2), (7, 3)])
@pytest.mark.parametrize("dim", [2, 3, 4])
def test_shift_equals_the_loop_in_values_and_gradients(frames, channels, n_div, dim):
    shape = [2, frames, 3, 2, 4]
    shape[dim] = channels
    x, y = (sine(shape, 0.37).requires_grad_() for _ in range(2))
    fast, slow = temporal_shift(x, n_div, dim), shift_in_a_loop(y, n_div, dim)
    assert torch.equal(fast, slow)
    weight = sine(shape, 0.11)
    (fast * weight).sum().backward()
    (slow * weight).sum().backward()
    assert torch.equal(x.grad, y.grad)


@pytest.mark.parametrize("module", [tsm, tsm_vit])
@pytest.mark.parametrize("n_div", [1, 0, 2.0, 1000])
def test_a_share_that_is_no_share_is_named(module, n_div):
    with pytest.raises(ValueError, match="n_div must be a whole number from 2 to"):
        on_meta(module, 4, n_div=n_div)


@pytest.mark.parametrize("options", [{"layers": [3, 4, 6]}, {"channels": [64, 128, 256, 0]}])
def test_stages_that_are_not_four_or_empty_are_named(options):
    with pytest.raises(ValueError, match=r"^(layers must be four|channels\[3\] must be a whole)"):
        on_meta(tsn_r50, 4, **options)


def torchvisions(depth):
    """Names and shapes of a ResNet in torchvision, without its classifier."""
    with torch.device("meta"):
        state = getattr(torchvision.models, f"resnet{depth}")().state_dict()
    return {k: v.shape for k, v in state.items() if not k.startswith("fc.")}


def theirs(model):
    """Official names and shapes of a model's weights."""
    return {k: v.shape for k, v in official_state_dict(model).items()}


def test_tsn_has_the_names_and_shapes_of_torchvision_and_new_fc():
    trunk = {f"base_model.{k}": shape for k, shape in torchvisions(50).items()}
    head = {"new_fc.weight": (400, 2048), "new_fc.bias": (400,)}
    assert theirs(on_meta(tsn_r50, 8)) == {**trunk, **head}


@pytest.mark.parametrize(
    ("depth", "layers", "shifting"),
    [(50, (3, 4, 6, 3), (3, 4, 6, 3)), (101, (3, 4, 23, 3), (2, 2, 12, 2))],
)
def test_tsm_renames_the_first_convolution_of_every_block_or_of_every_second(
    depth, layers, shifting
):
    step = 2 if layers[2] >= 23 else 1
    blocks = {f"layer{i}.{j}." for i, n in enumerate(layers, 1) for j in range(0, n, step)}
    assert len(blocks) == sum(shifting)
    trunk = {
        f"base_model.{k.replace('conv1.', 'conv1.net.') if k.startswith(tuple(blocks)) else k}": s
        for k, s in torchvisions(depth).items()
    }
    model = theirs(on_meta(tsm, 8, layers=layers))
    assert {k: s for k, s in model.items() if not k.startswith("new_fc.")} == trunk


@pytest.mark.parametrize("which", ["tsn", "tsm"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_checkpoints_load_with_and_without_the_prefix_of_their_files(which, prefix):
    one, other = small(which), small(which, frames=2)
    for value in one.state_dict().values():
        value += 1
    state = {prefix + k: v for k, v in official_state_dict(one).items()}
    load_official(other, {"state_dict": state})
    assert all(torch.equal(v, one.state_dict()[k]) for k, v in other.state_dict().items())


def resnet_of_torchvision(model):
    """torchvision's ResNet with the weights of a floor; it gives features."""
    net = torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, SLIM["layers"])
    net.fc = nn.Identity()
    state = {
        k.removeprefix("base_model.").replace("conv1.net.", "conv1."): v
        for k, v in official_state_dict(model).items()
        if k.startswith("base_model.")
    }
    net.load_state_dict(state)
    return net.eval()


@torch.no_grad()
def test_tsn_is_torchvisions_resnet_and_the_mean_of_its_frames_logits():
    model = tsn_r50.build(**AS_WIDE_AS_R50).eval()
    features = resnet_of_torchvision(model)(VIDEO.flatten(0, 1))
    logits = model.new_fc(features).unflatten(0, (2, 4)).mean(1)
    torch.testing.assert_close(model(VIDEO), logits)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 4])
@pytest.mark.parametrize("n_div", [8, 4])
def test_tsm_is_torchvisions_resnet_with_the_loop_before_each_first_convolution(frames, n_div):
    model = tsm.build(**{**AS_WIDE_AS_R50, "frames": frames, "n_div": n_div}).eval()
    net = resnet_of_torchvision(model)
    hooked = [m for name, m in net.named_modules() if name.endswith(".conv1")]
    assert len(hooked) == 5
    for conv in hooked:
        conv.register_forward_pre_hook(
            lambda _, x: shift_in_a_loop(x[0].unflatten(0, (2, frames)), n_div, 2).flatten(0, 1)
        )
    clip = sine((2, frames, 3, 32, 32), 0.37)
    logits = model.new_fc(net(clip.flatten(0, 1))).unflatten(0, (2, frames)).mean(1)
    torch.testing.assert_close(model(clip), logits, atol=1e-6, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_tsm_on_a_vit_is_timms_vit_with_the_loop_on_the_patches_that_attention_sees(
    attention,
):
    model, net = (small("tsm on a ViT", attention=attention) for _ in range(2))

    def shifted(_, __, tokens):
        patches = shift_in_a_loop(tokens[:, 1:].unflatten(0, (2, 4)), 8, 3)
        return torch.cat([tokens[:, :1], patches.flatten(0, 1)], 1)

    for block in net.trunk.blocks:
        block.norm1.register_forward_hook(shifted)
    cls = net.trunk.forward_features(VIDEO.flatten(0, 1))[:, 0]
    torch.testing.assert_close(model(VIDEO), net.head(cls).unflatten(0, (2, 4)).mean(1))


@torch.no_grad()
@pytest.mark.parametrize("which", EACH)
def test_only_a_shift_sees_the_order_of_frames(which):
    model = small(which)
    assert torch.allclose(model(VIDEO), model(VIDEO.flip(1)), atol=1e-5) == (which == "tsn")


@pytest.mark.parametrize("num_classes", [400, 174])
@pytest.mark.parametrize("module", [tsn_r50, tsm])
def test_parameters_of_resnet_50_at_paper_scale(module, num_classes):
    model = on_meta(module, 8, num_classes)
    assert n_params(model) == {400: 24_327_632, 174: 23_864_558}[num_classes]
    assert n_params(model, trainable=True) == n_params(model)


def test_tsm_on_vit_b_is_the_vit_and_a_head():
    assert n_params(on_meta(tsm_vit, 8), trainable=True) == 85_798_656 + 768 * 400 + 400


def normed_numbers(model, frames):
    """How many numbers its batch norms put out for a clip of 224 pixels."""
    seen = []
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.register_forward_hook(lambda _, __, out: seen.append(out.numel()))
    model.eval()(torch.empty(1, frames, 3, 224, 224, device="meta"))
    return sum(seen)


@pytest.mark.parametrize("module", [tsn_r50, tsm])
def test_macs_of_resnet_50_are_the_published_ones_less_the_norms(module):
    model = on_meta(module, 8)
    macs = model.macs()
    assert macs["temporal"] == 0
    norms = 2 * normed_numbers(model, 8)  # the published tool counts them, macs/v1 does not
    assert (sum(macs.values()) + norms) / GIGA == pytest.approx(32.88, abs=5e-3)


@pytest.mark.parametrize("frames", [8, 16, 64])
def test_macs_of_tsm_on_a_vit_are_those_of_its_frames(frames):
    macs = on_meta(tsm_vit, frames).macs()
    assert macs["temporal"] == 0
    assert sum(macs.values()) / GIGA == pytest.approx(140.5 * frames / 8, rel=1e-3)


@pytest.mark.parametrize("which", EACH)
def test_dropout_acts_in_training_only(which):
    plain, dropping = small(which), small(which, dropout=0.9)
    assert torch.equal(plain(VIDEO), dropping(VIDEO))
    dropping.dropout.train()
    assert not torch.allclose(plain(VIDEO), dropping(VIDEO))


@pytest.mark.parametrize("which", ["tsn", "tsm"])
def test_batch_norms_learn_and_follow_the_statistics(which):
    model = small(which).train()
    model(VIDEO).square().sum().backward()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(m.weight.grad.any() for m in norms)
    assert {m.num_batches_tracked.item() for m in norms} == {1}


@pytest.mark.parametrize("which", EACH)
def test_a_new_head_is_almost_silent(which):
    module, own = EACH[which]
    torch.manual_seed(0)
    model = module.build(**{**own, "num_classes": 400})
    head = model.head if module is tsm_vit else model.new_fc
    assert head.weight.std().item() == pytest.approx(1e-3, rel=0.05)
    assert not head.bias.any()


def test_a_new_resnet_starts_as_torchvisions():
    net = build_resnet((1, 1, 1, 1), (64, 128, 256, 512))
    last = net.layer4[0]
    assert last.bn3.weight.eq(1).all()
    assert last.conv2.weight.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.02)


@torch.no_grad()
def test_tsn_is_its_own_image_twin():
    twin = small("tsn", frames=1, num_classes=7)
    pooled, grid = twin.image_features(VIDEO[:, 0])
    assert grid.shape == (2, 1, 1, 48)
    torch.testing.assert_close(pooled, grid.mean((1, 2)))
    torch.testing.assert_close(twin.new_fc(pooled), twin(VIDEO[:, :1]))
    model = small("tsn")
    model.load_image_weights(twin.state_dict())
    torch.testing.assert_close(model(VIDEO[:, :1].expand(-1, 4, -1, -1, -1)), model.new_fc(pooled))


@torch.no_grad()
def test_tsm_takes_the_weights_of_its_image_twin_and_keeps_its_head():
    twin, model = small("tsn", frames=1, num_classes=7), small("tsm")
    head = model.new_fc.weight.clone()
    twin.base_model.bn1.running_var *= 2
    model.load_image_weights(twin.state_dict())
    for key, value in twin.base_model.state_dict().items():
        key = key.replace(".conv1.", ".conv1.net.")
        assert torch.equal(model.base_model.state_dict()[key], value)
    assert torch.equal(model.new_fc.weight, head)


@torch.no_grad()
def test_tsm_on_a_vit_takes_the_vit_of_frame_mean():
    twin, model = frame_mean.build(**{**TINY_VIT, "frames": 1}), small("tsm on a ViT")
    model.load_image_weights(twin.state_dict())
    state = model.trunk.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in twin.backbone.net.state_dict().items())


@pytest.mark.parametrize("which", EACH)
def test_image_weights_that_do_not_fit_are_refused(which):
    twin = frame_mean.build(**TINY_VIT) if which == "tsm on a ViT" else small("tsn")
    state = twin.state_dict()
    del state[next(k for k in state if k.endswith("1.0.conv2.weight") or k.endswith("norm.weight"))]
    with pytest.raises(ValueError, match="nothing was loaded; missing: "):
        small(which).load_image_weights(state)
