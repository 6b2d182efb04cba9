"""The selective scan: every backend equals the plain loop, in outputs and gradients."""

import pytest
import torch

from pks4.scan import BACKENDS, scan_sites
from pks4.scan.reference import scan_sites_reference

FAST = sorted(set(BACKENDS) - {"reference"})


def inputs(b, t, s, d, n, dtype=torch.float64, seed=0):
    """Random inputs of a scan, all needing gradients: u, delta, A, B, C, D, delta_bias."""
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype)

    tensors = (
        draw(b, t, s, d),
        draw(b, t, s, d),
        -draw(d, n).exp(),
        draw(b, t, s, n),
        draw(b, t, s, n),
        draw(d),
        draw(d),
    )
    return tuple(x.requires_grad_() for x in tensors)


def test_reference_equals_a_sum_by_hand_for_one_channel_and_two_steps():
    one = torch.ones(1, 2, 1, 1, dtype=torch.float64)
    A, raw = torch.tensor([[-1.0]], dtype=torch.float64), torch.full_like(one, 0.5)
    y = scan_sites_reference(
        one * 2, raw, A, one * 3, one * 5, one.new_ones(1), one.new_zeros(1)
    ).flatten()
    step = torch.nn.functional.softplus(torch.tensor(0.5, dtype=torch.float64))
    h0 = step * 2 * 3
    h1 = torch.exp(-step) * h0 + step * 2 * 3
    torch.testing.assert_close(y, torch.stack([h0 * 5 + 2, h1 * 5 + 2]))


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("shape", [(2, 5, 3, 4, 3), (1, 1, 1, 1, 1), (3, 130, 1, 2, 5)])
def test_backend_equals_reference_in_output_and_all_gradients(backend, shape):
    x = inputs(*shape)
    g = torch.linspace(-1, 1, x[0].numel(), dtype=torch.float64).view_as(x[0])
    want = scan_sites_reference(*x)
    got = scan_sites(*x, backend=backend)
    torch.testing.assert_close(got, want)
    for mine, reference in zip(
        torch.autograd.grad(got, x, g), torch.autograd.grad(want, x, g), strict=True
    ):
        torch.testing.assert_close(mine, reference)


@pytest.mark.parametrize("backend", FAST)
def test_blocks_of_sites_do_not_change_the_result(backend, monkeypatch):
    x = inputs(2, 3, 7, 4, 3)
    whole = scan_sites(*x, backend=backend)
    monkeypatch.setattr("pks4.scan.recompute.BLOCK", 4 * 3 * 2)
    torch.testing.assert_close(scan_sites(*x, backend=backend), whole, rtol=0, atol=1e-14)


@pytest.mark.parametrize("backend", FAST)
def test_gradcheck_in_float64(backend):
    x = inputs(1, 3, 2, 2, 2)
    assert torch.autograd.gradcheck(lambda *a: scan_sites(*a, backend=backend), x)


@pytest.mark.parametrize("backend", FAST)
def test_non_contiguous_inputs_and_bfloat16(backend):
    u, delta, A, B, C, D, bias = (x.detach() for x in inputs(2, 4, 3, 4, 2, torch.float32))
    u = u.transpose(1, 2).contiguous().transpose(1, 2)
    want = scan_sites_reference(u, delta, A, B, C, D, bias)
    torch.testing.assert_close(scan_sites(u, delta, A, B, C, D, bias, backend=backend), want)
    half = [x.bfloat16() for x in (u, delta, A, B, C, D, bias)]
    got = scan_sites(*half, backend=backend)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got, scan_sites_reference(*half))


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_sites_are_independent_and_the_future_changes_nothing(backend):
    x = [v.detach() for v in inputs(1, 6, 4, 3, 2)]
    before = scan_sites(*x, backend=backend)
    x[0] = x[0].clone()
    x[0][:, 3, 2] += 1
    changed = (scan_sites(*x, backend=backend) != before).any(-1)[0]  # (t, s)
    assert changed[3:, 2].all()
    changed[3:, 2] = False
    assert not changed.any()


def test_recompute_saves_nothing_beyond_its_inputs():
    x = inputs(2, 9, 3, 4, 2)
    mine = {v.untyped_storage()._cdata for v in x}
    extra = []

    def note(v):
        if v.untyped_storage()._cdata not in mine:
            extra.append(tuple(v.shape))
        return v

    with torch.autograd.graph.saved_tensors_hooks(note, lambda v: v):
        scan_sites(*x, backend="recompute")
    assert extra == []


def test_bad_input_is_refused_in_one_line():
    u, delta, A, B, C, *_ = inputs(1, 2, 3, 4, 2)
    with pytest.raises(ValueError, match="did you mean 'recompute'"):
        scan_sites(u, delta, A, B, C, backend="recomputed")
    with pytest.raises(ValueError, match="B must be"):
        scan_sites(u, delta, A, B[..., :1], C)
    with pytest.raises(ValueError, match="t = 0"):
        scan_sites(u[:, :0], delta[:, :0], A, B[:, :0], C[:, :0])
    with pytest.raises(ValueError, match=r"must be \(b, t, s, d\)"):
        scan_sites(u[0], delta, A, B, C)
