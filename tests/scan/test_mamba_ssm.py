"""The mamba_ssm backend against a stand-in for the kernel that asserts the kernel's conditions."""

import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F

from pks4.macs import OP_MACS
from pks4.scan import OPERATORS, mamba_ssm, resolve, scan_sites
from pks4.scan.reference import scan_sites_reference

KERNEL_CHUNK = 2048
NAMES = ("u", "delta", "A", "B", "C", "D", "delta_bias")


def loop(u, delta, A, B, C, D, bias, softplus):
    """The kernel's mathematics in its layout and float32: y and the state, chunk by chunk."""
    u, step, B, C = u.float(), delta.float(), B[:, 0].float(), C[:, 0].float()
    step = step if bias is None else step + bias[:, None]
    step = F.softplus(step) if softplus else step
    h, product, ys, ends = u.new_zeros(*u.shape[:2], A.shape[1]), None, [], []
    for i in range(u.shape[-1]):
        decay = torch.exp(step[..., i, None] * A)
        h = decay * h + (step[..., i] * u[..., i])[..., None] * B[:, None, :, i]
        product = decay if product is None else product * decay
        ys.append((h * C[:, None, :, i]).sum(-1))
        if (i + 1) % KERNEL_CHUNK == 0 or i + 1 == u.shape[-1]:
            ends.append(torch.stack([product, h], -1).flatten(-2))
    y = torch.stack(ys, -1)
    return y if D is None else y + D[:, None] * u, torch.stack(ends, 2)


