"""Observers of the operators that run, on real tensors and on fake ones.

`Observer` is the base class. `LiveBytes` counts the bytes of live tensors: a weak reference to each
storage shows whether Python, autograd or C++ still holds it, so hidden caches count too.
"""

from typing import Any, Self

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pks4.simulate.fake_device import FakeTensors

LOWERS = torch.ops.aten._to_copy.default  # the operator that autocast lowers a tensor with


class Observer:
    """While open, `observe` is called with each operator after it has run.

    Where fake tensors are in use it registers with their mode: a second dispatch mode would make
    each of their operators half as slow again.
    """

    def observe(self, func: Any, args: tuple, out: Any) -> None:
        """An operator `func` has taken `args` and returned `out`."""
        raise AssertionError(f"{type(self).__name__} has no observe")

    def __enter__(self) -> Self:
        fakes = torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE)
        on_fakes = isinstance(fakes, FakeTensors)
        self._open = fakes.observed_by(self.observe) if on_fakes else _Dispatch(self.observe)
        self._open.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)


class _Dispatch(TorchDispatchMode):
    """Calls `observe` with each operator on real tensors."""

    def __init__(self, observe: Any) -> None:
        super().__init__()
        self.observe = observe

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.observe(func, args, out)
        return out


class LiveBytes(Observer):
    """The storages that were allocated while this was open and are still alive."""

    def __init__(self) -> None:
        super().__init__()
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def observe(self, func: Any, args: tuple, out: Any) -> None:
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
