"""Looks at every operator that runs, real or on fake tensors."""

from contextlib import ExitStack
from typing import Any, Self

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pks4.bench.fakes import Fakes


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
