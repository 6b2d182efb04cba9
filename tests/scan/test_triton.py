"""The Triton kernels against the reference in float64, on a CPU through Triton's interpreter.

Triton looks at TRITON_INTERPRET when it is imported, so the comparisons run in another process:
this file as a script. A second process compiles the kernels for a GPU, which needs none.
"""

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest
import torch

from pks4.scan import OPERATORS, resolve, scan_sites, triton_scan
from pks4.scan.custom_op import lines
from pks4.scan.reference import scan_sites_reference

SMALL = {"CHUNK": 2, "PROGRAMS": 2, "ELEMENTS": 8}  # several chunks, rows a program, blocks
NAMES = ("u", "delta", "A", "B", "C", "D", "delta_bias")
CASES = {  # shape (b, t, s, d, n), and what differs from the plain case
    "plain": ((2, 3, 2, 8, 4), {}),
    "odd": ((1, 5, 3, 5, 3), {}),
    "one of each": ((1, 1, 1, 1, 1), {}),
    "blocks and chunks": ((1, 5, 3, 5, 3), SMALL),
    "blocks and chunks, reverse": ((1, 5, 3, 5, 3), {**SMALL, "reverse": True}),
    "whole chunks": ((1, 4, 1, 2, 2), SMALL),
    "reverse": ((1, 3, 2, 5, 3), {"reverse": True}),
    "no softplus": ((1, 2, 1, 3, 2), {"softplus": False}),
    "no D": ((1, 2, 1, 3, 2), {"without": ("D",)}),
    "no bias": ((1, 2, 1, 3, 2), {"without": ("delta_bias",)}),
    "neither": ((1, 2, 1, 3, 2), {"without": ("D", "delta_bias")}),
    "large delta": ((1, 2, 1, 3, 2), {"delta_scale": 30.0}),
    "small delta": ((1, 2, 1, 3, 2), {"delta_shift": -18.0}),  # 1 + exp(-18) is 1 in float32
    "views": ((2, 2, 2, 3, 2), {"views": True}),
    "time before clips": ((2, 2, 2, 3, 2), {"permuted": True}),
    "bfloat16": ((1, 3, 1, 5, 3), {"dtype": "bfloat16"}),
    "float16": ((1, 3, 1, 5, 3), {"dtype": "float16"}),
    "bfloat16 parameters": ((1, 3, 1, 5, 3), {"dtype": "bfloat16", "all_half": True}),
}
SUMS = ("A", "D", "delta_bias")  # float32 beside half inputs
TOLERANCE = {"float32": 5e-6, "bfloat16": 8e-3, "float16": 1e-3}  # output rounding of the halves


def draw(b, t, s, d, n, dtype="float32", all_half=False, delta_scale=1.0, delta_shift=0.0, **case):
    """Inputs of a case; none of the values is lost in float64."""
    g = torch.Generator().manual_seed(0)
    shapes = ((b, t, s, d), (b, t, s, d), (d, n), (b, t, s, n), (b, t, s, n), (d,), (d,))
    x = dict(zip(NAMES, (torch.randn(*shape, generator=g) for shape in shapes), strict=True))
    x["A"] = -x["A"].exp()
    x["delta"] = x["delta"] * delta_scale + delta_shift
    for name in NAMES if all_half else ("u", "delta", "B", "C"):
        x[name] = x[name].to(getattr(torch, dtype))
    if case.get("permuted"):
        x["u"] = x["u"].transpose(0, 1).contiguous().transpose(0, 1)
    if case.get("views"):
        parts = [x[name] for name in ("u", "delta", "B", "C")]
        views = torch.cat(parts, -1).split([v.shape[-1] for v in parts], -1)
        x |= dict(zip(("u", "delta", "B", "C"), views, strict=True))
        assert lines(x["u"]).data_ptr() == x["u"].data_ptr()
    for name in case.get("without", ()):
        x[name] = None
    return [None if v is None else v.requires_grad_() for v in x.values()]


