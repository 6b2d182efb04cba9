""" """

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from pks4.simulate.modules import Stages, Whereabouts

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from pks4.simulate.what_ran import Ran


class Kept(NamedTuple):
    """Bytes kept for backward; copies are of weights that autocast lowered, the same at any T."""

    by_class: Counter[str]
    by_stage: Counter[str]
    weight_copies: int
    ran: "Ran"


def saved_bytes(
    model: "nn.Module", clip: "Tensor", kernel: str, stages: "Stages | None" = None
) -> Kept:
    """Bytes kept for backward by module class and by stage, and what ran.

    `stages` names parts of module names by stage (`STAGES` of a contestant's file); without it
    stages are the top-level children. Works on any device; the model is run once, forward only.
    """
    from pks4.macs import open_stage
    from pks4.simulate.attention_kernels import declared_attention
    from pks4.simulate.operators import LoweredWeights
    from pks4.simulate.what_ran import Paths

    by_class: Counter[str] = Counter()
    by_stage: Counter[str] = Counter()
    where = Whereabouts(model, stages)
    copies = LoweredWeights(model)
    copied = 0

    def note(storage: "torch.UntypedStorage") -> None:
        nonlocal copied
        by_class[where.module] += storage.nbytes()
        by_stage[open_stage() or where.stage] += storage.nbytes()
        copied += storage.nbytes() if storage in copies else 0

    with (
        where,
        declared_attention(kernel) as calls,
        copies,
        Paths(model, calls, lambda: where.module) as paths,
        noted_storages([*model.parameters(), *model.buffers(), clip], note),
    ):
        output = model(clip)
    del output
    return Kept(by_class, by_stage, copied, paths.ran())


@contextmanager
def noted_storages(
    ignored: Iterable["Tensor"], note: Callable[["torch.UntypedStorage"], None]
) -> Iterator[None]:
    """While open, `note` gets each storage that autograd keeps, once.

    Storages of the `ignored` tensors do not count.
    """
    import torch

    own = {t.untyped_storage()._cdata for t in ignored}
    kept: dict[int, torch.UntypedStorage] = {}  # holding them keeps their identities apart

    def look(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own and storage._cdata not in kept:
            kept[storage._cdata] = storage
            note(storage)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(look, lambda t: t):
        yield
