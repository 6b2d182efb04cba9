"""Bytes of live tensors, counted over every storage that an operator gave while this is open.

A weak reference to a storage tells whether anything still holds it: Python, autograd, C++. So a
cache that nobody can see from outside is counted too.
"""

from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves

from pks4.bench.observer import Observer


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