def differences(shape, case):
    """Largest difference to the reference over the reference's largest value, by tensor."""
    inputs = draw(*shape, **case)
    wide = [None if x is None else x.detach().double().requires_grad_() for x in inputs]
    flags = case.get("softplus", True), case.get("reverse", False)
    y, last, kept = triton_scan.scan_triton(*inputs, *flags, True)
    assert kept.numel() == 0
    assert y.is_contiguous()
    g = torch.linspace(-1, 1, y.numel()).view_as(y).to(y.dtype)
    want, want_last = scan_sites_reference(*wide, *flags)
    mine = torch.autograd.grad(y, [x for x in inputs if x is not None], g)
    theirs = torch.autograd.grad(want, [x for x in wide if x is not None], g.double())
    names = ["y", "last", *(name for name, x in zip(NAMES, inputs, strict=True) if x is not None)]
    pairs = zip(names, (y, last, *mine), (want, want_last, *theirs), strict=True)
    return {
        name: float((a.double() - b).abs().max() / b.abs().max().clamp(min=1e-30))
        for name, a, b in ((name, a.detach(), b.detach()) for name, a, b in pairs)
    }


def interpret():
    """What the interpreting process prints: the differences of every case, and more.

    Raises unless both operators are valid.
    """
    torch.set_num_threads(1)
    results = {}
    for name, (shape, case) in CASES.items():
        normal = {key: getattr(triton_scan, key) for key in SMALL}
        vars(triton_scan).update({key: case.get(key, value) for key, value in normal.items()})
        begin = time.perf_counter()
        results[name] = differences(shape, case)
        print(name, round(time.perf_counter() - begin, 2), results[name], file=sys.stderr)
        vars(triton_scan).update(normal)
    inputs = [x.detach() for x in draw(0, 3, 2, 5, 3)]
    inputs[0].requires_grad_()
    y = OPERATORS["triton"](*inputs, True, False, False)[0]
    empty = [list(x.shape) for x in (y, *torch.autograd.grad(y, inputs[0], y))]
    valid = [*draw(1, 3, 2, 4, 2), True, False, True]
    torch.library.opcheck(triton_scan.scan_triton, valid)
    plain = [x.detach() for x in valid[:7]]
    y, _, kept = triton_scan.scan_triton(*plain, *valid[7:])
    torch.library.opcheck(torch.ops.pks4.scan_triton_backward, (y, kept, *plain, True, False))
    door = scan_sites(*(x.detach() for x in draw(1, 2, 2, 3, 2)), backend="triton")
    return {"cases": results, "empty": empty, "door": list(door.shape)}


