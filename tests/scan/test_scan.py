"""The selective scan: every backend equals the plain loop, in outputs and gradients."""

import pytest
import torch

from pks4.scan import scan_sites
from pks4.scan.reference import scan_sites_reference
from tests.factories.scans import HERE, inputs, precise

SHAPES = [(2, 5, 3, 4, 3), (1, 1, 1, 1, 1), (3, 130, 1, 2, 5), (1, 17, 2, 33, 1), (2, 3, 4, 16, 16)]


def assert_equals_reference(backend, x, softplus=True, reverse=False, tolerance=None, **kwargs):
    """Outputs, last state and all gradients within a tolerance, relative to the largest value."""
    exact = [None if v is None else v.detach().double().requires_grad_() for v in x]
    want = scan_sites_reference(*exact, softplus, reverse)
    got = scan_sites(
        *x,
        backend=backend,
        delta_softplus=softplus,
        reverse=reverse,
        return_last_state=True,
        **kwargs,
    )
    g = torch.linspace(-1, 1, want[0].numel(), dtype=torch.float64).view_as(want[0])
    mine, theirs = ([v for v in values if v is not None] for values in (x, exact))
    grads = torch.autograd.grad(got[0], mine, g.to(got[0].dtype))
    exact_grads = torch.autograd.grad(want[0], theirs, g)
    tolerance = tolerance or (1e-10 if x[0].dtype == torch.float64 else 2e-6)
    for a, b in zip((*got, *grads), (*want, *exact_grads), strict=True):
        assert a.shape == b.shape
        assert (a.double() - b).abs().max() <= tolerance * b.abs().max().clamp(min=1e-6)


def test_reference_equals_a_sum_by_hand_for_one_channel_and_two_steps():
    one = torch.ones(1, 2, 1, 1, dtype=torch.float64)
    A, raw = torch.tensor([[-1.0]], dtype=torch.float64), torch.full_like(one, 0.5)
    y, last = scan_sites_reference(one * 2, raw, A, one * 3, one * 5, one.new_ones(1))
    step = torch.nn.functional.softplus(torch.tensor(0.5, dtype=torch.float64))
    h0 = step * 2 * 3
    h1 = torch.exp(-step) * h0 + step * 2 * 3
    torch.testing.assert_close(y.flatten(), torch.stack([h0 * 5 + 2, h1 * 5 + 2]))
    torch.testing.assert_close(last.flatten(), h1[None])


def test_reverse_is_the_scan_of_the_flipped_clip():
    u, delta, A, B, C, D, bias = inputs(1, 4, 2, 3, 2)
    back, last = scan_sites_reference(u, delta, A, B, C, D, bias, reverse=True)
    flipped = (v.flip(1) for v in (u, delta, B, C))
    u, delta, B, C = flipped
    forth, last_of_flipped = scan_sites_reference(u, delta, A, B, C, D, bias)
    torch.testing.assert_close(back, forth.flip(1))
    torch.testing.assert_close(last, last_of_flipped)


@pytest.mark.parametrize("backend", HERE)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reverse", [False, True])
def test_backend_equals_reference_in_output_and_all_gradients(backend, shape, reverse):
    assert_equals_reference(backend, inputs(*shape, precise(backend)), reverse=reverse)


@pytest.mark.parametrize("backend", HERE)
def test_backend_equals_reference_without_softplus_skip_and_bias(backend):
    u, delta, *rest = inputs(2, 4, 3, 5, 2, precise(backend))
    step = delta.detach().abs().requires_grad_()
    assert_equals_reference(backend, (u, step, *rest), softplus=False)
    assert_equals_reference(backend, (u, delta, *rest[:3], None, None))


