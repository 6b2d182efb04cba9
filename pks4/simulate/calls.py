"""How a model is called: inputs of any structure go in, a loss comes from what it gives.

A tuple holds positional arguments, a mapping keyword arguments; all else is one argument.
"""

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

from torch import Tensor, nn


class NothingTrained(ValueError):
    """No result of a model depends on a trained weight, so it has no backward."""


def call(model: nn.Module, inputs: Any) -> Any:
    """What the model gives for these inputs."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def tensors(value: Any) -> list[Tensor]:
    """The tensors in nested lists, tuples, mappings and dataclasses, in their order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        parts: Any = value.values()
    elif isinstance(value, list | tuple):
        parts = value
    elif is_dataclass(value) and not isinstance(value, type):
        parts = vars(value).values()
    else:
        return []
    return [x for part in parts for x in tensors(part)]


def loss_of(output: Any) -> Tensor:
    """The `loss` of an output that has one, else the sum of its floating tensors, in float32.

    Raises NothingTrained where no floating tensor requires a gradient.
    """
    loss = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    found = [loss] if isinstance(loss, Tensor) else tensors(output)
    sums = [x.float().sum() for x in found if x.is_floating_point() and x.requires_grad]
    if not sums:
        raise NothingTrained("nothing that it gives depends on a trained weight")
    return sum(sums[1:], sums[0])
