"""Every argument of the scan is checked before any work; what is empty gives empty results."""

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from pks4.scan import OPERATORS, scan_sites, selective_scan
from tests.factories.scans import HERE, inputs

BACKENDS = ["auto", "reference", *HERE]
DOORS = {"scan_sites": scan_sites, "selective_scan": selective_scan}
SHAPES = {  # letters and sizes that fit
    "scan_sites": {
        "u": ("b, t, s, d", (2, 5, 3, 8)), "delta": ("b, t, s, d", (2, 5, 3, 8)),
        "A": ("d, n", (8, 4)), "B": ("b, t, s, n", (2, 5, 3, 4)), "C": ("b, t, s, n", (2, 5, 3, 4)),
        "D": ("d,", (8,)), "delta_bias": ("d,", (8,)),
    },
    "selective_scan": {
        "u": ("b, d, l", (2, 8, 5)), "delta": ("b, d, l", (2, 8, 5)), "A": ("d, n", (8, 4)),
        "B": ("b, n, l", (2, 4, 5)), "C": ("b, n, l", (2, 4, 5)), "D": ("d,", (8,)),
        "z": ("b, d, l", (2, 8, 5)), "delta_bias": ("d,", (8,)),
    },
}  # fmt: skip
ARGUMENTS = [(door, name) for door, shapes in SHAPES.items() for name in shapes]


def arguments(door, groups=None):
    """Ones of every argument; B and C with groups if asked for."""
    shapes = {name: shape for name, (_, shape) in SHAPES[door].items()}
    if groups:
        shapes |= dict.fromkeys(("B", "C"), (2, groups, 4, 5))
    return {name: torch.ones(shape) for name, shape in shapes.items()}


def wrong_shapes(door, name):
    """Each size one more, one less and one, which would broadcast; one dimension more and less."""
    shape = SHAPES[door][name][1]
    for axis, size in enumerate(shape):
        for other in (size + 1, size - 1, 1, 0):
            yield (*shape[:axis], other, *shape[axis + 1 :])
    yield (1, *shape)
    yield (*shape, 1)
    yield shape[1:]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("door", "name"), [pair for pair in ARGUMENTS if pair[1] != "u"])
def test_a_shape_that_does_not_fit_is_refused(door, name, backend):
    letters, shape = SHAPES[door][name]
    DOORS[door](**arguments(door), backend=backend)
    for wrong in wrong_shapes(door, name):
        if door == "selective_scan" and len(wrong) == 4 and name in "BC":
            continue  # groups, below
        if name == "A" and len(wrong) == 2 and wrong[0] == 8:
            continue  # then B is what does not fit
        with pytest.raises(ValueError, match=f"{door}: {name} must be ") as caught:
            DOORS[door](**{**arguments(door), name: torch.ones(wrong)}, backend=backend)
        text = str(caught.value)
        assert text.endswith(f", got {wrong}"), text
        if len(wrong) == len(shape):
            wanted = "(8, n)" if name == "A" else shape  # A says what n is
            assert f"({letters}) = {wanted}" in text, text


@pytest.mark.parametrize("door", DOORS)
def test_sizes_of_u_and_a_are_held_against_the_others(door):
    for wrong in wrong_shapes(door, "u"):
        name = "u|delta|B" if len(wrong) == len(SHAPES[door]["u"][1]) else "u"
        with pytest.raises(ValueError, match=f"{door}: ({name}) must be "):
            DOORS[door](**{**arguments(door), "u": torch.ones(wrong)})
    for n in (1, 3, 5, 0):
        with pytest.raises(ValueError, match=rf"{door}: B must be \(b, .*\) = \(.*{n}.*\), got"):
            DOORS[door](**{**arguments(door), "A": torch.ones(8, n)})


@pytest.mark.parametrize(
    ("B", "C", "line"),
    [
        ((2, 3, 4, 5), (2, 3, 4, 5), "B must have groups g that divide d = 8, got g = 3"),
        ((2, 0, 4, 5), (2, 0, 4, 5), "B must have groups g that divide d = 8, got g = 0"),
        ((2, 2, 4, 5), (2, 1, 4, 5), r"C must be \(b, g, n, l\) = \(2, 2, 4, 5\), got \(2, 1"),
        ((2, 2, 4, 5), (2, 4, 5), r"C must be \(b, g, n, l\) = \(2, 2, 4, 5\), got \(2, 4, 5\)"),
        ((2, 4, 5), (2, 2, 4, 5), r"C must be \(b, g, n, l\) = \(2, 1, 4, 5\), got \(2, 2"),
        ((2, 2, 4, 1), (2, 2, 4, 5), r"B must be \(b, g, n, l\) = \(2, 2, 4, 5\), got \(2, 2"),
    ],
)  # fmt: skip
def test_groups_that_do_not_fit_are_refused(B, C, line):
    selective_scan(**arguments("selective_scan", groups=2))
    selective_scan(**arguments("selective_scan") | {"B": torch.ones(2, 1, 4, 5)})
    x = arguments("selective_scan") | {"B": torch.ones(B), "C": torch.ones(C)}
    with pytest.raises(ValueError, match=line):
        selective_scan(**x)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("door", "name"), ARGUMENTS)