@pytest.mark.parametrize("backend", HERE)
@pytest.mark.parametrize("threads", [1, 2])
def test_parts_of_the_work_do_not_change_the_result(backend, threads, monkeypatch):
    monkeypatch.setattr("pks4.scan.recompute.BLOCK", 4 * 3 * 2)
    monkeypatch.setattr("pks4.scan.numba_scan.WORTH_A_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    for shape in ((2, 3, 7, 4, 3), (1, 40, 1, 50, 3)):  # by sites; by channels
        assert_equals_reference(backend, inputs(*shape, precise(backend)))


@pytest.mark.parametrize("reverse", [False, True])
def test_gradcheck_of_recompute_in_float64(reverse):
    x = inputs(1, 3, 2, 2, 2)
    assert torch.autograd.gradcheck(
        lambda *a: scan_sites(*a, backend="recompute", reverse=reverse), x
    )


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("backend", HERE)
@pytest.mark.parametrize("last_state", [False, True])
def test_a_backend_is_a_valid_operator_and_so_is_its_backward(backend, last_state):
    x = inputs(1, 3, 2, 4, 2, precise(backend))
    module = f"scan_{backend}"
    operator, backward = (getattr(torch.ops.pks4, name) for name in (module, f"{module}_backward"))
    torch.library.opcheck(operator, (*x, True, False, last_state))
    plain = [v.detach() for v in x]
    y, _, kept = operator(*plain, True, False, last_state)
    torch.library.opcheck(backward, (y, kept, *plain, True, False))


@pytest.mark.parametrize("backend", HERE)
def test_non_contiguous_inputs(backend):
    u, delta, A, B, C, D, bias = inputs(2, 4, 3, 4, 2, precise(backend))
    both = torch.cat([B, C], -1)
    strange = (
        u.transpose(1, 2).contiguous().transpose(1, 2),
        torch.cat([delta, delta], -1)[..., 4:],
        A.T.contiguous().T,
        *both.split(2, -1),
        D,
        bias.flip(0),
    )
    strange = tuple(v.detach().requires_grad_() for v in strange)
    assert not any(v.is_contiguous() for v in strange[:5])
    assert_equals_reference(backend, strange)
    one = tuple(v[:1, :, :1] if v.ndim == 4 else v for v in strange)
    assert_equals_reference(backend, one)


@pytest.mark.parametrize("backend", HERE)
def test_bfloat16_inputs_with_a_float32_state(backend):
    half = [x.detach().bfloat16().requires_grad_() for x in inputs(2, 9, 3, 20, 4)]
    assert scan_sites(*half, backend=backend).dtype == torch.bfloat16
    assert_equals_reference(backend, half, tolerance=5e-3)  # half a unit of eight bits
    mixed = [x.float().detach().requires_grad_() if x.ndim < 4 else x for x in half]
    assert_equals_reference(backend, mixed, tolerance=5e-3)  # as under autocast


@pytest.mark.parametrize("backend", HERE)
def test_autocast_does_not_lower_the_precision_inside(backend):
    x = [v.detach().float() for v in inputs(2, 4, 3, 8, 4)]
    want = scan_sites(*x, backend=backend)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(scan_sites(*x, backend=backend), want)


@pytest.mark.parametrize("backend", HERE)
def test_frozen_inputs_take_no_gradient(backend):
    x = [v.detach() for v in inputs(1, 3, 2, 4, 2, precise(backend))]
    assert not scan_sites(*x, backend=backend).requires_grad
    x[2].requires_grad_()
    scan_sites(*x, backend=backend).sum().backward()
    assert x[2].grad is not None
    assert x[0].grad is None


@pytest.mark.parametrize("backend", HERE)
def test_no_gradient_flows_through_the_last_state(backend):
    x = inputs(1, 3, 2, 4, 2, precise(backend))
    _, last = scan_sites(*x, backend=backend, return_last_state=True)
    assert not last.requires_grad


def test_steps_from_tiny_to_huge_stay_within_five_millionths():
    u, _, A, B, C, D, _ = inputs(1, 300, 1, 32, 16, torch.float32)
    steps = torch.logspace(-4, 1, 300)[:, None, None].expand(1, 300, 1, 32)
    raw = steps + torch.log(-torch.expm1(-steps))
    assert_equals_reference("numba", (u, raw.requires_grad_(), A, B, C, D, None), tolerance=5e-6)


@pytest.mark.slow
def test_long_memories_do_not_drift():
    u, _, A, B, C, D, _ = inputs(1, 4096, 1, 16, 16, torch.float32)
    raw = torch.linspace(-6.9, -2.25, 16).expand_as(u).clone().requires_grad_()  # .001 to .1
    A = (-torch.arange(1.0, 17).repeat(16, 1)).requires_grad_()
    assert_equals_reference("numba", (u, raw, A, B, C, D, None), tolerance=5e-6)


def test_a_hundred_thousand_sites_lose_no_digits_of_the_sums():
    assert_equals_reference("numba", inputs(2, 2, 50_000, 4, 1, torch.float32), tolerance=5e-6)


def test_what_is_not_finite_stays_so():
    u, delta, A, B, C, D, _ = (v.detach() for v in inputs(1, 3, 1, 4, 2, torch.float32))
    delta[0, 1, 0, 2] = float("nan")
    finite = scan_sites(u, delta, A, B, C, D, backend="numba").isfinite()[0, :, 0]
    assert finite[:, 2].tolist() == [True, False, False]
    assert finite[:, [0, 1, 3]].all()


@pytest.mark.parametrize("backend", ["reference", *HERE])
def test_sites_are_independent_and_the_future_changes_nothing(backend):
    x = [v.detach().float() for v in inputs(1, 6, 4, 3, 2)]
    before = scan_sites(*x, backend=backend)
    x[0] = x[0].clone()
    x[0][:, 3, 2] += 1
    changed = (scan_sites(*x, backend=backend) != before).any(-1)[0]  # (t, s)
    assert changed[3:, 2].all()
    changed[3:, 2] = False
    assert not changed.any()


@pytest.mark.parametrize("backend", HERE)
@pytest.mark.parametrize("t", [9, 100])
def test_nothing_is_kept_beyond_the_inputs(backend, t):
    x = inputs(2, t, 3, 4, 2, precise(backend))
    mine = {v.untyped_storage()._cdata for v in x}
    extra = []

    def note(v):
        if v.untyped_storage()._cdata not in mine and v.numel():
            extra.append(tuple(v.shape))
        return v

    with torch.autograd.graph.saved_tensors_hooks(note, lambda v: v):
        scan_sites(*x, backend=backend)
    assert extra == []
