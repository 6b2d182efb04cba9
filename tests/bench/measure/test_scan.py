"""The scan alone: its shape and backend, arms that compute the same, and the roofline."""

import pytest
import torch

from pks4.bench.contestants import catalogue
from pks4.bench.measure import scan
from pks4.bench.measure.parts import scan_roofline, scan_times
from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.measure.parts.scan_roofline import Kernel
from pks4.bench.plan.cell import Cell
from pks4.errors import UserError

SMALL = {"b": 2, "t": 3, "s": 4, "d": 5, "n": 2}
QUICK = {"processes": 2, "rounds": 3, "sample_ms": 1}


def inputs(model="pks4", options=None, **settings):
    """A cell of two frames at tiny scale."""
    sizes = catalogue.models()[model].facts["SCALES"]["tiny"]
    cell = Cell(
        id="cell", grid="grid", label="label", title="Title", model=model, family="",
        scale="tiny", frames=2, batch=3, num_classes=5, task=None,
        options={**sizes, **(options or {})},
        measures=["scan"], settings={}, time_limit_seconds=60, alone=True,
    )  # fmt: skip
    return MeasureInput(cell, {**scan.SETTINGS, **QUICK, **settings})


@pytest.mark.parametrize(
    ("model", "options", "sizes", "backend"),
    [
        ("pks4", {"expand": 0.5}, (3, 2, 64, 48, 8), "numba"),
        ("pks4", {"scan_backend": "reference"}, (3, 2, 64, 96, 8), "reference"),
        ("video_mamba", {"depth": 1}, (3, 2 * 64 + 1, 1, 192, 8), "numba"),
    ],
)
def test_shape_and_backend_are_those_of_the_contestants_scan(model, options, sizes, backend):
    shape, found = scan._first_scan(inputs(model, options))
    assert (*shape.values(), found) == (*sizes, backend)


def test_a_contestant_without_a_scan_and_a_missing_device_are_refused():
    with pytest.raises(UserError, match="'frame_mean' has no scan to time"):
        list(scan.measure(inputs("frame_mean")))
    with pytest.raises(UserError, match="device 'tpu'"):
        list(scan.measure(inputs(device="tpu")))


def test_materialised_is_the_scan_in_value_and_gradients():
    x = [v.double().requires_grad_() for v in scan_times.draw(**SMALL)]
    want = scan_times.scan_sites(*x, backend="reference")
    got = scan_times.materialised(*scan_times.as_sequences(x))  # (b·s, d, t)
    got = got.view(2, 4, 5, 3).permute(0, 3, 1, 2)
    torch.testing.assert_close(got, want)
    for mine, theirs in zip(
        torch.autograd.grad(got.sin().sum(), x),
        torch.autograd.grad(want.sin().sum(), x),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("name", ["materialised", "recompute"])
def test_a_call_gives_y_or_the_gradients_of_all_inputs(name):
    x = scan_times.draw(**SMALL)
    assert not scan_times.call("scan_forward", name, x)().requires_grad
    assert len(scan_times.call("scan_train", name, x)()) == 7


def test_step_sizes_are_as_mamba_initialises_them():
    steps = torch.nn.functional.softplus(scan_times.draw(1, 1, 1, 500, 2)[-1].double())
    assert 0.9e-3 < steps.min() < 2e-3
    assert 0.08 < steps.max() < 0.101


def test_the_roofline_counts_bytes_moved_and_exponentials(monkeypatch):
    monkeypatch.setattr(scan_roofline, "COPIED_BYTES", 1 << 10)
    x = scan_times.draw(1, 2, 3, 100, 10)  # 6 rows, 6000 states
    for training, moved, exps in ((False, 6 * 320 * 4, 6000), (True, 6 * 820 * 4, 12_000)):
        kernels = scan_roofline.kernels(x, training=training)
        assert {name: k.needed for name, k in kernels.items()} == {"copy": moved, "exp": exps}
        assert kernels["copy"].work == 2 << 10  # read and written
        assert kernels["exp"].work == 4096 * 2048
    lower = scan_times.draw(1, 2, 3, 100, 10, dtype="bfloat16")
    assert scan_roofline.kernels(lower, training=False)["copy"].needed == 6 * 320 * 2


def test_the_roofline_is_the_slower_kernel_of_each_round():
    kernels = {"copy": Kernel(print, 10, 100), "exp": Kernel(print, 10, 20)}
    samples = {"again copy": [(1.0, 2.0), (1.0, 1.0)], "again exp": [(4.0, 4.0), (8.0, 7.0)]}
    assert scan_roofline.seconds(kernels, samples, "again") == [(10.0, 20.0), (16.0, 14.0)]
    found = scan_roofline.rates(kernels, samples, "again")
    assert found == {"per_second": {"copy": 10.0, "exp": 10 / 6}, "bound": "exp"}


@pytest.mark.slow
@pytest.mark.parametrize(("reference", "processes"), [("roofline", 1), ("materialised", 2)])
def test_both_operations_have_seconds_and_a_ratio_with_what_ran(reference, processes):
    asked = inputs(reference=reference, processes=processes)
    found = {r.metric: r for r in scan.measure(asked)}
    assert set(found) == set(scan.METRICS)
    for name in ("scan_forward", "scan_train"):
        seconds, ratio = found[f"{name}_seconds"], found[f"{name}_ratio"]
        assert seconds.evidence["scan_backend"] == "numba"
        assert seconds.evidence["reference"] == reference
        assert (seconds.detail["shape"]["b"], seconds.detail["shape"]["t"]) == (3, 2)
        assert len(seconds.detail.get("roofline", [])) == (reference == "roofline")
        for arm in ("reference_seconds", "again_seconds"):
            assert len(ratio.detail[arm]) == 3 * processes
        assert ratio.value > 0
