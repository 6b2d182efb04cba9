"""Inputs as users give them: a shape, a tensor, or both in tuples and dictionaries.

A shape is a float32 clip of that shape. A tuple is positional arguments, a mapping keyword
arguments. The first dimension of the first tensor is the batch.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map, tree_map_only

from pks4.errors import UserError
from pks4.simulate.calls import tensors


def on_meta(given: Any, batch: int | None = None) -> Any:
    """The inputs on meta, with so many clips if a number is given.

    Raises UserError without a tensor, and for a batch of less than one clip.
    """
    if isinstance(given, list) and is_shape(tuple(given)):
        given = tuple(given)
    inputs = _on_meta(given)
    if not tensors(inputs):
        raise UserError(
            f"{given!r} is neither a shape nor tensors; give a shape such as (1, 3, 224, 224), a "
            "tensor, a tuple of these as arguments, or a dict of them by argument"
        )
    if batch is None:
        return inputs
    if not isinstance(batch, int) or batch < 1:
        raise UserError(f"batch must be a whole number, 1 or more, got {batch!r}")
    return _with_batch(inputs, batch_of(inputs), batch)


def batch_of(inputs: Any) -> int:
    """The first dimension of the first tensor; 1 for a scalar."""
    shape = tensors(inputs)[0].shape
    return shape[0] if shape else 1


def described(inputs: Any) -> str:
    """Shapes and dtypes in words: `(1, 3, 224, 224) float32`."""
    if isinstance(inputs, Tensor):
        return f"{tuple(inputs.shape)} {str(inputs.dtype).removeprefix('torch.')}"
    if isinstance(inputs, Mapping):
        return ", ".join(f"{name} {described(x)}" for name, x in inputs.items())
    if isinstance(inputs, list | tuple):
        return ", ".join(map(described, inputs))
    return repr(inputs)


def is_shape(given: Any) -> bool:
    """Whether this is a tuple of whole numbers."""
    return isinstance(given, tuple) and bool(given) and all(type(size) is int for size in given)


def _on_meta(given: Any) -> Any:
    if isinstance(given, Mapping):
        given = dict(given)
    return tree_map(_twin, given, is_leaf=is_shape)


def _twin(given: Any) -> Any:
    if isinstance(given, Tensor):
        twin = torch.empty(given.shape, dtype=given.dtype, device="meta")
        return twin.requires_grad_(given.requires_grad)
    if not is_shape(given):
        return given
    if min(given) < 1:
        raise UserError(f"the shape {tuple(given)} has a size below 1")
    return torch.empty(given, device="meta")


def _with_batch(inputs: Any, old: int, new: int) -> Any:
    def resized(x: Tensor) -> Tensor:
        return x.new_empty((new, *x.shape[1:])) if x.ndim and x.shape[0] == old else x

    return tree_map_only(Tensor, resized, inputs)
