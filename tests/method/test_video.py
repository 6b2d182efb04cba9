"""PKS4 in a video model: identity at every place, streaming, weights from a file, export."""

from dataclasses import fields

import pytest
import torch
from safetensors.torch import save_file

import pks4
from baselines import frame_mean
from pks4 import plug_in
from pks4.method import video
from pks4.method.options import Options
from pks4.models.backbone import PerFrameBackbone
from pks4.weights.files import load_weights

VIT = {"width": 24, "depth": 3, "heads": 3, "patch_size": 16, "image_size": 32}
CNNS = ["test_resnet", "test_convnext", "test_efficientnet", "mobilenetv3_small_050", "regnetx_002"]
PLACES = [
    *[("test_vit", k) for k in (None, 0, 2, 5)],
    *[(name, k) for name in CNNS for k in (None, 0, 2)],
    ("swin_tiny_patch4_window7_224", "middle"),
]


def build(**options):
    """A tiny model on a ViT, from a fixed seed."""
    torch.manual_seed(0)
    return video.build(frames=3, num_classes=5, radius=1, state=3, **({**VIT, **options}))


def awake(model):
    """The model with a module that is not at its silent start, in eval mode."""
    for p in model.temporal.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return model.eval()


def clip(t=3, size=32, b=2):
    """A random video (b, t, 3, size, size)."""
    return torch.randn(b, t, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_the_literal_list_of_options_is_the_dataclass():
    assert tuple(f.name for f in fields(Options)) == video.MORE_OPTIONS


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "insert_after", "frozen"),
    [*((*place, False) for place in PLACES), *((*place, True) for place in PLACES if place[1])],
)
def test_a_module_just_inserted_changes_nothing_to_the_bit(name, insert_after, frozen):
    torch.manual_seed(0)
    model = plug_in(name, 5, image_size=64, insert_after=insert_after, frozen=frozen).eval()
    with_it, moving = model(clip(2, 64)), clip(2, 64)
    model.temporal = torch.nn.Identity()
    assert torch.equal(model(moving), with_it)
    whole = model.backbone.net.forward_features(moving.flatten(0, 1))
    assert torch.equal(model.backbone._split(whole, 2)[0], model.backbone(moving))


@pytest.mark.parametrize("direction", ["causal", "bidirectional", "halves"])
@pytest.mark.parametrize("insert_after", [None, 0])
def test_in_every_direction_it_starts_as_the_backbone(direction, insert_after):
    model = build(direction=direction, insert_after=insert_after).eval()
    with_it = model(clip())
    model.temporal = torch.nn.Identity()
    assert torch.equal(model(clip()), with_it)


@pytest.mark.parametrize(
    ("name", "options", "place"),
    [
        ("test_vit", {}, "after block 3 of 6"),
        ("test_resnet", {}, "after block 2 of 4"),
        ("test_resnet", {"insert_after": "top"}, "on top"),
        ("test_byobnet", {"insert_after": "top"}, "on top"),
    ],
)
def test_the_module_stands_in_the_middle_or_where_it_was_put(name, options, place):
    assert plug_in(name, 5, image_size=64, **options).place == place


def test_a_backbone_of_unknown_blocks_has_no_middle_and_says_so():
    with pytest.raises(ValueError, match=r"of ByobNet are not known.* give insert_after='top'"):
        plug_in("test_byobnet", 5)


def test_prefix_tokens_pass_the_module_untouched():
    model = awake(build(insert_after=1))
    features, prefix = model.backbone.below(clip())
    tokens = model.backbone._join(model.temporal(features), prefix)
    assert tokens.shape == (6, 1 + 4, 24)
    assert torch.equal(tokens[:, 0].unflatten(0, (2, 3)), prefix[:, :, 0])


def test_a_frozen_backbone_keeps_nothing_and_stays_in_eval_mode():
    model = build().train()
    assert not model.backbone.net.training
    model(clip()).sum().backward()
    assert all(p.grad is None for p in model.backbone.parameters())


@pytest.mark.parametrize("insert_after", [0, 1])
def test_a_frozen_insertion_trains_the_module_through_frozen_weights(insert_after):
    model = awake(build(insert_after=insert_after)).train()
    model(clip()).sum().backward()
    assert all(p.grad is None for p in model.backbone.parameters())
    assert all(p.grad.any() for p in model.temporal.parameters())


@pytest.mark.parametrize(
    "options", [{"frozen": False}, {"insert_after": 0}, {"insert_after": 1, "frozen": False}]
)
def test_checkpointing_changes_no_gradient(options):
    found = []
    for checkpoint in (False, True):
        model = build(checkpoint=checkpoint, **options)
        torch.nn.init.ones_(model.temporal.gate)
        model(clip()).square().sum().backward()
        found.append([p.grad for p in model.parameters() if p.requires_grad])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@torch.no_grad()