def test_dtype_device_and_kind_are_checked(door, name, backend):
    like_u = name in ("delta", "B", "C", "z")

    def refused(value, line):
        with pytest.raises(ValueError, match=rf"^{door}: {name} {line}"):
            DOORS[door](**{**arguments(door), name: value}, backend=backend)

    x = arguments(door)[name]
    for dtype in (torch.int64, torch.bool, torch.complex64):
        refused(x.to(dtype), rf"must be (of u's dtype|real, one of).*, got {dtype}")
    if like_u:
        refused(x.half(), r"must be of u's dtype torch.float32, got torch.float16; cast")
    if name != "u":
        refused(x.to("meta"), "must be on u's device cpu, got meta")
    refused(x.tolist(), "must be a tensor, got list")
    refused(x.numpy(), "must be a tensor, got ndarray")


@pytest.mark.parametrize("door", DOORS)
def test_weights_may_be_wider_than_features(door):
    wide = ("A", "D", "delta_bias")
    x = {k: v if k in wide else v.bfloat16() for k, v in arguments(door).items()}
    assert DOORS[door](**x).dtype == torch.bfloat16


def test_no_steps_and_no_states_are_refused():
    x, y = arguments("scan_sites"), arguments("selective_scan")
    with pytest.raises(ValueError, match="scan_sites: u must have t of 1 or more, got t = 0"):
        scan_sites(**{k: v[:, :0] if v.ndim == 4 else v for k, v in x.items()})
    with pytest.raises(ValueError, match="selective_scan: u must have l of 1 or more, got l = 0"):
        selective_scan(**{k: v[..., :0] if v.ndim == 3 else v for k, v in y.items()})
    with pytest.raises(ValueError, match="scan_sites: A must have n of 1 or more, got n = 0"):
        scan_sites(**{k: v[..., :0] if k in "ABC" else v for k, v in x.items()})


def test_fake_tensors_are_checked_too():
    with FakeTensorMode():
        x = arguments("scan_sites")
        assert scan_sites(**x).shape == (2, 5, 3, 8)
        with pytest.raises(ValueError, match="A must be"):
            scan_sites(**{**x, "A": torch.ones(10, 4)})


def test_a_compiled_scan_is_checked_too():
    scan = torch.compile(scan_sites, backend="eager")
    x = arguments("scan_sites")
    torch.testing.assert_close(scan(**x), scan_sites(**x))
    with pytest.raises(ValueError, match="A must be"):
        scan(**{**x, "A": torch.ones(10, 4)})


# nothing to scan


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("backend", ["reference", *HERE])
@pytest.mark.parametrize("sizes", [(0, 5, 3, 4), (2, 5, 0, 4), (2, 5, 3, 0), (0, 5, 0, 0)])
def test_no_clips_sites_or_channels_give_empty_results(sizes, backend, dtype):
    x = inputs(*sizes, 2, dtype)
    y, last = scan_sites(*x, return_last_state=True, backend=backend)
    b, _, s, d = sizes
    assert (y.shape, y.dtype) == (sizes, dtype)
    assert (last.shape, last.dtype) == ((b, s, d, 2), torch.float32)
    for leaf, gradient in zip(x, torch.autograd.grad(y.sum(), x), strict=True):
        assert (gradient.shape, gradient.dtype) == (leaf.shape, dtype)
        assert not gradient.any()


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_without_sites_needs_no_backend(operator):
    """mamba_ssm and triton need a GPU, and take no grid of zero programs there."""
    x = [v.detach() for v in inputs(2, 5, 0, 4, 2, torch.float32)]
    y, last, _ = OPERATORS[operator](*x, True, False, True)
    assert (y.shape, last.shape) == ((2, 5, 0, 4), (2, 0, 4, 2))


@pytest.mark.parametrize("backend", ["reference", *HERE])
@pytest.mark.parametrize(("b", "d"), [(0, 4), (2, 0)])
def test_selective_scan_of_nothing_is_empty(b, d, backend):
    u, B = torch.ones(b, d, 5, requires_grad=True), torch.ones(b, 2, 3, 5, requires_grad=True)
    A = -torch.ones(d, 3)
    y, last = selective_scan(u, u, A, B, B, z=u, return_last_state=True, backend=backend)
    assert (y.shape, last.shape) == ((b, d, 5), (b, d, 3))
    assert not any(g.any() for g in torch.autograd.grad(y.sum(), (u, B)))


# the gate


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_gated_result_is_rounded_once(backend, dtype):
    if backend == "numba" and dtype == torch.float16:
        backend = "recompute"  # numba does not take it
    g = torch.Generator().manual_seed(0)
    u, delta, z = (torch.randn(2, 16, 40, generator=g).to(dtype) for _ in range(3))
    A, D = -torch.rand(16, 4, generator=g) - 0.5, torch.randn(16, generator=g)
    B, C = (torch.randn(2, 4, 40, generator=g).to(dtype) for _ in range(2))
    exact = selective_scan(
        *(x.double() for x in (u, delta, A, B, C, D)), delta_softplus=True, backend="reference"
    )
    want = (exact * F.silu(z.double())).to(dtype)
    got = selective_scan(u, delta, A, B, C, D, z, delta_softplus=True, backend=backend)
    assert got.dtype == dtype
    assert float((got == want).double().mean()) > 0.995
    torch.testing.assert_close(got, want, rtol=torch.finfo(dtype).eps, atol=1e-5)
    twice = exact.to(dtype) * F.silu(z)
    assert float((twice == want).double().mean()) < 0.8  # what the test is to find


def test_a_half_precision_backend_is_chosen_and_refused_as_without_a_gate():
    x = {k: v.half() for k, v in arguments("selective_scan").items()}
    with pytest.raises(ValueError, match=r"'numba' does not take torch.float16"):
        selective_scan(**x, backend="numba")
