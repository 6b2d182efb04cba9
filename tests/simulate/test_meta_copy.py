"""The copy on meta shares what the model shares, and holds nothing of the model."""

import copy

import torch
from torch import nn

from pks4.simulate.calls import loss_of, tensors
from pks4.simulate.meta_copy import meta_copy
from tests.factories.users_models import Output, Pair, Tied


def test_the_copy_has_no_values_and_ties_what_is_tied():
    model = Tied()
    twin = meta_copy(model)
    held = [*twin.parameters(), *twin.buffers(), twin.shift]
    assert {x.device.type for x in held} == {"meta"}
    assert twin.last.weight is twin.first.weight
    assert twin.again is twin.table
    assert all(
        a.shape == b.shape for a, b in zip(twin.parameters(), model.parameters(), strict=True)
    )
    assert not {id(m) for m in model.modules()} & {id(m) for m in twin.modules()}


def test_views_of_one_storage_stay_views_of_one():
    model = nn.Module()
    whole = torch.zeros(4, 6)
    model.register_buffer("whole", whole)
    model.register_buffer("part", whole[1:3, ::2])
    model.listed = [whole[0], nn.Parameter(torch.zeros(3))]
    twin = meta_copy(model)
    storages = {x.untyped_storage()._cdata for x in (twin.whole, twin.part, twin.listed[0])}
    assert len(storages) == 1
    assert (twin.part.stride(), twin.part.storage_offset()) == ((6, 2), 6)
    assert isinstance(twin.listed[1], nn.Parameter)
    assert twin.listed[1].device.type == "meta"


def test_parametrised_weights_are_copied_as_such():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 5))
    twin = meta_copy(layer)
    assert {n: p.shape for n, p in twin.named_parameters()} == {
        n: p.shape for n, p in layer.named_parameters()
    }
    assert twin(torch.empty(2, 3, device="meta")).shape == (2, 5)


def test_what_is_frozen_stays_frozen_and_gradients_stay_behind():
    model = Pair()
    model.layer.weight.grad = torch.ones(5, 3)
    frozen = copy.deepcopy(model).requires_grad_(False)
    assert not meta_copy(frozen).layer.weight.requires_grad
    assert meta_copy(model).layer.weight.grad is None


def test_a_loss_is_the_outputs_own_or_the_sum_of_what_has_a_gradient():
    x = torch.ones(2, 3, requires_grad=True)
    output = Output(None, [x, torch.ones(2), {"y": (2 * x,)}])
    assert len(tensors(output)) == 3
    assert loss_of(output).item() == 18
    assert loss_of(Output(x.mean(), [x])).item() == 1
    assert loss_of({"loss": x.mean(), "logits": x}).item() == 1
