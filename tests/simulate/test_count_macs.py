"""Counters: the silent traps of counting, each sprung on purpose."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from pks4.simulate.attention_kernels import UncountedAttention, declared_attention
from pks4.simulate.count_macs import Uncounted, contracts, count_on_meta, count_with_fvcore
from pks4.simulate.saved_bytes import saved_bytes


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


@pytest.mark.slow
def test_a_process_that_imports_only_the_counters_can_count():
    code = (
        "import torch; from pks4.simulate.count_macs import count_on_meta; "
        "layer = torch.nn.Linear(3, 4, device='meta'); "
        "print(count_on_meta(layer, torch.empty(2, 3, device='meta'), backward=False))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "24", done.stderr


def test_a_function_of_a_model_is_counted_too():
    layer = nn.Linear(3, 4, device="meta")
    clip = torch.empty(2, 3, device="meta")
    assert count_on_meta(layer.forward, clip, backward=False) == 2 * 3 * 4


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


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("btqk,qkd->btqd", [(3, 7, 11, 13), (11, 13, 17)]),  # 51,051; fvcore alone says 51,050
        ("bik,bkj->bij", [(2, 3, 5), (2, 5, 7)]),
        ("ik,jk->ij", [(301, 307), (311, 307)]),
        ("ikl,kj->ij", [(3, 5, 4), (5, 7)]),  # l is summed before anything is multiplied
    ],
)
def test_an_einsum_is_counted_to_the_unit(equation, shapes):
    tensors = [torch.ones(shape) for shape in shapes]
    pair = Product(lambda x: torch.einsum(equation, x, tensors[1].to(x.device)))
    counted = count_on_meta(pair, tensors[0].to("meta"), backward=False)
    assert count_with_fvcore(pair, tensors[0]).macs == counted > 0


def test_an_einsum_of_three_has_no_formula_and_is_named():
    triple = Product(lambda x: torch.einsum("ij,jk,kl->il", x, x, x))
    with pytest.raises(Uncounted, match="einsum 'ij,jk,kl->il'; write it in pairs"):
        count_with_fvcore(triple, torch.ones(2, 2))


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


def test_norms_are_not_contractions():
    layer = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 2))
    found = count_with_fvcore(layer, torch.zeros(3, 8))
    assert found.macs == 3 * 8 * 2
    assert found.plain_macs > found.macs  # left alone, fvcore counts the norm


def test_a_mask_is_refused_rather_than_counted_wrong():
    x = torch.zeros(1, 1, 4, 4)
    with declared_attention("math"), pytest.raises(UncountedAttention, match="mask"):
        F.scaled_dot_product_attention(x, x, x, attn_mask=torch.ones(4, 4))


class CausalAttention(nn.Module):
    """As `Attention`, each token with those before it."""

    def forward(self, x):
        return F.scaled_dot_product_attention(x, x, x, is_causal=True)


@pytest.mark.parametrize("kernel", ["flash_cpu", "efficient", "flash"])
def test_causal_attention_keeps_what_attention_keeps_and_counts_all_pairs(kernel):
    x = torch.zeros(1, 2, 16, 8, device="meta", requires_grad=True)
    x = x.half() if kernel == "flash" else x
    kept = [
        saved_bytes(model(), x, kernel).by_class.total() for model in (Attention, CausalAttention)
    ]
    assert kept[0] == kept[1] > 0
    with declared_attention(kernel):
        assert count_on_meta(CausalAttention(), x, backward=False) == 2 * 2 * 16 * 16 * 8


def test_causal_attention_is_what_runs_and_keeps_on_a_cpu():
    x = torch.randn(1, 2, 16, 8, requires_grad=True)
    real = CausalAttention()(x)
    with declared_attention("flash_cpu"):
        assert torch.equal(CausalAttention()(x), real)
    real_bytes = saved_bytes(CausalAttention(), x, "flash_cpu").by_class.total()
    meta_bytes = saved_bytes(CausalAttention(), x.to("meta"), "flash_cpu").by_class.total()
    assert real_bytes == meta_bytes
    with declared_attention("math"), pytest.raises(UncountedAttention, match="causal"):
        CausalAttention()(x)


def test_without_a_call_no_kernel_is_claimed():
    with declared_attention("math") as calls:
        pass
    assert calls.evidence() == "no fused attention"
    with pytest.raises(ValueError, match="did you mean 'flash'"), declared_attention("flush"):
        pass
