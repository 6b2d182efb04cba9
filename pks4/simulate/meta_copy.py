"""A copy of a model on meta that shares what the model shares; the model is never touched.

Tied tensors stay tied in the copy, and views of one storage stay views of one. Hooks that are
methods or objects are copied with what they hold. A hook that is a plain function would reach from
the copy into what its author holds, so it is refused, unless a library wrote it.
"""

import copy
from collections.abc import Iterator
from functools import partial
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin
from torch.overrides import TorchFunctionMode

from pks4.errors import UserError
from pks4.simulate.fake_device import tensors_in, twin_of

LIBRARIES = ("torch", "timm", "transformers")
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def meta_copy(model: nn.Module) -> nn.Module:
    """The copy. Raises UserError for TorchScript, weights without a shape and hooks of others."""
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise UserError(
                f"{name or 'it'} is TorchScript, whose weights cannot be exchanged; give the "
                "module that it was made from"
            )
    for name, hook in _foreign_hooks(model):
        raise UserError(
            f"{name} has the hook {hook.__qualname__!r}, which would see tensors without values; "
            "remove it first: handle.remove()"
        )
    storages: dict[int, Tensor] = {}
    twins: dict[int, Any] = {}
    for name, x in _named(model):
        if isinstance(x, UninitializedTensorMixin):
            raise UserError(f"{name} has no shape yet; call the model on a clip once")
        twins[id(x)] = twin_of(x, storages, "meta")
    with _ToMeta(storages):
        return copy.deepcopy(model, twins)


def _named(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for path, module in model.named_modules():
        for _, name, x in tensors_in(module):
            yield ".".join(filter(None, (path, name))), x


def _foreign_hooks(model: nn.Module) -> Iterator[tuple[str, FunctionType]]:
    """Plain functions that are hooks, with their module's name."""
    for name, module in model.named_modules():
        for hooks in HOOKS:
            for hook in getattr(module, hooks).values():
                while isinstance(hook, partial):
                    hook = hook.func
                written_by = str(getattr(hook, "__module__", "")).partition(".")[0]
                if isinstance(hook, FunctionType) and written_by not in LIBRARIES:
                    yield name or "the model", hook


class _ToMeta(TorchFunctionMode):
    """While open, a deep copy of a tensor is its twin on meta."""

    def __init__(self, storages: dict[int, Tensor]) -> None:
        super().__init__()
        self.storages = storages

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is Tensor.__deepcopy__:
            x, memo = args
            return memo.setdefault(id(x), twin_of(x, self.storages, "meta"))
        if func is torch._C.TensorBase.clone:  # what nn.Parameter's deep copy calls
            return twin_of(args[0], self.storages, "meta")
        return func(*args, **(kwargs or {}))
