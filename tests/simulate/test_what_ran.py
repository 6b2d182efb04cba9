"""What ran is seen, not believed: planted fallbacks and a planted wrong fake kernel are caught."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

from pks4.bench.measure import macs, saved_bytes, step_memory, streaming
from pks4.bench.measure.parts import real_memory
from pks4.models import correlation
from pks4.scan import api, scan_sites
from pks4.simulate.attention_kernels import declared_attention
from pks4.simulate.what_ran import Fallback, ScanObserver, observe_forward
from tests.factories.models import MODELS, inputs


def measured(name, options=None, frames=4, **settings):
    """The measure's one reading."""
    settings = {**saved_bytes.SETTINGS, **settings}
    (reading,) = saved_bytes.measure(inputs(name, options or {}, frames, settings))
    return reading


def test_fused_attention_that_is_materialised_in_silence_is_an_error(monkeypatch):
    """TimeSformer's attention layers are told, behind its back, to keep their scores."""
    module = MODELS["timesformer"].load()
    init = module.Joint.__init__

    def planted(self, *args):
        init(self, *args)
        self.attn.fused_attn = False

    monkeypatch.setattr(module.Joint, "__init__", planted)
    monkeypatch.setattr(module, "declare_attention", lambda model, attention: None)
    with pytest.raises(Fallback, match="asked for fused attention, but Attention materialised"):
        measured("timesformer", {"attention_type": "joint"})


def peak_memory(asked):
    """The part of the measure that runs in a process of its own."""
    settings = {"device": "cpu", "dtype": "float32", "kernel": ""}
    return real_memory.measured(inputs("pks4", asked, 4, settings))["ran"]


def evidence(measure, asked, **settings):
    """Of the measure's last reading."""
    settings = {**measure.SETTINGS, **settings}
    return [*measure.measure(inputs("pks4", asked, 4, settings))][-1].evidence


MEASURES = {
    "saved_bytes": lambda asked: evidence(saved_bytes, asked, check_up_to=0),
    "macs": lambda asked: evidence(macs, asked, check_up_to=0),
    "step_memory": lambda asked: evidence(step_memory, asked),
    "streaming": lambda asked: evidence(streaming, asked, frames_total=20, rounds=5, calls=1),
    "peak_memory": peak_memory,
}
every_measure = pytest.mark.parametrize("name", MEASURES)


@every_measure
def test_another_scan_than_the_one_asked_for_is_an_error(name, monkeypatch):
    monkeypatch.setitem(api.OPERATORS, "numba", api.OPERATORS["recompute"])
    with pytest.raises(Fallback, match="asked for scan backend numba, but recompute ran"):
        MEASURES[name]({"scan_backend": "numba"})


@pytest.mark.contract
@every_measure
def test_a_record_names_the_scan_that_ran(name):
    assert MEASURES[name]({"scan_backend": "recompute"})["scan_backend"] == "recompute"


def test_the_reference_has_no_operator_and_is_named_where_none_ran():
    assert MEASURES["step_memory"]({"scan_backend": "reference"})["scan_backend"] == "reference"


class Scanning(nn.Module):
    """A model of somebody's own, which asks for no backend by a name of ours."""

    def forward(self, u):
        A, B = -torch.ones(3, 2), torch.ones(*u.shape[:3], 2)
        return scan_sites(u, u, A, B, B, backend="recompute")


def test_of_a_scan_that_no_layer_is_set_to_what_ran_is_said():
    model = Scanning()
    with ScanObserver(model) as scans:
        assert scans.backend() is None
        model(torch.ones(1, 2, 1, 3))
    assert scans.backend() == "recompute"


def test_a_fake_kernel_of_another_dtype_than_the_real_one_is_an_error(monkeypatch):
    """The local correlation says half precision where the real one gives single."""
    real = correlation.local_correlation

    def planted(*args):
        y = real(*args)
        return y.to(torch.bfloat16) if isinstance(y, FakeTensor) else y

    monkeypatch.setattr("pks4.method.prior.local_correlation", planted)
    with pytest.raises(saved_bytes.Disagreement, match=r"simulated .* real .*fake kernel"):
        measured("pks4")


def test_a_small_real_run_stands_beside_the_simulated_one():
    reading = measured("pks4")
    assert reading.evidence["agreed"] == ["a real run at tiny scale"]
    assert reading.detail["check"]["frames"] == 2


def test_where_nothing_real_can_run_no_agreement_is_claimed():
    assert measured("pks4", target="cuda-bf16").evidence["agreed"] == []
    assert measured("pks4", frames=9).evidence["agreed"] == []


def test_looking_at_a_forward_leaves_the_model_and_the_dice_as_they_are():
    t = inputs("tsn_r50", {"dropout": 0.5}, 4, {})
    model = t.build().train()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    dice = torch.get_rng_state()
    with declared_attention("flash_cpu") as calls:
        ran = observe_forward(model, t.clip(), calls)
    assert (ran.kernel, ran.scan_backend) == ("no fused attention", None)
    assert model.training
    assert torch.equal(dice, torch.get_rng_state())
    assert all(torch.equal(before[name], x) for name, x in model.state_dict().items())
