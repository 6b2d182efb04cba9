"""Counting and simulating any model: numbers by hand, and the caller's model as it was."""

import json

import pytest
import torch
from torch import nn

import pks4
from pks4.errors import UserError
from pks4.simulate.attention_kernels import declared_attention
from pks4.simulate.saved_bytes import saved_bytes
from pks4.simulate.step_memory import step_memory
from tests.factories.users_models import Chooses, Pair, Remembers, Tied, mlp


def state_of(model):
    """All that must stay: tensors and their values, modes, hooks, gradients, attributes."""
    tensors = {n: (id(x), x.clone()) for n, x in model.state_dict(keep_vars=True).items()}
    modules = {n: (m.training, dict(m._forward_hooks)) for n, m in model.named_modules()}
    return tensors, modules, [p.grad for p in model.parameters()], {*vars(model)}


def same(before, after):
    """Whether two of those states are one."""
    equal = all(
        before[0][n][0] == key and before[0][n][1].equal(x) for n, (key, x) in after[0].items()
    )
    return equal and before[1:] == after[1:]


@pytest.mark.parametrize("instrument", [pks4.count_macs, pks4.simulate_step])
@pytest.mark.parametrize("training", [True, False])
def test_the_callers_model_and_random_numbers_stay_as_they_were(instrument, training):
    model = Tied().train(training)
    model.first.eval()
    before, chance = state_of(model), torch.get_rng_state()
    instrument(model, (2, 8))
    assert same(before, state_of(model))
    assert model.last.weight is model.first.weight
    assert model.again is model.table
    assert model.seen == []
    assert torch.get_rng_state().equal(chance)


def test_macs_by_hand():
    found = pks4.count_macs(mlp(), (3, 4))
    assert found.forward == 3 * (4 * 8 + 8 * 2)
    assert found.by_stage == {"0": 96, "2": 48}
    assert found.by_module == {"Linear": 144}
    assert found.train == 3 * (2 * 4 * 8 + 3 * 8 * 2)  # the clip gets no gradient
    assert found.rule == "macs/v1"


def test_a_contestant_has_the_macs_of_its_closed_form_by_its_own_stages():
    model = pks4.create_model("pks4", frames=2, scale="tiny", num_classes=5)
    found = pks4.count_macs(model, (1, 2, 3, 64, 64))
    assert found.by_stage == model.macs()
    assert found.scan_backend == "numba"


@pytest.mark.parametrize(
    "inputs",
    [
        {"left": (2, 3), "right": (2, 3)},
        ((2, 3), (2, 3)),
        ((2, 3), torch.zeros(2, 3), 0.5),
        {"left": torch.zeros(2, 3), "right": torch.zeros(2, 3), "scale": 2.0},
    ],
)
def test_inputs_and_outputs_of_any_structure(inputs):
    assert pks4.count_macs(Pair(), inputs).forward == 2 * 2 * 15
    step = pks4.simulate_step(Pair(), inputs, "cpu-fp32", batch=4)
    assert step.parts["inputs"] == 2 * 4 * 3 * 4
    assert step.batch == 4


def test_a_step_equals_a_real_one_to_the_byte():
    found = pks4.simulate_step(mlp(), (3, 4), "cpu-fp32")
    with declared_attention("flash_cpu"):
        real, clip = mlp(), torch.randn(3, 4)
        kept, memory = saved_bytes(real, clip, "flash_cpu"), step_memory(real, clip)
    assert (found.peak, found.parts, found.phase) == (memory.peak, memory.parts, memory.phase)
    assert (found.kept, found.by_module) == (kept.by_class.total(), dict(kept.by_class))


def test_a_frozen_model_has_a_forward_and_no_step():
    model = mlp().requires_grad_(False)
    assert pks4.count_macs(model, (3, 4)).train is None
    with pytest.raises(UserError, match="depends on a trained weight"):
        pks4.simulate_step(model, (3, 4))


@pytest.mark.parametrize("training", [True, False])
def test_what_one_pass_leaves_in_a_model_does_not_reach_the_next(training):
    found = pks4.count_macs(Remembers().train(training), (3, 4))
    assert (found.forward, found.train) == (3 * 4 * 8, 2 * 3 * 4 * 8)
    step = pks4.simulate_step(Remembers().train(training), (3, 4), "cpu-fp32")
    assert step == pks4.simulate_step(Remembers(), (3, 4), "cpu-fp32")
    assert step.parts["weights"] == 4 * 4 * 8


