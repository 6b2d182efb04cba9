"""The PKS4 module: identity at insertion, causal, independent sites, priors at work."""

from dataclasses import fields

import pytest
import torch

from pks4 import video
from pks4.backbone import PerFrameBackbone
from pks4.module import PKS4, Options


def awake(**options):
    """A module whose gate and modulation are not at their silent start."""
    torch.manual_seed(0)
    module = PKS4(16, expand=1.0, state=4, radius=1, **options)
    for p in module.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return module.eval()


def features(t=5, seed=1):
    """Random features (2, t, 3, 4, 16)."""
    return torch.randn(2, t, 3, 4, 16, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("direction", ["causal", "bidirectional"])
@pytest.mark.parametrize("t", [1, 5])
def test_at_insertion_it_is_the_identity_to_the_bit(direction, t):
    x = features(t)
    assert torch.equal(PKS4(16, direction=direction)(x), x)


def test_causal_the_future_changes_nothing():
    module, x = awake(), features()
    later = x.clone()
    later[:, 3:] += features(seed=2)[:, 3:]
    before, after = module(x), module(later)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 3:], after[:, 3:])


def test_bidirectional_sees_the_future():
    module, x = awake(direction="bidirectional"), features()
    later = x.clone()
    later[:, 4] += features(seed=2)[:, 4]
    assert not torch.allclose(module(x)[:, 0], module(later)[:, 0])


def test_without_priors_sites_do_not_meet():
    module, x = awake(modulate=()), features()
    moved = x.clone()
    moved[:, :, 1, 2] += features(seed=2)[:, :, 1, 2]
    changed = (module(x) != module(moved)).any(-1).any(1)  # (b, h, w)
    assert changed[:, 1, 2].all()
    assert changed.sum() == 2


@pytest.mark.parametrize("name", ["delta", "B", "C"])
@pytest.mark.parametrize("modulation", ["additive", "multiplicative"])
def test_each_modulation_changes_the_output(name, modulation):
    module, x = awake(modulate=(name,), modulation=modulation), features()
    before = module(x)
    torch.nn.init.zeros_(module.scanners[0].prior_proj[name].weight)
    assert not torch.allclose(before, module(x))


def test_without_modulation_no_prior_is_built():
    assert PKS4(16, modulate=()).prior is None
    assert PKS4(16, correlation=False, difference=False).prior is None


def test_backends_agree():
    x = features()
    torch.testing.assert_close(awake(scan_backend="reference")(x), awake()(x))


def test_gradients_reach_every_parameter():
    module = awake().train()
    module(features()).square().sum().backward()
    assert [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modulate": ("deltas",)}, "modulate"),
        ({"direction": "backward"}, "direction"),
        ({"modulation": "add"}, "modulation"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        PKS4(16, **options)


def test_bad_shapes_are_named():
    with pytest.raises(ValueError, match=r"must be \(b, t, h, w, 16\)"):
        PKS4(16)(torch.zeros(2, 3, 4, 16))
    with pytest.raises(ValueError, match="t = 0"):
        PKS4(16)(torch.zeros(2, 0, 3, 4, 16))


def test_the_literal_list_of_options_is_the_dataclass():
    assert tuple(f.name for f in fields(Options)) == video.MORE_OPTIONS


def test_a_frozen_backbone_keeps_nothing_and_stays_in_eval_mode():
    model = video.build(frames=2, num_classes=3, **video.SCALES["tiny"])
    model.train()
    assert not model.backbone.net.training
    model(torch.randn(1, 2, 3, 64, 64)).sum().backward()
    assert all(p.grad is None for p in model.backbone.parameters())


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_convnext"])
def test_any_timm_backbone_takes_the_module(name):
    model = video.build(frames=2, num_classes=3, backbone=name, image_size=96, frozen=False)
    clip = torch.randn(1, 2, 3, 96, 96)
    h, w = model.backbone.grid()
    assert model.backbone(clip).shape == (1, 2, h, w, model.backbone.dim)
    assert model(clip).shape == (1, 3)


def test_an_unknown_backbone_names_the_near_one():
    with pytest.raises(ValueError, match="did you mean 'resnet18'"):
        PerFrameBackbone("resnet_18")


def test_a_frame_of_vit_b_16_is_17_563_gmac():
    with torch.device("meta"):
        backbone = PerFrameBackbone("vit")
    assert round(backbone.macs(1) / 1e9, 3) == 17.563
    assert sum(p.numel() for p in backbone.parameters()) == 85_798_656
