"""Which storages are copies of weights that autocast lowered."""

import torch
from torch import Tensor, nn

from pks4.bench.observer import Observer

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
