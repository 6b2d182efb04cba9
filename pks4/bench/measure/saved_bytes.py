"""Activation memory: bytes kept for backward, by module class, without a GPU.

Every tensor that autograd keeps is noted once per storage; parameters, buffers and the input do
not count. On fake tensors with a declared attention kernel this equals a real run to the byte,
under autocast too, whose copies of weights count. A kernel's own workspace and what backward
allocates for a moment are not in this number.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from pks4.bench.record import Reading
from pks4.bench.trial import Trial, scan_backend

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

SETTINGS = {"target": "cpu-fp32", "kernel": ""}  # kernel: "math" keeps scores; "": the target's
RULE = "saved_bytes/v1"


def measure(trial: Trial) -> Iterator[Reading]:
    """Run one forward on fake tensors and add up what is kept."""
    from pks4.bench.targets import standing_on, target

    where = target(trial.settings["target"], trial.settings["kernel"])
    model = trial.build("meta")
    with standing_on(where, model, trial.clip("meta")) as clip:
        kept = saved_bytes(model, clip, where.kernel)
        scan = scan_backend(model)
    yield Reading(
        metric="saved_bytes",
        value=kept.by_class.total(),
        unit="B",
        kind="exact",
        evidence={**where.evidence(), "rule": RULE, "kernel": kept.kernel, "scan_backend": scan},
        detail={
            "by_class": dict(kept.by_class.most_common()),
            "by_stage": dict(kept.by_stage),
            "weight_copies": kept.weight_copies,
        },
    )


class Kept(NamedTuple):
    """Bytes kept for backward; copies are of weights that autocast lowered, the same at any T."""

    by_class: Counter[str]
    by_stage: Counter[str]  # top-level child
    weight_copies: int
    kernel: str


def saved_bytes(model: "nn.Module", clip: "Tensor", kernel: str) -> Kept:
    """Bytes kept for backward by module class and by stage, with the kernel used.

    Works on any device; the model is run once, forward only.
    """
    from pks4.bench.kernels import declared_attention
    from pks4.bench.lowered import LoweredWeights

    by_class: Counter[str] = Counter()
    by_stage: Counter[str] = Counter()
    where: list[tuple[str, str]] = [(type(model).__name__, "model")]
    copies = LoweredWeights(model)
    copied = 0

    def note(storage: "torch.UntypedStorage") -> None:
        nonlocal copied
        by_class[where[-1][0]] += storage.nbytes()
        by_stage[where[-1][1]] += storage.nbytes()
        copied += storage.nbytes() if storage in copies else 0

    with (
        _whereabouts(model, where),
        declared_attention(kernel) as calls,
        copies,
        noted_storages([*model.parameters(), *model.buffers(), clip], note),
    ):
        output = model(clip)
    del output
    return Kept(by_class, by_stage, copied, calls.evidence())


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


class _whereabouts:
    """While open, the last entry of `where` is the module that runs: (class, top-level child)."""

    def __init__(self, model: "nn.Module", where: list[tuple[str, str]]) -> None:
        self.model, self.where = model, where
        self.handles: list[Any] = []

    def __enter__(self) -> None:
        for name, module in self.model.named_modules():
            if name:
                entry = (type(module).__name__, name.split(".")[0])
                self.handles += [
                    module.register_forward_pre_hook(lambda m, i, e=entry: self.where.append(e)),
                    module.register_forward_hook(
                        lambda m, i, o: self.where.pop() and None, always_call=True
                    ),
                ]

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()