def compiled():
    """Compile both kernels to machine code for an H100."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from pks4.scan import triton_kernels

    flags = {"SOFTPLUS": True, "REVERSE": True, "D_BLOCK": 32, "N_BLOCK": 16}
    tensors = {"u": "*bf16", "delta": "*bf16", "B": "*bf16", "C": "*bf16", "y": "*bf16"}
    tensors |= dict.fromkeys(("g", "du", "ddelta"), "*bf16")
    tensors |= dict.fromkeys(("A", "D", "bias", "last", "scratch"), "*fp32")
    tensors |= dict.fromkeys(("dA", "dB", "dC", "dD", "dbias"), "*fp32")
    for kernel, own in (
        (triton_kernels.forward, {**flags, "LAST": True}),
        (triton_kernels.backward, flags),
        (triton_kernels.forward, {**flags, "LAST": False, "n": 1, "d": 1, "u_pitch": 1}),
    ):
        signature = {
            name: "constexpr" if name in own else tensors.get(name, "i32")
            for name in kernel.arg_names
        }
        source = ASTSource(fn=kernel, signature=signature, constexprs=own)
        made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4})
        assert made.asm["cubin"]
    return {"made": True}


def elsewhere(task, interpreted, tmp_path):
    """Run a function of this file in another process and give what it prints."""
    env = {**os.environ, "TRITON_INTERPRET": interpreted, "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, __file__, task], env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


needs_triton = pytest.mark.skipif(
    find_spec("triton") is None, reason="triton is not installed (it is for Linux)"
)


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory):
    return elsewhere("interpret", "1", tmp_path_factory.mktemp("triton"))


@pytest.mark.slow
@needs_triton
@pytest.mark.parametrize("case", CASES)
def test_equals_the_reference_in_output_state_and_all_gradients(interpreted, case):
    found, differs = interpreted["cases"][case], CASES[case][1]
    assert len(found) == 9 - len(differs.get("without", ()))
    half = differs.get("dtype", "float32")
    for name, error in found.items():
        whole = name == "last" or (name in SUMS and "all_half" not in differs)
        assert error <= TOLERANCE["float32" if whole else half], (name, error)


@pytest.mark.slow
@needs_triton
def test_empty_batch_and_the_door(interpreted):
    assert interpreted["empty"] == [[0, 3, 2, 5], [0, 3, 2, 5]]
    assert interpreted["door"] == [1, 2, 2, 3]


@pytest.mark.slow
@needs_triton
def test_kernels_compile_for_a_gpu(tmp_path):
    if find_spec("triton.backends.nvidia") is None:
        pytest.skip("this triton was built without the compiler for NVIDIA")
    assert elsewhere("compiled", "0", tmp_path) == {"made": True}


def test_saves_nothing_beyond_its_inputs_and_runs_on_meta():
    inputs = [x.detach().to("meta").requires_grad_() for x in draw(2, 3, 4, 5, 2)]
    mine, extra = {x.untyped_storage()._cdata for x in inputs}, []

    def note(x):
        if x.numel() and x.untyped_storage()._cdata not in mine:
            extra.append(x.shape)
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        y, last = scan_sites(*inputs, backend="triton", return_last_state=True)
    assert extra == []
    assert y.shape == (2, 3, 4, 5)
    assert last.shape == (2, 4, 5, 2)
    grads = torch.autograd.grad(y, inputs, torch.empty_like(y))
    assert [g.shape for g in grads] == [x.shape for x in inputs]


def test_scratch_is_bounded_in_rows_and_grows_as_the_root_of_t():
    def states(t, sites=196):
        return triton_scan.scratch_shapes(2, t, sites, 384, 16)["states"]

    assert states(8) == (85, 12, 8 + 1, 32, 16)
    assert states(16) == (85, 12, 16 + 1, 32, 16)
    assert states(16, 10_000) == states(16)
    assert states(64) == (85, 12, 16 + 4, 32, 16)
    assert states(10_000) == (85, 12, 100 + 100, 32, 16)
    assert triton_scan.scratch_shapes(1, 5, 1, 70, 300)["states"] == (1, 70, 5 + 1, 1, 512)


def test_refused_where_it_cannot_run(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    inputs = [x.detach() for x in draw(1, 2, 1, 2, 2)]
    with pytest.raises(ValueError, match=r"'triton' does not run on cpu.*take 'recompute'"):
        scan_sites(*inputs, backend="triton")
    with pytest.raises(ValueError, match=r"does not take torch\.float64"):
        resolve("triton", "cuda", torch.float64)
    monkeypatch.setattr("pks4.scan.backends.INSTALLED", frozenset())
    with pytest.raises(ValueError, match="pip install triton"):
        resolve("triton", "cuda")


@pytest.mark.slow
def test_importing_the_scan_imports_no_kernels():
    code = """
import sys, torch
before = set(sys.modules)  # torch itself looks for triton
import pks4.scan
new = set(sys.modules) - before
kernels = {"triton", "numba", "selective_scan_cuda", "pks4.scan.triton_kernels"}
assert "pks4.scan.triton_scan" in new
print(sorted(kernels & new))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


if __name__ == "__main__":
    print(json.dumps({"interpret": interpret, "compiled": compiled}[sys.argv[1]]()))
