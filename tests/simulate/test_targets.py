"""Real devices: what they stand for in simulation, and what is said where there is none."""

from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from pks4.bench.contestants import catalogue
from pks4.bench.measure import peak_memory, time
from pks4.bench.measure.parts import paired_sessions
from pks4.bench.plan.plan import plan
from pks4.bench.plan.suite import read_suite
from pks4.bench.plan.user_inputs import UserInputs
from pks4.cli import app
from pks4.errors import UserError
from pks4.simulate.targets import precision, target_of
from tests.factories.models import inputs

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")


def settings(**given):
    return {"device": "cpu", "dtype": "float32", "kernel": "", **given}


def test_each_device_and_precision_has_a_simulated_counterpart(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    found = {
        (device, dtype): target_of(settings(device=device, dtype=dtype))
        for device in ("cpu", "cuda")
        for dtype in ("float32", "bfloat16")
    }
    assert {k: (t.name, t.kernel) for k, t in found.items()} == {
        ("cpu", "float32"): ("cpu-fp32", "flash_cpu"),
        ("cpu", "bfloat16"): ("cpu-bf16", "flash_cpu"),
        ("cuda", "float32"): ("cuda-fp32", "efficient"),
        ("cuda", "bfloat16"): ("cuda-bf16", "flash"),
    }
    assert target_of(settings(kernel="math")).kernel == "math"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_precision_is_that_of_the_target_and_ends_with_the_forward(dtype):
    with precision(target_of(settings(dtype=dtype))):
        assert (torch.ones(1, 1) @ torch.ones(1, 1)).dtype == getattr(torch, dtype)
    assert not torch.is_autocast_enabled("cpu")


@no_gpu
@pytest.mark.parametrize("measure", [time, peak_memory])
def test_a_gpu_that_is_not_there_is_said_in_one_line(measure):
    wanted = inputs("frame_mean", {}, 2, {**measure.SETTINGS, "device": "cuda"})
    with pytest.raises(UserError, match=r"^device 'cuda': PyTorch [^\n]* take device 'cpu'$"):
        list(measure.measure(wanted))


@no_gpu
def test_run_refuses_a_gpu_that_is_not_there_before_it_begins(tmp_path):
    found = CliRunner().invoke(app, ["run", "memory", "--device", "cuda", "--out", str(tmp_path)])
    assert isinstance(found.exception, UserError)
    assert not list(tmp_path.iterdir())


def test_a_device_reaches_every_measure_that_computes_and_no_other():
    suite, _ = read_suite(catalogue.suites()["memory"])
    for cell in plan(suite, UserInputs(device="cuda")):
        assert cell.settings["peak_memory"]["device"] == "cuda"
        assert "device" not in cell.settings["step_memory"]
    scaling, _ = read_suite(catalogue.suites()["scaling"])
    with pytest.raises(UserError, match="no measure of this suite computes on a device"):
        plan(scaling, UserInputs(device="cuda"))


def test_on_cuda_the_clock_is_read_when_the_device_is_idle(monkeypatch):
    """A stand-in for the driver notes the order of calls; events tell milliseconds."""
    told = []
    event = SimpleNamespace(record=lambda: told.append("record"), elapsed_time=lambda end: 8.0)
    monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing: event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: told.append("idle"))
    wall, cpu, device = paired_sessions.SAMPLERS["cuda"](lambda: told.append("call"), 2)
    assert told == ["idle", "record", "call", "call", "record", "idle"]
    assert device == pytest.approx(0.004)
    assert wall > 0
    assert cpu >= 0