@pytest.mark.parametrize(("name", "insert_after"), [p for p in PLACES if "vit" in p[0]])
def test_frame_after_frame_gives_the_logits_of_the_clip_so_far(name, insert_after):
    model = awake(plug_in(name, 5, image_size=32, insert_after=insert_after))
    state, moving = model.initial_state(2), clip(4)
    for i, frame in enumerate(moving.unbind(1), 1):
        logits, state = model.step(frame, state)
        torch.testing.assert_close(logits, model(moving[:, :i]), atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("insert_after", [None, 1])
def test_a_cnn_streams_too(insert_after):
    model = awake(plug_in("test_resnet", 5, image_size=64, insert_after=insert_after))
    state, moving = model.initial_state(2), clip(3, 64)
    for frame in moving.unbind(1):
        logits, state = model.step(frame, state)
    torch.testing.assert_close(logits, model(moving), atol=1e-5, rtol=1e-5)


def test_a_model_that_looks_forward_does_not_stream():
    with pytest.raises(ValueError, match="streaming"):
        build(direction="halves").initial_state(1)


@torch.no_grad()
@pytest.mark.parametrize("t", [1, 7])
def test_any_number_of_frames_and_any_grid(t):
    model = plug_in("test_vit", 5, image_size=(32, 64))
    assert model(torch.zeros(1, t, 3, 32, 64)).shape == (1, 5)
    assert model.macs(frames=t)["temporal"] == model.temporal.macs(1, t, 2, 4)
    with pytest.raises(ValueError, match=r"give macs\(frames="):
        model.macs()


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"insert_after": 0}, {"frozen": False, "frame_chunk": 2}])
def test_a_whole_model_exports(options):
    model = awake(build(**options))
    exported = torch.export.export(model, (clip(),)).module()
    assert torch.equal(exported(clip()), model(clip()))


@pytest.mark.parametrize("insert_after", [None, 0])
def test_a_whole_model_trains_under_autocast(insert_after):
    model = awake(build(insert_after=insert_after, frozen=False)).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(clip()).float().square().sum()
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@torch.no_grad()
def test_weights_go_out_and_come_back():
    one, other = awake(build(insert_after=1)), build(insert_after=1).eval()
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(clip()), other(clip()))


def test_public_names_are_there():
    for name in ("plug_in", "Options", "selective_scan", "scan_sites", "PKS4"):
        assert name in pks4.__all__
        assert callable(getattr(pks4, name))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("test_vit", {"frozn": True}, "unknown option 'frozn'; did you mean 'frozen'"),
        ("test_vit", {"radios": 1}, "did you mean 'radius'"),
        ("tset_vit", {}, "unknown backbone 'tset_vit'; did you mean 'test_vit"),
        ("test_vit", {"insert_after": 9}, "a block, 0 to 5, since .* got 9"),
        ("test_byobnet", {"insert_after": 0}, "give insert_after='top'"),
        ("test_vit", {"weights": "nowhere.pth"}, "there is no file nowhere.pth"),
    ],
)
def test_what_does_not_fit_is_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        plug_in(name, 5, **options)
    with pytest.raises(ValueError, match="num_classes must be a whole number"):
        plug_in("test_vit", 0)


def image_weights(name="test_vit"):
    """The weights of an image model as timm saves them, classifier and all."""
    import timm

    torch.manual_seed(7)
    return timm.create_model(name, num_classes=11).state_dict()


WRAPPINGS = {
    "plain": lambda w: w,
    "state_dict": lambda w: {"epoch": 3, "state_dict": w},
    "model": lambda w: {"model": w},
    "module.": lambda w: {f"module.{k}": v for k, v in w.items()},
    "all": lambda w: {"state_dict": {"model": {f"module.model.{k}": v for k, v in w.items()}}},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_convnext"])
def test_weights_come_from_a_local_file_however_wrapped(tmp_path, wrapping, name):
    weights, path = image_weights(name), tmp_path / "weights.pth"
    torch.save(WRAPPINGS[wrapping](weights), path)
    net = plug_in(name, 5, weights=path).backbone.net
    assert all(torch.equal(value, weights[key]) for key, value in net.state_dict().items())


def test_weights_come_from_safetensors_without_the_classifier_too(tmp_path):
    weights = {k: v for k, v in image_weights().items() if not k.startswith("head.")}
    save_file(weights, tmp_path / "weights.safetensors")
    net = plug_in("test_vit", 5, weights=tmp_path / "weights.safetensors").backbone.net
    assert torch.equal(net.pos_embed, weights["pos_embed"])


def test_the_weights_of_an_image_twin_fit(tmp_path):
    twin = frame_mean.build(frames=1, num_classes=7, **VIT)
    torch.save(twin.state_dict(), tmp_path / "twin.pth")
    model = build()
    load_weights(model.backbone.net, tmp_path / "twin.pth")
    assert torch.equal(model.backbone(clip()).detach(), twin.eval().backbone(clip()).detach())


def test_all_that_does_not_fit_is_listed_at_once_and_nothing_is_loaded(tmp_path):
    weights = image_weights()
    del weights["norm.weight"]
    weights["surplus"] = torch.zeros(1)
    weights["pos_embed"] = torch.zeros(1, 5, 64)
    torch.save(weights, tmp_path / "weights.pth")
    net = PerFrameBackbone("test_vit", image_size=None).net
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(ValueError, match="nothing was loaded") as error:
        load_weights(net, tmp_path / "weights.pth")
    for part in ("missing: norm.weight", "unknown: surplus", "pos_embed (1, 5, 64) instead of"):
        assert part in str(error.value)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize(
    ("key", "fault"),
    [("surplus", "unknown: surplus"), ("cls_token", "of another shape: cls_token")],
)
def test_each_fault_is_enough(tmp_path, key, fault):
    torch.save(image_weights() | {key: torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=fault):
        plug_in("test_vit", 5, weights=tmp_path / "weights.pth")


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, torch.nn.Linear(1, 1), None])
def test_a_file_without_weights_is_named(tmp_path, content):
    path = tmp_path / "weights.pth"
    if content is None:
        path.write_bytes(b"not a checkpoint")
    else:
        torch.save(content, path)
    with pytest.raises(ValueError, match=r"weights\.pth holds no"):
        plug_in("test_vit", 5, weights=path)
