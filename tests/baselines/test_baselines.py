"""The rivals: official names, costs that equal what runs, gradients where they belong."""

from inspect import signature

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from baselines import frame_mean, st_adapter, timesformer, video_mamba
from pks4.bench.contestants import catalogue
from pks4.macs import OP_MACS
from pks4.models.backbone import build_vit
from pks4.weights.official import official_state_dict

SMALL_VIT = {"width": 24, "depth": 2, "heads": 3, "patch_size": 16, "image_size": 32}
SMALL_MAMBA = {"width": 32, "depth": 2, "patch_size": 16, "image_size": 32, "state": 4}
VARIANTS = {
    "divided": (timesformer, {}),
    "joint": (timesformer, {"attention_type": "joint"}),
    "divided-eager": (timesformer, {"attention": "eager"}),
    "adapters-1": (st_adapter, {"adapter_width": 8}),
    "adapters-2": (st_adapter, {"adapter_width": 8, "adapters_per_block": 2}),
    "mamba": (video_mamba, {}),
}
# The authors' models hold weights of the last block that cannot reach the cls token that is read:
# no token meets another after the last adapter, and a scan's first step has no state to decay.
CANNOT_REACH_CLS = dict.fromkeys(VARIANTS, ())
CANNOT_REACH_CLS |= {f"adapters-{n}": ("adapters.1.pre_mlp.",) for n in (1, 2)}
CANNOT_REACH_CLS["mamba"] = ("layers.1.mixer.A_log",)
every_variant = pytest.mark.parametrize("variant", VARIANTS)


def small(variant, frames=3, **options):
    """A rival small enough to run in milliseconds, the same weights each time."""
    module, own = VARIANTS[variant]
    sizes = SMALL_MAMBA if module is video_mamba else SMALL_VIT
    torch.manual_seed(0)
    return module.build(frames=frames, num_classes=5, **{**sizes, **own, **options})


def clip(frames=3, batch=2, size=32):
    """A clip of noise, the same each time."""
    g = torch.Generator().manual_seed(1)
    return torch.randn(batch, frames, 3, size, size, generator=g)


def shake(model):
    """Large random values for every weight but A_log, so that nothing is silent."""
    g = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if not name.endswith("_log"):
                p.copy_(0.3 * torch.randn(p.shape, generator=g) + (p.ndim == 1))
    return model


def test_contestants_on_one_image_model_state_the_same_sizes():
    """The catalogue reads SCALES as literals without an import; this test holds them equal."""
    vit_b = {"width": 768, "depth": 12, "heads": 12, "patch_size": 16, "image_size": 224}
    tiny = {"width": 96, "depth": 4, "heads": 3, "patch_size": 8, "image_size": 64}
    built = {name: p.default for name, p in signature(build_vit).parameters.items()}
    assert vit_b.items() <= built.items()
    other_sizes = []
    for name, entry in catalogue.models().items():
        paper, small = entry.facts["SCALES"]["paper"], entry.facts["SCALES"]["tiny"]
        defaults = {k: list(v) if isinstance(v, tuple) else v for k, v in entry.defaults.items()}
        assert paper.items() <= defaults.items(), name  # `build` without sizes is the paper's model
        if "heads" in paper:
            assert tiny.items() <= small.items(), name
            other_sizes += [] if vit_b.items() <= paper.items() else [name]
    assert other_sizes == ["hf_vjepa2"]  # ViT-L


