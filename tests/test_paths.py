"""What ran is seen, not believed: planted fallbacks and a planted wrong fake kernel are caught."""

import pytest
import torch
from rivals import MODELS, every_variant, frames_that_fit, trial
from torch._subclasses.fake_tensor import FakeTensor

from pks4 import correlation
from pks4.bench.kernels import declared_attention
from pks4.bench.measure import saved_bytes
from pks4.bench.paths import Fallback, forward_seen
from pks4.cost import STAGES
from pks4.scan import doors


def measured(name, options=None, frames=4, **settings):
    """The measure's one reading."""
    settings = {**saved_bytes.SETTINGS, **settings}
    (reading,) = saved_bytes.measure(trial(name, options or {}, frames, settings))
    return reading


@every_variant
def test_every_contestant_runs_as_asked_and_its_bytes_have_a_stage(name, options):
    frames = 3 if frames_that_fit(name, options, 3) else 4
    reading = measured(name, options, frames, check_up_to=0)
    eager = options.get("attention") == "eager" or name == "hf_timesformer"
    assert bool(reading.detail["materialised_by"]) == eager
    assert set(reading.detail["by_stage"]) <= set(STAGES)
    assert sum(reading.detail["by_stage"].values()) == reading.value


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


def test_another_scan_than_the_one_asked_for_is_an_error(monkeypatch):
    monkeypatch.setitem(doors.OPERATORS, "numba", doors.OPERATORS["recompute"])
    with pytest.raises(Fallback, match="asked for scan backend numba, but recompute ran"):
        measured("pks4", {"scan_backend": "numba"}, check_up_to=0)


def test_a_fake_kernel_of_another_dtype_than_the_real_one_is_an_error(monkeypatch):
    """The local correlation says half precision where the real one gives single."""
    real = correlation.local_correlation

    def planted(*args):
        y = real(*args)
        return y.to(torch.bfloat16) if isinstance(y, FakeTensor) else y

    monkeypatch.setattr("pks4.prior.local_correlation", planted)
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
    t = trial("tsn_r50", {"dropout": 0.5}, 4, {})
    model = t.build().train()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    dice = torch.get_rng_state()
    with declared_attention("flash_cpu") as calls:
        ran = forward_seen(model, t.clip(), calls)
    assert (ran.kernel, ran.scan_backend) == ("no fused attention", None)
    assert model.training
    assert torch.equal(dice, torch.get_rng_state())
    assert all(torch.equal(before[name], x) for name, x in model.state_dict().items())
