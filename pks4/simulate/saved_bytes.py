"""The bytes that autograd keeps of one forward, by module class and by stage.

It works on real and on fake tensors. Each storage counts once; parameters, buffers and the inputs
do not count.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from pks4.simulate.modules import Stages

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from pks4.simulate.what_ran import ObservedPath


class Kept(NamedTuple):
    """Bytes kept for backward; copies are of weights that autocast lowered, the same at any T."""

    by_class: Counter[str]
    by_stage: Counter[str]
    weight_copies: int
    ran: "ObservedPath"


def saved_bytes(
    model: "nn.Module", inputs: Any, kernel: str, stages: "Stages | None" = None
) -> Kept:
    """Bytes kept for backward by module class and by stage, and the path that ran.

    `stages` names parts of module names by stage (`STAGES` of a contestant's file); without it
    stages are the top-level children. Works on any device; the model is run once, forward only.
    """
    from pks4.macs import open_stage
    from pks4.simulate.attention_kernels import declared_attention
    from pks4.simulate.calls import call, tensors
    from pks4.simulate.what_ran import PathObserver

    by_class: Counter[str] = Counter()
    by_stage: Counter[str] = Counter()
    weight_copies = 0

    def note(storage: "torch.UntypedStorage") -> None:
        nonlocal weight_copies
        by_class[observer.current.module] += storage.nbytes()
        by_stage[open_stage() or observer.current.stage] += storage.nbytes()
        weight_copies += storage.nbytes() if observer.is_weight_copy(storage) else 0

    with (
        declared_attention(kernel) as calls,
        PathObserver(model, calls, stages=stages) as observer,
        noted_storages([*model.parameters(), *model.buffers(), *tensors(inputs)], note),
    ):
        output = call(model, inputs)
    del output
    return Kept(by_class, by_stage, weight_copies, observer.path())


@contextmanager
def noted_storages(
    ignored: Iterable["Tensor"], note: Callable[["torch.UntypedStorage"], None]
) -> Iterator[None]:
    """While open, `note` gets each storage that autograd keeps, once.

    Storages of the `ignored` tensors do not count.
    """
    import torch

    skipped = {t.untyped_storage()._cdata for t in ignored}
    kept: dict[int, torch.UntypedStorage] = {}  # holding them keeps their identities apart

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in skipped and storage._cdata not in kept:
            kept[storage._cdata] = storage
            note(storage)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        yield