def test_official_names_stand_in_the_state_dict():
    def names(model, part):
        return {k.removeprefix(part) for k in model.state_dict() if k.startswith(part)}

    ends = ("A_log", "A_b_log", "D", "D_b", "in_proj.weight", "out_proj.weight")
    ends += ("conv1d.weight", "conv1d.bias", "conv1d_b.weight", "conv1d_b.bias", "x_proj.weight")
    ends += ("x_proj_b.weight", "dt_proj.weight", "dt_proj.bias")
    ends += ("dt_proj_b.weight", "dt_proj_b.bias")
    assert names(small("mamba"), "layers.1.mixer.") == set(ends)
    layers = ("norm1", "attn.qkv", "attn.proj", "temporal_norm1", "temporal_attn.qkv")
    layers += ("temporal_attn.proj", "temporal_fc", "norm2", "mlp.fc1", "mlp.fc2")
    both = {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    assert names(small("divided"), "blocks.1.") == both
    theirs = set(official_state_dict(small("adapters-2")))
    assert "transformer.resblocks.1.adapter_pre_attn.conv.weight" in theirs
    assert "transformer.resblocks.1.attn.in_proj_bias" in theirs
    assert {k.split(".")[0] for k in theirs} == {
        *("class_embedding", "positional_embedding", "conv1", "ln_pre", "transformer"),
        *("ln_post", "fc"),
    }


def scan_for_the_counter(*shapes, out_shape, **_):
    """FLOPs of the scan as the counter wants them: two for each multiply-add."""
    return 2 * OP_MACS["pks4::scan_numba"](shapes, out_shape)


@pytest.mark.parametrize("frames", [1, 3, 8])
@every_variant
def test_closed_form_equals_what_runs_at_tiny_scale(variant, frames):
    module, options = VARIANTS[variant]
    with torch.device("meta"):
        sizes = {**module.SCALES["tiny"], **options}
        model = module.build(frames=frames, num_classes=5, **sizes)
    mapping = {torch.ops.pks4.scan_numba: scan_for_the_counter}
    video = torch.empty(2, frames, 3, 64, 64, device="meta")
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter, torch.no_grad():
        assert model(video).shape == (2, 5)
    assert 2 * sum(model.macs(2).values()) == counter.get_total_flops()


@pytest.mark.parametrize("frames", [1, 3, 8])
@every_variant
def test_logits_are_finite_for_the_frames_that_it_was_built_for(variant, frames):
    logits = small(variant, frames)(clip(frames))
    assert logits.shape == (2, 5)
    assert logits.isfinite().all()


@every_variant
def test_other_frames_or_sizes_are_refused_in_one_line(variant):
    model = small(variant, frames=3)
    with pytest.raises(ValueError, match=r"^this model was built for 3 frames, got 4.*$"):
        model(clip(4))
    with pytest.raises(ValueError, match=r"^video must be \(b, t, 3, 32, 32\).*$"):
        model(clip(3, size=48))


@pytest.mark.parametrize(
    ("variant", "options", "line"),
    [
        ("divided", {"attention_type": "divide"}, "did you mean 'divided'"),
        ("divided", {"attention": "spda"}, "did you mean 'sdpa'"),
        ("divided", {"heads": 5}, "width 24 is not a multiple of heads 5"),
        ("adapters-1", {"adapters_per_block": 3}, "must be 1 or 2"),
        ("mamba", {"init": "offical"}, "did you mean 'official'"),
        ("mamba", {"patch_size": 15}, "not a multiple of patch_size 15"),
        ("mamba", {"scan_backend": "recomput"}, "did you mean 'recompute'"),
    ],
)
def test_options_that_do_not_exist_are_refused(variant, options, line):
    with pytest.raises(ValueError, match=line):
        small(variant, **options)(clip())


@every_variant
def test_gradients_reach_exactly_the_trainable_parameters(variant):
    model = small(variant).train()
    model(clip()).square().sum().backward()
    for name, p in model.named_parameters():
        assert (p.grad is not None) == p.requires_grad, name
    shaken = shake(small(variant).train())
    shaken(clip()).square().sum().backward()
    silent = {name for name, p in shaken.named_parameters() if p.requires_grad and not p.grad.any()}
    assert silent == {
        name for name, _ in shaken.named_parameters() if name.startswith(CANNOT_REACH_CLS[variant])
    }


@every_variant
def test_frame_order_matters_once_nothing_is_zero(variant):
    model, video = shake(small(variant)).eval(), clip()
    with torch.no_grad():
        assert (model(video) - model(video.flip(1))).abs().max() > 1e-4


@pytest.mark.parametrize("variant", ["divided", "joint", "adapters-1", "adapters-2"])
def test_a_fresh_model_is_blind_to_frame_order(variant):
    model, video = small(variant), clip()
    with torch.no_grad():
        torch.testing.assert_close(model(video), model(video.flip(1)))


@pytest.mark.parametrize(("variant", "layers"), [("divided", 4), ("joint", 2), ("adapters-2", 2)])
def test_attention_runs_through_the_one_kernel_that_an_instrument_can_replace(
    variant, layers, monkeypatch
):
    calls, kernel = [], F.scaled_dot_product_attention

    def noted(q, k, v, **kwargs):
        calls.append(tuple(q.shape))
        return kernel(q, k, v, **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", noted)
    model = small(variant)
    model(clip())
    assert len(calls) == layers


def test_eager_attention_uses_no_fused_kernel_and_equals_it(monkeypatch):
    video = clip()
    fused = shake(small("divided"))(video)
    monkeypatch.delattr(F, "scaled_dot_product_attention")
    torch.testing.assert_close(shake(small("divided-eager"))(video), fused)


def trunk_of(variant):
    """Options that put a rival on the ViT that the image twin has."""
    return {"clip": False} if variant.startswith("adapters") else {}


def image_twin(module):
    """The twin at one frame, every weight of it awake, and its state dict (no CLIP trunk here)."""
    sizes = SMALL_MAMBA if module is video_mamba else SMALL_VIT
    twin_of = {"frame_mean": frame_mean, "video_mamba": video_mamba}[module.IMAGE_TWIN]
    torch.manual_seed(5)
    twin = twin_of.build(frames=1, num_classes=7, **sizes)
    return shake(twin).eval(), twin.state_dict()


@torch.no_grad()
@pytest.mark.parametrize(
    ("variant", "frames"),
    [("divided", 1), ("divided", 3), ("joint", 1), ("adapters-1", 3), ("adapters-2", 1)],
)
def test_with_image_weights_a_still_clip_has_the_features_of_the_image_model(variant, frames):
    twin, state = image_twin(VARIANTS[variant][0])
    model, image = small(variant, frames, **trunk_of(variant)).eval(), clip(1)
    model.load_image_weights(state)
    head = model.fc if variant.startswith("adapters") else model.head
    want = head(twin.backbone.net.forward_features(image[:, 0])[:, 0])
    torch.testing.assert_close(model(image.expand(-1, frames, -1, -1, -1)), want)


def test_attention_of_the_image_model_starts_the_attention_along_time():
    _, state = image_twin(timesformer)
    model = small("divided")
    model.load_image_weights(state)
    for name in ("attn.qkv.bias", "attn.proj.weight", "norm1.weight"):
        along_time = model.get_parameter(f"blocks.1.temporal_{name}")
        assert torch.equal(along_time, state[f"backbone.net.blocks.1.{name}"])
    assert not model.blocks[1].temporal_fc.weight.any()


@torch.no_grad()
def test_video_mamba_starts_from_itself_at_one_frame():
    twin, state = image_twin(video_mamba)
    still, moving = small("mamba", 1), small("mamba", 3)
    for model in (still, moving):
        model.load_image_weights(state)
        assert not model.temporal_pos_embedding.any()
        assert model.head.out_features == 5
    still.head, twin.temporal_pos_embedding.data[:] = twin.head, 0
    torch.testing.assert_close(still(clip(1)), twin(clip(1)))


@every_variant
def test_image_weights_that_do_not_fit_are_refused(variant):
    _, state = image_twin(VARIANTS[variant][0])
    lost = next(k for k in state if k.endswith("norm.weight"))
    with pytest.raises((ValueError, RuntimeError), match=r"(?i)missing"):
        small(variant).load_image_weights({k: v for k, v in state.items() if k != lost})


def test_frozen_trunk_stays_in_eval_mode_and_keeps_nothing_below_the_first_adapter():
    model, seen = small("adapters-1").train(), {}
    assert model.dropout.training
    assert not any(layer.training for layer in model.trunk.modules())
    for i, block in enumerate(model.trunk.blocks):
        block.attn.register_forward_hook(
            lambda _, __, out, i=i: seen.__setitem__(i, out.requires_grad)
        )
    model(clip())
    assert seen == {0: False, 1: True}


def test_steps_start_as_the_authors_code_ends_or_as_mamba_meant():
    for end in ("", "_b"):
        name = f"layers.1.mixer.dt_proj{end}.bias"
        assert not small("mamba").get_parameter(name).any()
        steps = F.softplus(small("mamba", init="mamba").get_parameter(name))
        assert 0.001 <= steps.min() < 0.01 < steps.max() <= 0.1


def test_the_scan_backend_does_not_change_outputs_or_gradients():
    fast, slow = (shake(small("mamba", scan_backend=b)) for b in ("recompute", "reference"))
    video = clip()
    torch.testing.assert_close(fast(video), slow(video))
    for model in (fast, slow):
        model(video).square().sum().backward()
    for name, p in fast.named_parameters():
        torch.testing.assert_close(p.grad, slow.get_parameter(name).grad, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("variant", ["divided", "joint", "mamba"])
def test_drop_path_acts_in_training_only_and_never_on_the_first_layer(variant):
    model, video = shake(small(variant, drop_path=0.9)), clip()
    blocks = model.layers if variant == "mamba" else model.blocks
    assert [block.drop_path.drop_prob for block in blocks] == [0.0, 0.9]
    plain = shake(small(variant)).eval()
    torch.testing.assert_close(model.eval()(video), plain(video))
    assert not torch.allclose(model.train()(video), plain(video))