class Kernel(ModuleType):
    """`selective_scan_cuda` as its C++ source describes it; counts its calls."""

    def __init__(self):
        super().__init__("selective_scan_cuda")
        self.__spec__ = ModuleSpec("selective_scan_cuda", None)
        self.calls = []

    def check(self, u, delta, A, B, C, D, z, bias):
        (rows, d, t), n = u.shape, A.shape[1]
        assert z is None
        assert u.dtype in (torch.float32, torch.bfloat16, torch.float16)
        assert u.dtype == delta.dtype == B.dtype == C.dtype
        assert A.dtype == torch.float32
        assert delta.shape == u.shape
        assert A.shape == (d, n)
        assert B.shape == C.shape == (rows, 1, n, t)
        assert n <= 256
        assert 0 < rows < 2**31
        assert d <= 65535
        for x in (u, delta, B, C):
            assert x.stride(-1) == 1 or t == 1
            assert x.numel() <= mamba_ssm.LIMIT
        assert rows * d * n * -(-t // KERNEL_CHUNK) <= mamba_ssm.LIMIT
        for x in (D, bias):
            assert x is None or (x.dtype == torch.float32 and x.shape == (d,))
            assert x is None or x.stride(-1) == 1 or d == 1

    def fwd(self, u, delta, A, B, C, D, z, bias, softplus):
        self.check(u, delta, A, B, C, D, z, bias)
        assert type(softplus) is bool
        y, x = loop(u, delta, A, B, C, D, bias, softplus)
        self.calls.append(("fwd", u.shape[0]))
        return [torch.empty_like(delta).copy_(y), x]

    def bwd(self, u, delta, A, B, C, D, z, bias, dout, x, out, dz, softplus, recompute_out_z):
        self.check(u, delta, A, B, C, D, z, bias)
        assert out is dz is None
        assert recompute_out_z is False
        assert dout.dtype == u.dtype
        assert dout.shape == u.shape
        assert dout.stride(-1) == 1 or u.shape[-1] == 1
        assert x.is_contiguous()
        self.calls.append(("bwd", u.shape[0]))
        inputs = (u, delta, A, B, C, D, bias)
        with ThreadPoolExecutor(1) as other:  # in this thread the operator has autograd off
            return other.submit(self.differentiate, inputs, dout, x, softplus).result()

    def differentiate(self, inputs, dout, x, softplus):
        leaves = [None if v is None else v.detach().float().requires_grad_() for v in inputs]
        y, state = loop(*leaves, softplus)
        torch.testing.assert_close(x, state.detach())
        grads = iter(torch.autograd.grad(y, [v for v in leaves if v is not None], dout.float()))
        return [None if v is None else next(grads).to(v.dtype) for v in inputs]


@pytest.fixture
def kernel(monkeypatch):
    double = Kernel()
    monkeypatch.setitem(sys.modules, "selective_scan_cuda", double)
    return double


def draw(b, t, s, d, n, dtype=torch.float32, without=()):
    g = torch.Generator().manual_seed(b + t + s + d + n)
    shapes = ((b, t, s, d), (b, t, s, d), (d, n), (b, t, s, n), (b, t, s, n), (d,), (d,))
    tensors = [torch.randn(*shape, generator=g) for shape in shapes]
    tensors[2] = -tensors[2].exp()
    for i in (0, 1, 3, 4):
        tensors[i] = tensors[i].to(dtype)
    return [
        None if name in without else x.requires_grad_()
        for name, x in zip(NAMES, tensors, strict=True)
    ]


def gradients(y, inputs):
    g = torch.linspace(-1, 1, y.numel()).view_as(y).to(y.dtype)
    return torch.autograd.grad(y, [x for x in inputs if x is not None], g)


def compare(inputs, softplus=True, reverse=False, **tolerance):
    y, last, _ = mamba_ssm.scan_mamba(*inputs, softplus, reverse, True)
    want, want_last = scan_sites_reference(*inputs, softplus, reverse)
    torch.testing.assert_close(y, want, **tolerance)
    torch.testing.assert_close(last, want_last)
    assert y.is_contiguous()
    for mine, reference in zip(gradients(y, inputs), gradients(want, inputs), strict=True):
        torch.testing.assert_close(mine, reference, **tolerance)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("softplus", [False, True])
@pytest.mark.parametrize("shape", [(2, 5, 3, 7, 3), (1, 1, 1, 1, 1), (3, 4, 1, 2, 5)])
def test_equals_reference_in_output_state_and_all_gradients(kernel, shape, softplus, reverse):
    compare(draw(*shape), softplus, reverse)
    assert [name for name, _ in kernel.calls] == ["fwd", "bwd"]


@pytest.mark.parametrize("without", [("D",), ("delta_bias",), ("D", "delta_bias")])
def test_d_and_bias_may_be_absent(kernel, without):
    compare(draw(2, 3, 2, 5, 3, without=without))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_parameters_in_float32(kernel, dtype):
    compare(draw(2, 4, 3, 5, 3, dtype), rtol=2e-2, atol=2e-2)


def test_half_precision_parameters_are_cast_and_their_gradients_cast_back(kernel):
    inputs = [x.detach().bfloat16().requires_grad_() for x in draw(2, 4, 3, 5, 3)]
    compare(inputs, rtol=2e-2, atol=5e-2)


def test_views_of_a_wider_tensor_are_taken(kernel):
    u, delta, A, B, C, D, bias = (x.detach() for x in draw(2, 4, 3, 5, 2))
    wide = torch.cat([u, delta, B, C], -1)
    views = wide.split([5, 5, 2, 2], -1)
    leaves = [views[0], views[1], A.T.contiguous().T, views[2], views[3], D, bias]
    compare([x.requires_grad_() for x in leaves])


def test_more_steps_than_a_chunk_of_the_kernel(kernel, monkeypatch):
    monkeypatch.setattr(mamba_ssm, "CHUNK", 4)
    monkeypatch.setattr(sys.modules[__name__], "KERNEL_CHUNK", 4)
    inputs = draw(2, 9, 3, 2, 2)
    assert mamba_ssm.scan_mamba(*inputs, True, False, False)[2].shape == (6, 2, 3, 4)
    compare(inputs)


@pytest.mark.parametrize("limit", [1000, 5 * 4 * 3 * 2, 5 * 4 * 3, 5 * 4 * 2, 5 * 4])
def test_a_batch_beyond_the_offsets_is_cut(kernel, monkeypatch, limit):
    monkeypatch.setattr(mamba_ssm, "LIMIT", limit)
    compare(draw(3, 4, 3, 5, 2), reverse=True)
    rows = [count for name, count in kernel.calls if name == "bwd"]
    assert sum(rows) == 9
    assert max(rows) == {1000: 9, 120: 6, 60: 3, 40: 2, 20: 1}[limit]


def test_pieces_cover_all_rows_once_in_order(monkeypatch):
    monkeypatch.setattr(mamba_ssm, "LIMIT", 4 * 10)
    for b, s in [(1, 1), (3, 2), (5, 3), (2, 9), (4, 4), (0, 3), (2, 0)]:
        cut = mamba_ssm.pieces(b, 2, s, 5, 2)
        assert [i for piece in cut for i in range(b * s)[piece.rows]] == list(range(b * s))
        grid = torch.arange(b * s).view(b, s)
        for piece in cut:
            rows = grid[piece.clips, piece.sites].flatten()
            assert rows.tolist() == list(range(b * s)[piece.rows])
            assert len(rows) <= 4


def test_pieces_of_the_sizes_that_matter():
    assert len(mamba_ssm.pieces(512, 8, 196, 384, 16)) == 1  # 100 352 rows
    rows = [p.rows.stop - p.rows.start for p in mamba_ssm.pieces(512, 8, 196, 1536, 16)]
    assert sum(rows) == 512 * 196
    assert max(rows) * 1536 * 16 < 2**31
    with pytest.raises(ValueError, match=r"d <= 65535 .* take 'recompute'"):
        mamba_ssm.pieces(1, 1, 1, 65536, 1)
    with pytest.raises(ValueError, match="n <= 256"):
        mamba_ssm.pieces(1, 1, 1, 1, 257)
    with pytest.raises(ValueError, match="one row"):
        mamba_ssm.pieces(1, 2**20, 1, 2**12, 16)


def test_too_many_states_are_refused_before_the_kernel(kernel):
    with pytest.raises(ValueError, match="n <= 256"):
        mamba_ssm.scan_mamba(*draw(1, 1, 1, 1, 257), True, False, False)
    assert kernel.calls == []


def test_empty_batch_needs_no_kernel(kernel):
    inputs = draw(0, 3, 2, 5, 2)
    y, last, _ = mamba_ssm.scan_mamba(*inputs, True, False, True)
    assert y.shape == (0, 3, 2, 5)
    assert last.shape == (0, 2, 5, 2)
    assert all(not g.any() for g in gradients(y, inputs))
    assert kernel.calls == []


@pytest.mark.parametrize(("t", "chunks"), [(7, 1), (2048, 1), (2049, 2)])
def test_saves_its_inputs_and_the_state_of_the_kernel(t, chunks):
    b, s, d, n = 2, 3, 5, 4
    inputs = [x.detach().to("meta").requires_grad_() for x in draw(b, 1, s, d, n)]
    inputs = [
        x.detach().expand(-1, t, -1, -1).requires_grad_() if x.ndim == 4 else x for x in inputs
    ]
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        y, *_ = mamba_ssm.scan_mamba(*inputs, True, False, False)
    assert y.shape == (b, t, s, d)
    assert [x.shape for x in saved[:7]] == [x.shape for x in inputs]
    assert [(x.shape, x.dtype) for x in saved[7:]] == [((b * s, d, chunks, 2 * n), torch.float32)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_kept_state_is_what_the_fake_says_and_both_operators_are_valid(kernel):
    inputs = draw(2, 3, 2, 5, 4)
    real = mamba_ssm.scan_mamba(*inputs, True, False, True)
    fake = mamba_ssm.scan_mamba(*(x.detach().to("meta") for x in inputs), True, False, True)
    assert [(x.shape, x.dtype) for x in real] == [(x.shape, x.dtype) for x in fake]
    torch.library.opcheck(mamba_ssm.scan_mamba, (*inputs, True, False, True))
    plain = [x.detach() for x in inputs]
    y, _, kept = mamba_ssm.scan_mamba(*plain, True, False, True)
    torch.library.opcheck(torch.ops.pks4.scan_mamba_ssm_backward, (y, kept, *plain, True, False))


def test_refused_where_it_cannot_run(monkeypatch):
    inputs = draw(1, 2, 1, 2, 2)
    with pytest.raises(ValueError, match=r"'mamba_ssm' does not run on cpu.*take 'recompute'"):
        scan_sites(*inputs, backend="mamba_ssm")
    with pytest.raises(ValueError, match=r"does not take torch\.float64; take 'recompute'"):
        resolve("mamba_ssm", "cuda", torch.float64)
    monkeypatch.setattr("pks4.scan.backends.INSTALLED", frozenset())
    with pytest.raises(ValueError, match=r"pip install 'pks4-bench\[cuda\]'"):
        resolve("mamba_ssm", "cuda")
    assert resolve("auto", "cuda") == "recompute"


def test_macs_of_the_operators_are_known():
    for name in OPERATORS:
        assert {f"pks4::scan_{name}", f"pks4::scan_{name}_backward"} <= set(OP_MACS)


def test_default_on_cuda_where_it_is_installed(monkeypatch):
    monkeypatch.setattr("pks4.scan.backends.INSTALLED", frozenset({"selective_scan_cuda"}))
    assert resolve("auto", "cuda", torch.bfloat16) == "mamba_ssm"
    assert resolve("auto", "cuda", torch.float64) == "recompute"
