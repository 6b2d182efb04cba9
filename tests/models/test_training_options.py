"""Options that every contestant takes: blocks computed again, and only the last ones trained."""

import pytest
import torch
from torch import nn

from pks4.bench.contestants import catalogue
from pks4.bench.contestants.build import build
from pks4.errors import UserError
from pks4.models import training_options
from pks4.simulate.saved_bytes import saved_bytes
from tests.factories.models import MODELS, clip, frames_that_fit, shake, sizes

# A tiny ResNet has one block a stage, so there is no list of them; two make one.
DEEP = {name: {"layers": [2, 2, 2, 2]} for name in ("tsm", "tsn_r50", "motion_squeeze", "tdn")}
NO_BLOCKS = ("linear_probe", "step_probe")  # none that train
every_model = pytest.mark.parametrize("name", MODELS)
every_model_with_blocks = pytest.mark.parametrize("name", [m for m in MODELS if m not in NO_BLOCKS])


def small(name, **more):
    """A contestant at tiny scale under common options; its frames."""
    frames = next(t for t in (3, 4, 8) if frames_that_fit(name, {}, t))
    options = {**sizes(name, DEEP.get(name, {})), **more}
    model = build(MODELS[name], options, frames=frames, num_classes=5, device="cpu")
    return shake(model), frames


@pytest.mark.contract
@every_model_with_blocks
def test_blocks_computed_again_give_the_same_logits_and_gradients_and_keep_less(name):
    (plain, frames), (again, _) = small(name), small(name, checkpoint=True)
    again.load_state_dict(plain.state_dict())
    video = clip(frames)
    kept = [saved_bytes(m, video, "flash_cpu").by_class.total() for m in (plain, again)]
    assert kept[1] < kept[0]
    logits = [m.eval()(video) for m in (plain, again)]
    assert torch.equal(*logits)
    for y in logits:
        y.square().sum().backward()
    for (key, p), q in zip(plain.named_parameters(), again.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), key
        if p.grad is not None:
            torch.testing.assert_close(q.grad, p.grad, msg=key)


def test_batch_norms_count_a_frame_once_though_their_blocks_run_twice():
    (plain, frames), (again, _) = small("tsn_r50"), small("tsn_r50", checkpoint=True)
    again.load_state_dict(plain.state_dict())
    for model in (plain, again):
        model.train()(clip(frames)).sum().backward()
    for (key, x), y in zip(plain.named_buffers(), again.buffers(), strict=True):
        torch.testing.assert_close(y, x, msg=key)


@pytest.mark.parametrize("name", ["timesformer", "video_mamba", "frame_mean", "videomae"])
def test_only_the_last_blocks_and_what_follows_are_trained(name):
    model, _ = small(name, trained_blocks=1)
    whole, _ = small(name)
    trained = {key for key, p in model.named_parameters() if p.requires_grad}
    assert any(key.startswith("head.") for key in trained)
    assert not any("patch_embed" in key or "pos_embed" in key for key in trained)
    (listed, blocks), *_ = training_options.block_lists(whole)
    last = f"{listed}.{len(blocks) - 1}."
    assert {k for k in trained if k.startswith(f"{listed}.")} == {
        k for k, _ in whole.named_parameters() if k.startswith(last)
    }


def test_a_frozen_start_keeps_fewer_bytes_block_by_block():
    kept = []
    for blocks in (1, 2, 3):
        model, frames = small("frame_mean", depth=3, trained_blocks=blocks)
        kept.append(saved_bytes(model, clip(frames), "flash_cpu").by_class.total())
    assert kept[0] < kept[1] < kept[2]


@pytest.mark.parametrize(("kind", "of_the_trunk"), [("bias", 102_912), ("norm", 38_400)])
def test_biases_or_norms_of_a_vit_b_alone_are_trained_beside_the_head(kind, of_the_trunk):
    entry = MODELS["frame_mean"]
    options = {**entry.facts["SCALES"]["paper"], "trained": kind}
    model = build(entry, options, frames=8, num_classes=400)
    trained = {k: p.numel() for k, p in model.named_parameters() if p.requires_grad}
    assert sum(trained.values()) == of_the_trunk + 769 * 400
    assert {"head.weight", "backbone.net.norm.bias"} <= trained.keys()


@pytest.mark.parametrize("kind", training_options.TRAINED)
@pytest.mark.parametrize("name", ["pks4", "timesformer", "video_mamba", "tsm"])
def test_what_is_plugged_in_trains_whole_beside_the_biases_or_norms(name, kind):
    more = {"frozen": False} if name == "pks4" else {}
    (model, frames), (whole, _) = small(name, trained=kind, **more), small(name, **more)
    model.train()(clip(frames)).square().sum().backward()
    parts = {part for parts in MODELS[name].facts["STAGES"].values() for part in parts}
    for key, p in model.named_parameters():
        if parts.isdisjoint(key.split(".")[:-1]):
            kept = "bias" in key.rpartition(".")[2] if kind == "bias" else p.ndim == 1
            assert kept or not p.requires_grad, key
        else:
            assert p.requires_grad == whole.get_parameter(key).requires_grad, key
    kept = [saved_bytes(m, clip(frames), "flash_cpu").by_class.total() for m in (model, whole)]
    assert kept[0] < kept[1] or name == "tsm"  # convolutions keep their input either way


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("frame_mean", {"trained": "biases"}, "did you mean 'bias'"),
        ("frame_mean", {"trained": "bias", "frozen": True}, "trained: .*frozen already"),
        ("aim", {"trained": "norm"}, "trained: .*frozen already"),
        ("timesformer", {"trained_blocks": 5}, "trained_blocks must be 0 to 4, got 5"),
        ("st_adapter", {"trained_blocks": 1}, "frozen already"),
        ("tsm", {"trained_blocks": 1}, "no list of blocks"),
        ("tsm", {"checkpoint": True}, "no list of blocks"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(name, options, said):
    entry = MODELS[name]
    sizes = entry.facts["SCALES"]["tiny"]
    with pytest.raises(UserError, match=rf"^model '{name}': [^\n]*{said}[^\n]*$"):
        build(entry, {**sizes, **options}, frames=8, num_classes=5)


def test_an_option_without_effect_is_an_error():
    """A list of blocks that the forward goes around."""

    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(2, 2)) for _ in range(2))

        def forward(self, x):
            return self.blocks[0][0](x)

    model = Around()
    training_options.apply(model, checkpoint=True)
    with pytest.raises(ValueError, match="never calls its blocks"):
        model(torch.zeros(1, 2))


@every_model
def test_common_options_are_named_among_the_model_s_own(name):
    assert set(catalogue.COMMON_OPTIONS) <= set(MODELS[name].options)
