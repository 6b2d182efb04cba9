"""Measures: exact numbers that real runs confirm, and the silent traps, each sprung on purpose."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from pks4.bench import catalogue
from pks4.bench.counters import Uncounted, contracts, count_on_meta, count_with_fvcore
from pks4.bench.fakes import pretended
from pks4.bench.kernels import declared_attention
from pks4.bench.measure import macs, params, saved_bytes
from pks4.bench.plan import Cell
from pks4.bench.trial import Trial
from pks4.cost import scan_backward_macs, scan_macs

VIT = {"width": 24, "depth": 2, "heads": 3, "patch_size": 16, "image_size": 32}
CONTESTANTS = {
    "pks4": ("pks4", VIT | {"state": 3, "radius": 1, "expand": 1.0}),
    "pks4 tuned": ("pks4", VIT | {"frozen": False, "readout": "squeeze"}),
    "pks4 bidirectional": ("pks4", VIT | {"direction": "bidirectional"}),
    "pks4 without priors": ("pks4", VIT | {"modulate": []}),
    "pks4 halves": ("pks4", VIT | {"direction": "halves", "reference_frame": "next"}),
    "pks4 checkpointed": ("pks4", VIT | {"frozen": False, "checkpoint": True}),
    "pks4 inside": ("pks4", VIT | {"insert_after": 0, "smooth": False}),
    "pks4 inside checkpointed": ("pks4", VIT | {"insert_after": 0, "checkpoint": True}),
    "pks4 in chunks": ("pks4", VIT | {"frame_chunk": 2}),
    "pks4 on a CNN": ("pks4", {"backbone": "test_resnet", "image_size": 64, "frozen": False}),
    "pks4 inside a CNN": (
        "pks4",
        {"backbone": "test_resnet", "image_size": 64, "insert_after": 1, "frozen": False},
    ),
    "pks4 inside a frozen CNN": (
        "pks4",
        {"backbone": "test_convnext", "image_size": 64, "insert_after": 1},
    ),
    "pks4 inside a frozen CNN with batch norm": (
        "pks4",
        {"backbone": "test_resnet", "image_size": 64, "insert_after": 1},
    ),
    "pks4 on a timm ViT": ("pks4", {"backbone": "test_vit", "image_size": 32, "insert_after": 2}),
    "frame_mean": ("frame_mean", VIT),
    "divided": ("timesformer", VIT | {"attention_type": "divided"}),
    "joint": ("timesformer", VIT | {"attention_type": "joint"}),
    "joint eager": ("timesformer", VIT | {"attention_type": "joint", "attention": "eager"}),
    "st_adapter": ("st_adapter", VIT | {"adapter_width": 8, "adapters_per_block": 2}),
    "video_mamba": (
        "video_mamba",
        {"width": 24, "depth": 2, "patch_size": 16, "image_size": 32, "state": 3},
    ),
}


def trial(name, frames=3, settings=None, batch=1, **options):
    """A trial of a contestant small enough for a test."""
    model, own = CONTESTANTS[name]
    cell = Cell(
        id="cell", grid="grid", label=name, title=name, model=model, family="", scale="tiny",
        frames=frames, batch=batch, num_classes=5, task=None, options={**own, **options},
        measures=[], settings={}, time_limit_seconds=60, alone=False,
    )  # fmt: skip
    return Trial(cell, settings or macs.SETTINGS)


def test_every_contestant_is_in_this_contract():
    assert {model for model, _ in CONTESTANTS.values()} == set(catalogue.models())


@pytest.mark.parametrize("name", CONTESTANTS)
@pytest.mark.parametrize("frames", [1, 3])
def test_three_counters_agree_to_the_unit(name, frames):
    forward, train, _ = macs.measure(trial(name, frames))
    assert forward.evidence["agreed"] == [
        "torch on meta",
        "closed form",
        f"fvcore at {min(frames, 2)} frames",
    ]
    assert train.evidence["agreed"] == []  # nothing but the torch counter sees the backward
    assert isinstance(forward.value, int)
    assert train.value > forward.value


def test_beyond_check_up_to_no_agreement_with_fvcore_is_claimed():
    forward, _ = macs.measure(trial("frame_mean", 9))
    assert forward.evidence["agreed"] == ["torch on meta", "closed form"]


@pytest.mark.parametrize("kernel", ["flash_cpu", "math"])
@pytest.mark.parametrize("frames", [1, 4])
@pytest.mark.parametrize("name", CONTESTANTS)
def test_simulated_bytes_equal_a_real_run_to_the_byte(name, frames, kernel):
    t = trial(name, frames, batch=2)
    fake = t.build("meta")
    with pretended(fake, t.clip("meta")) as clip:
        simulated = saved_bytes.saved_bytes(fake, clip, kernel)
    assert simulated == saved_bytes.saved_bytes(t.build("cpu"), t.clip("cpu"), kernel)


@pytest.mark.parametrize("name", CONTESTANTS)
def test_parameters_on_meta_are_those_of_the_real_model(name):
    total, trained = (r.value for r in params.measure(trial(name)))
    real = list(trial(name).build().parameters())
    assert total == sum(p.numel() for p in real)
    assert trained == sum(p.numel() for p in real if p.requires_grad)


def second_difference(name, measured):
    """Second difference of a number over three equally spaced T."""
    low, middle, high = (measured(trial(name, frames)) for frames in (4, 8, 12))
    return high - 2 * middle + low


def forward_macs(t):
    """MACs of a forward, on meta."""
    with declared_attention("flash_cpu"):
        return count_on_meta(t.build("meta"), t.clip("meta"), backward=False)


def kept(t):
    """Bytes kept for backward, simulated."""
    model = t.build("meta")
    with pretended(model, t.clip("meta")) as clip:
        return saved_bytes.saved_bytes(model, clip, "flash_cpu")[0].total()


@pytest.mark.parametrize("name", [name for name in CONTESTANTS if name.startswith("pks4")])
def test_pks4_is_exactly_affine_in_frames(name):
    assert second_difference(name, forward_macs) == 0
    assert second_difference(name, kept) == 0


def test_joint_attention_is_not_affine_in_frames():
    assert second_difference("joint", forward_macs) > 0
    assert second_difference("joint", kept) == 0  # with a fused kernel: linear in bytes


def test_checkpointing_keeps_less_and_computes_at_most_one_more_forward():
    plain, again = (trial("pks4 tuned", 4, checkpoint=c) for c in (False, True))
    assert kept(again) < kept(plain) / 2
    assert forward_macs(again) == forward_macs(plain)
    with declared_attention("flash_cpu"):
        cost, dearer = (
            count_on_meta(t.build("meta"), t.clip("meta"), backward=True) for t in (plain, again)
        )
    assert cost < dearer <= cost + forward_macs(plain)


def test_a_frozen_backbone_keeps_less_than_a_tuned_one():
    assert kept(trial("pks4")) < kept(trial("pks4", frozen=False)) / 2


class Closed(nn.Module):
    """A module with a closed form that a test may get wrong on purpose."""

    def __init__(self, layer, stated):
        super().__init__()
        self.layer, self.stated, self.frames = layer, stated, 1

    def forward(self, video):
        return self.layer(video.flatten(1))

    def macs(self, batch=1):
        return {"backbone": self.stated}


class Planted(Trial):
    """A trial of a planted model."""

    def build(self, device="cpu", frames=None):
        return self.settings["model"]().to(device)


def planted(model):
    """A trial whose model is what `model()` gives; its clip has 3*32*32 numbers a frame."""
    settings = {**macs.SETTINGS, "check_frames": 1, "model": model}
    return Planted(trial("frame_mean", 1).cell, settings)


def test_a_wrong_closed_form_fails_the_measure():
    right, wrong = 3072 * 2, 3072 * 2 + 1
    assert next(iter(macs.measure(planted(lambda: Closed(nn.Linear(3072, 2), right))))).value
    with pytest.raises(macs.Disagreement, match="closed form 6,145"):
        list(macs.measure(planted(lambda: Closed(nn.Linear(3072, 2), wrong))))


def test_a_contraction_written_as_a_product_and_a_sum_fails_the_measure():
    class Hidden(nn.Module):
        def forward(self, x):
            return (x[:, :, None] * x.new_ones(3072, 2)).sum(1)

    with pytest.raises(macs.Disagreement, match="torch on meta 0"):
        list(macs.measure(planted(lambda: Closed(Hidden(), 3072 * 2))))


@torch.library.custom_op("pks4_test::unknown", mutates_args=())
def unknown(x: torch.Tensor) -> torch.Tensor:
    """An operator without a formula."""
    return x * 2


@unknown.register_fake
def _(x):
    return torch.empty_like(x)


def test_an_operator_without_a_formula_is_named():
    class Foreign(nn.Module):
        def forward(self, x):
            return unknown(x)

    x = torch.zeros(1, 4)
    with pytest.raises(Uncounted, match="pks4_test::unknown"):
        count_on_meta(Foreign(), x.to("meta"), backward=False)
    with pytest.raises(Uncounted, match="pks4_test::unknown"):
        count_with_fvcore(Foreign(), x)


class Attention(nn.Module):
    """Fused attention on 10 tokens of 4 channels: 2 * 10 * 10 * 4 = 800 MACs."""

    def forward(self, x):
        return F.scaled_dot_product_attention(x, x, x)


def test_public_counters_may_miss_fused_attention_on_a_cpu_and_ours_do_not():
    x = torch.zeros(1, 1, 10, 4)
    with FlopCounterMode(display=False) as plain, torch.no_grad():
        Attention()(x)
    known = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu in flop_registry
    assert plain.get_total_flops() == (2 * 800 if known else 0)  # torch knows it since 2.15
    found = count_with_fvcore(Attention(), x)
    assert found.plain_macs == 0
    assert found.missed == {"aten::scaled_dot_product_attention": 1}
    assert found.macs == 800
    assert count_on_meta(Attention(), x.to("meta"), backward=False) == 800


@pytest.mark.parametrize("kernel", ["flash_cpu", "efficient", "flash", "math"])
def test_every_declared_kernel_is_counted_alike_and_named(kernel):
    x = torch.zeros(1, 1, 16, 8, device="meta")
    x = x.half() if kernel == "flash" else x
    with declared_attention(kernel) as calls:
        assert count_on_meta(Attention(), x, backward=False) == 2 * 16 * 16 * 8
    assert calls.evidence() == kernel
    assert F.scaled_dot_product_attention.__name__ == "scaled_dot_product_attention"


@pytest.mark.parametrize("groups", [1, 4])
def test_backward_of_a_convolution_costs_twice_its_forward_with_groups_too(groups):
    conv = nn.Conv2d(8, 8, 3, padding=1, groups=groups, bias=False).to("meta")
    x = torch.zeros(1, 8, 5, 5, device="meta", requires_grad=True)
    forward = 8 * 25 * 9 * 8 // groups
    assert count_on_meta(conv, x, backward=True) == 3 * forward
    with FlopCounterMode(display=False) as plain:
        conv(x).sum().backward()
    assert (plain.get_total_flops() == 6 * forward) == (groups == 1)  # torch forgets the groups


def test_a_training_step_of_video_mamba_is_what_its_parts_add_up_to():
    t, (n, d, directions, layers) = trial("video_mamba", 4), (3, 48, 2, 2)
    model, tokens = t.build("meta"), 4 * 4 + 1
    patches = 4 * 4 * 3 * 16 * 16 * 24  # their input needs no gradient
    scan = directions * layers * scan_macs(tokens, d, n)
    scan_back = directions * layers * scan_backward_macs(tokens, d, n)
    forward = sum(model.macs().values())
    expected = 3 * (forward - scan) - patches + scan + scan_back
    assert count_on_meta(model, t.clip("meta"), backward=True) == expected


class Product(nn.Module):
    """A layer that is one expression of its input."""

    def __init__(self, expression):
        super().__init__()
        self.expression = expression

    def forward(self, x):
        return self.expression(x)


def test_where_fvcore_miscounts_a_broadcast_the_counters_disagree():
    x = torch.ones(4, 8)
    broadcast = Product(lambda x: x @ x.new_ones(16, 8, 4))
    assert count_on_meta(broadcast, x.to("meta"), backward=False) == 16 * 4 * 8 * 4
    assert count_with_fvcore(broadcast, x).macs == 4 * 8 * 4  # so a cell with it fails


def test_baddbmm_has_no_handle_and_is_named():
    batch = Product(lambda x: torch.baddbmm(x[:, :, :1], x, x.transpose(1, 2)))
    with pytest.raises(Uncounted, match="aten::baddbmm"):
        count_with_fvcore(batch, torch.ones(2, 3, 4))


@pytest.mark.parametrize(
    "op", ["_fft_r2c", "_cdist_forward", "_addmm_activation", "_transformer_encoder_layer_fwd"]
)
def test_operators_that_contract_under_other_names_must_have_a_formula(op):
    assert contracts(f"aten::{op}")
    assert not contracts("aten::native_layer_norm")


def test_the_declared_kernel_also_runs_when_checkpointing_computes_again():
    x = torch.randn(1, 1, 8, 4, requires_grad=True)
    with declared_attention("math") as calls:
        checkpoint(Attention(), x, use_reentrant=False).sum().backward()
    assert calls.count == 2


def test_two_views_of_one_storage_count_once():
    class Views(nn.Module):
        def forward(self, x):
            y = x * 2  # (2, 6): 48 bytes, kept as two views of one storage
            return y[0].sin() + y[1].sin()

    x = torch.randn(2, 6, requires_grad=True)
    assert saved_bytes.saved_bytes(Views(), x, "math")[0].total() == 48


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fake_kernels_give_the_dtype_and_shape_of_the_real_ones(dtype):
    x = torch.randn(2, 3, 4, 8, dtype=dtype)
    A, D = -torch.ones(8, 2, dtype=dtype), torch.ones(8, dtype=dtype)
    scan = (x, x, A, x[..., :2], x[..., 2:4], D, None, True, False, True)
    for op, args in (
        (torch.ops.pks4.scan_recompute, scan),
        (torch.ops.pks4.scan_numba, scan),
        (torch.ops.pks4.local_correlation, (x, x, 1, 1)),
    ):
        real = op(*args)
        fake = op(*(a.to("meta") if isinstance(a, torch.Tensor) else a for a in args))
        pairs = zip(real, fake, strict=True) if isinstance(real, tuple) else [(real, fake)]
        for r, f in pairs:
            assert (r.dtype, r.shape, r.stride()) == (f.dtype, f.shape, f.stride())


def test_norms_are_not_contractions():
    layer = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 2))
    found = count_with_fvcore(layer, torch.zeros(3, 8))
    assert found.macs == 3 * 8 * 2
    assert found.plain_macs > found.macs  # left alone, fvcore counts the norm


def test_a_mask_is_refused_rather_than_counted_wrong():
    x = torch.zeros(1, 1, 4, 4)
    with declared_attention("math"), pytest.raises(ValueError, match="masks"):
        F.scaled_dot_product_attention(x, x, x, attn_mask=torch.ones(4, 4))


def test_without_a_call_no_kernel_is_claimed():
    with declared_attention("math") as calls:
        pass
    assert calls.evidence() == "no fused attention"
    with pytest.raises(ValueError, match="did you mean 'flash'"), declared_attention("flush"):
        pass
