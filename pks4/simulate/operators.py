"""Looks at every operator that runs, real or on fake tensors.

Which storages are copies of weights that autocast lowered.

Bytes of live tensors, counted over every storage that an operator gave while this is open.

A weak reference to a storage tells whether anything still holds it: Python, autograd, C++. So a
cache that nobody can see from outside is counted too.
"""

from contextlib import ExitStack
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pks4.simulate.fake_device import Fakes


class Observer:
    """While open, `look` is told of each operator after it has run.

    Where fake tensors stand already it listens to them: a mode of its own would make each of their
    operators half as long again.
    """

    def look(self, func: Any, args: tuple, out: Any) -> None:
        """An operator `func` has taken `args` and given `out`."""
        raise AssertionError(f"{type(self).__name__} has no look")

    def __enter__(self) -> Self:
        fakes = torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE)
        with ExitStack() as stack:
            stack.enter_context(
                fakes.told(self.look) if isinstance(fakes, Fakes) else _Telling(self.look)
            )
            self._open = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)


class _Telling(TorchDispatchMode):
    """Tells `look` of each operator."""

    def __init__(self, look: Any) -> None:
        super().__init__()
        self.look = look

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.look(func, args, out)
        return out


LOWERS = torch.ops.aten._to_copy.default


class LoweredWeights(Observer):
    """While open, notes the storage of every copy of a weight; `storage in copies` tells."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.weights = {p.untyped_storage()._cdata for p in model.parameters()}
        self.copies: dict[int, torch.UntypedStorage] = {}  # holding them keeps identities apart

    def __contains__(self, storage: torch.UntypedStorage) -> bool:
        return storage._cdata in self.copies

    def look(self, func, args, out: Tensor) -> None:
        """Note what an operator has given, if it is such a copy."""
        if func is LOWERS and args[0].untyped_storage()._cdata in self.weights:
            self.copies[out.untyped_storage()._cdata] = out.untyped_storage()


class LiveBytes(Observer):
    """The storages that were born while this was open and are alive."""

    def __init__(self) -> None:
        super().__init__()
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def look(self, func: Any, args: tuple, out: Any) -> None:
        """Remember the storages of an operator's results."""
        for x in tree_leaves(out):
            if isinstance(x, torch.Tensor):
                storage = x.untyped_storage()
                ref = StorageWeakRef(storage)
                self._alive[ref.cdata] = (ref, storage.nbytes())

    def total(self) -> int:
        """Bytes alive now."""
        self._alive = {k: v for k, v in self._alive.items() if not v[0].expired()}
        return sum(nbytes for _, nbytes in self._alive.values())
