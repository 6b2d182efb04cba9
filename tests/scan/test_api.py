"""The doors of the scan: mamba-ssm's arguments, names, bad input, and what stands around them."""

import subprocess
import sys
import threading
import warnings

import pytest
import torch

from pks4 import scan
from pks4.scan import BACKENDS, resolve, scan_sites, selective_scan
from tests.factories.scans import HERE, inputs, precise


def by_hand(u, delta, A, B, C, D, z, bias):
    """mamba-ssm's function as a sum over steps in its own layout, B and C (b, d, n, l)."""
    step = torch.nn.functional.softplus(delta + bias[:, None])
    h, ys = torch.zeros(*u.shape[:2], A.shape[1], dtype=u.dtype), []
    for i in range(u.shape[2]):
        h = torch.exp(step[:, :, i, None] * A) * h
        h = h + (step * u)[:, :, i, None] * B[..., i]
        ys.append((h * C[..., i]).sum(-1))
    y = torch.stack(ys, -1) + D[:, None] * u
    return y * torch.nn.functional.silu(z), h


@pytest.mark.parametrize("backend", ["reference", *HERE])
@pytest.mark.parametrize("groups", [None, 1, 2])
def test_selective_scan_is_that_of_mamba_ssm(backend, groups):
    g, b, d, n, steps = torch.Generator().manual_seed(0), 2, 6, 3, 7

    def draw(*shape):
        return torch.randn(*shape, generator=g).requires_grad_()

    u, delta, z, D, bias = draw(b, d, steps), draw(b, d, steps), draw(b, d, steps), draw(d), draw(d)
    A = (-draw(d, n).exp()).detach().requires_grad_()
    grouped = (groups,) if groups else ()
    B, C = draw(b, *grouped, n, steps), draw(b, *grouped, n, steps)
    wide = [(x if groups else x[:, None]).repeat_interleave(d // (groups or 1), 1) for x in (B, C)]
    want, last = by_hand(u, delta, A, *wide, D, z, bias)
    got, state = selective_scan(u, delta, A, B, C, D, z, bias, True, True, backend=backend)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(state, last)
    leaves = (u, delta, A, B, C, D, z, bias)
    for mine, theirs in zip(
        torch.autograd.grad(got.sin().sum(), leaves),
        torch.autograd.grad(want.sin().sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_selective_scan_refuses_what_it_does_not_do():
    u, A, B = torch.zeros(1, 4, 5), -torch.ones(4, 2), torch.zeros(1, 2, 5)
    with pytest.raises(ValueError, match=r"B must be \(b, n, l\) or \(b, g, n, l\)"):
        selective_scan(u, u, A, A, B)
    with pytest.raises(ValueError, match="B must have groups g that divide d = 4, got g = 3"):
        selective_scan(u, u, A, B[:, None].expand(1, 3, 2, 5), B[:, None].expand(1, 3, 2, 5))
    with pytest.raises(ValueError, match=r"u must be \(b, d, l\)"):
        selective_scan(u[0], u, A, B, B)
    with pytest.raises(ValueError, match="real"):
        selective_scan(u, u, A.cfloat(), B, B)


# names


def test_auto_says_what_it_takes():
    assert resolve("auto", "cpu", torch.float32) == "numba"
    assert resolve("auto", "cpu", torch.bfloat16) == "numba"
    assert resolve("auto", "cpu", torch.float64) == "recompute"
    assert resolve("auto", "meta") == "numba"  # which counts for a CPU
    assert resolve("auto", "xpu") == "recompute"


def test_auto_without_numba_is_recompute_and_naming_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr("pks4.scan.backends.INSTALLED", frozenset())
    assert resolve("auto", "cpu") == "recompute"
    with pytest.raises(ValueError, match="not installed; pip install numba"):
        resolve("numba", "cpu")


def test_a_named_backend_that_cannot_run_raises_with_the_remedy():
    x = inputs(1, 2, 3, 4, 2)
    with pytest.raises(ValueError, match=r"'numba' does not take torch.float64; take 'recompute'"):
        scan_sites(*x, backend="numba")
    with pytest.raises(ValueError, match=r"'mamba_ssm' .*pks4-bench\[cuda\]"):
        resolve("mamba_ssm", "cuda")
    with pytest.raises(ValueError, match="did you mean 'recompute'"):
        scan_sites(*x, backend="recomputed")


def test_a_delta_that_is_not_finite_is_found_if_asked_for():
    u, delta, A, B, C, *_ = inputs(1, 2, 3, 4, 2)
    with torch.no_grad():
        delta[0, 1, 2, 3] = float("inf")
    with pytest.raises(ValueError, match="delta is not finite"):
        scan_sites(u, delta, A, B, C, check_finite=True)


# around them


@pytest.mark.slow
@pytest.mark.parametrize("backend", HERE)
def test_compile_and_export_see_one_operator(backend):
    x = [v.detach() for v in inputs(2, 5, 3, 4, 2, precise(backend))]

    class Scan(torch.nn.Module):
        def forward(self, *x):
            return scan_sites(*x, backend=backend)

    want = scan_sites(*x, backend=backend)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, while it traces
        compiled = torch.compile(Scan(), backend="aot_eager", fullgraph=True)
        exported = torch.export.export(Scan(), tuple(x))
        assert torch.equal(compiled(*x), want)
        assert torch.equal(exported.module()(*x), want)
    assert f"scan_{backend}" in str(exported.graph)


@pytest.mark.slow
def test_the_doors_load_no_compiler():
    code = """
import sys, pks4.scan
sys.exit(bool({"numba", "triton", "torch._dynamo", "selective_scan_cuda"} & set(sys.modules)))
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=120)


class Scans(torch.utils.data.Dataset):
    """A data set that scans, as a model in a DataLoader's worker would."""

    def __init__(self, x):
        self.x = x

    def __len__(self):
        return 4

    def __getitem__(self, i):
        return scan_sites(*self.x, backend="numba")


@pytest.mark.slow
def test_forked_workers_may_scan_after_threads_did(monkeypatch):
    x = [v.detach() for v in inputs(2, 8, 64, 64, 16, torch.float32)]
    monkeypatch.setattr("pks4.scan.numba_scan.WORTH_A_THREAD", 1)
    want = scan_sites(*x, backend="numba")  # with a pool of threads, which no child inherits
    loader = torch.utils.data.DataLoader(
        Scans(x), num_workers=2, multiprocessing_context="fork", timeout=60
    )
    assert all(torch.equal(y[0], want) for y in loader)


def test_cached_kernels_belong_to_the_text_of_simd():
    from pks4.scan import numba_kernels

    ours, others = numba_kernels._entries(1)[0], numba_kernels._entries(2)[0]
    keys = {f._cache._index_key((), _Codegen()) for f in (ours, others)}
    assert len(keys) == 2


class _Codegen:
    """What the key of Numba's cache asks of a code generator."""

    def magic_tuple(self):
        return ()


def test_several_threads_may_scan_at_once():
    x = [v.detach() for v in inputs(2, 8, 64, 64, 16, torch.float32)]
    want, results = scan_sites(*x, backend="numba"), []
    callers = [
        threading.Thread(target=lambda: results.append(scan_sites(*x, backend="numba")))
        for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all(torch.equal(y, want) for y in results)
    assert len(results) == 4


def test_every_backend_has_an_operator():
    assert set(BACKENDS) - {"reference"} == set(scan.OPERATORS)