def test_open_modes_of_the_caller_change_nothing():
    found = pks4.simulate_step(mlp(), (3, 4))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert pks4.simulate_step(mlp(), (3, 4)) == found


class Compiles(nn.Module):
    """Calls the compiler in its forward."""

    def __init__(self):
        super().__init__()
        self.layer = mlp()

    def forward(self, x):
        return torch.compile(lambda y: self.layer(y))(x)


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [Compiles, lambda: torch.compile(mlp())])
def test_what_is_compiled_runs_as_it_is_written(compiled):
    compiler = torch.compile
    assert pks4.count_macs(compiled(), (3, 4)).forward == 144
    assert pks4.simulate_step(compiled(), (3, 4)).peak == pks4.simulate_step(mlp(), (3, 4)).peak
    assert torch.compile is compiler


def test_torchscript_is_refused(recwarn):
    scripted = torch.jit.trace(mlp(), torch.zeros(3, 4))
    with pytest.raises(UserError, match="it is TorchScript"):
        pks4.count_macs(scripted, (3, 4))


def test_attention_in_eval_mode_is_counted_like_in_train_mode():
    layer = nn.MultiheadAttention(8, 2, bias=False, batch_first=True)
    inputs = {"query": (1, 5, 8), "key": (1, 5, 8), "value": (1, 5, 8), "need_weights": False}
    forward = 4 * 5 * 8 * 8 + 2 * 5 * 5 * 8
    assert pks4.count_macs(layer, inputs).forward == forward
    assert pks4.count_macs(layer.eval(), inputs).forward == forward


def test_an_answer_is_a_frozen_record_for_people_and_programs():
    found = pks4.simulate_step(mlp(), (3, 4))
    assert json.loads(json.dumps(found.to_dict()))["peak"] == found.peak
    assert "kept for backward" in str(found)
    with pytest.raises(AttributeError):
        found.peak = 0


def test_names_are_escaped_in_a_notebook():
    model = nn.Sequential()
    model.add_module("<b>", nn.Linear(4, 2))
    html = pks4.count_macs(model, (3, 4))._repr_html_()
    assert "&lt;b&gt;" in html
    assert "<b>" not in html


class Recorder:
    """An object whose method is a hook."""

    def __init__(self):
        self.shapes = []

    def note(self, module, inputs, output):
        self.shapes.append(output.shape)


def test_a_hook_that_is_a_method_sees_the_copy_alone():
    model, recorder = mlp(), Recorder()
    model[0].register_forward_hook(recorder.note)
    assert pks4.count_macs(model, (3, 4)).forward == 144
    assert recorder.shapes == []
    model(torch.randn(3, 4))
    assert recorder.shapes == [(3, 8)]


def test_a_hook_that_is_a_function_is_refused_by_name():
    model, seen = mlp(), []
    model[0].register_forward_hook(lambda module, inputs, output: seen.append(output))
    with pytest.raises(UserError, match=r"^Sequential: 0 has the hook '.*<lambda>'.*handle.remove"):
        pks4.count_macs(model, (3, 4))
    assert seen == []


@pytest.mark.parametrize(
    ("model", "inputs", "line"),
    [
        (mlp(), (3, 5), r"its first layer, 0 \(Linear\), wants \(…, 4\)$"),
        (nn.Conv2d(3, 4, 3), (1, 4, 8, 8), r"itself \(Conv2d\), wants \(b, 3, h, w\)$"),
        (nn.Embedding(9, 2), (1, 4), r"wants whole numbers below 9, \(b, length\) of int64$"),
        (Chooses(), (2, 3), r"asks for values of a tensor .* at users_models.py:\d+"),
        (nn.LazyLinear(3), (2, 3), "weight has no shape yet"),
        (mlp(), "none", "neither a shape nor tensors"),
        (mlp(), (3, 0), "size below 1"),
        (mlp, (3, 4), "takes an nn.Module, got"),
        ((p for p in mlp().parameters()), (3, 4), "a generator$"),
        (nn.Linear, (3, 4), r"call it first: Linear\(\)"),
    ],
)
def test_what_does_not_fit_is_one_line(model, inputs, line):
    with pytest.raises(UserError, match=line) as error:
        pks4.simulate_step(model, inputs)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("words", [{"target": "cuda-fp8"}, {"kernel": "none"}, {"batch": 0}])
def test_unknown_settings_are_told(words):
    with pytest.raises(UserError, match=next(iter(map(str, words.values())))):
        pks4.simulate_step(mlp(), (3, 4), **words)
