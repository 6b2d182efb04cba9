"""Which attention and which scans ran, seen in the operators, and whether they were asked for.

A contestant may be asked for fused attention and materialise its scores, or be asked for one scan
backend and run another, without any message. Its operators show which one happened.
"""

from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from pks4.simulate.attention_kernels import Calls
from pks4.simulate.modules import CurrentModule, Stages
from pks4.simulate.operators import LOWERS, Observer

aten = torch.ops.aten
SCAN = "pks4::scan_"
UNSEEN = "reference"  # the scan backend without an operator: plain PyTorch


class Fallback(Exception):
    """Something else ran than what was asked for."""


class ScanObserver(Observer):
    """While open, notes the scan backends that run in a model."""

    def __init__(self, model: nn.Module, device: str = "cpu") -> None:
        super().__init__()
        self.asked = scan_backend(model, device)
        self.seen: set[str] = set()

    def observe(self, func: Any, args: tuple, out: Any) -> None:
        """Note the operator if it is a scan's."""
        name = func.overloadpacket._qualified_op_name
        if name.startswith(SCAN) and not name.endswith("_backward"):
            self.seen.add(name.removeprefix(SCAN))

    def backend(self) -> str | None:
        """The backends that ran, as a record names them; None where there is no scan.

        Raises Fallback where the layers are set to others.
        """
        asked = set((self.asked or "").split("+")) - {""}
        if asked and asked - {UNSEEN} != self.seen:
            ran = ", ".join(sorted(self.seen)) or "none with an operator"
            raise Fallback(f"asked for scan backend {self.asked}, but {ran} ran")
        return "+".join(sorted(self.seen | (asked & {UNSEEN}))) or None


class ObservedPath(NamedTuple):
    """The code path that ran."""

    kernel: str  # of fused attention
    scan_backend: str | None
    materialised: tuple[str, ...]  # classes of modules whose attention kept its scores

    def evidence(self) -> dict[str, str | None]:
        """Its entries in a record's evidence."""
        return {"kernel": self.kernel, "scan_backend": self.scan_backend}

    def check(self, asked_attention: str | None) -> None:
        """Raise Fallback unless the attention that ran was asked for."""
        if asked_attention == "sdpa" and self.materialised:
            raise Fallback(
                f"asked for fused attention, but {', '.join(self.materialised)} materialised its "
                'scores; ask for attention = "eager" if that is meant'
            )


class PathObserver(ScanObserver):
    """While open, notes scans, attention with materialised scores, and lowered copies of weights.

    Scores are materialised where a softmax goes into a batched product. The declared kernel "math"
    does so itself. `calls` counts fused attention; `current` knows the module that runs.
    """

    def __init__(
        self, model: nn.Module, calls: Calls, device: str = "cpu", stages: Stages | None = None
    ) -> None:
        super().__init__(model, device)
        self.calls = calls
        self.current = CurrentModule(model, stages)
        self.materialised: set[str] = set()
        self._weights = {p.untyped_storage()._cdata for p in model.parameters()}
        # To hold storages keeps their identities apart.
        self._scores: dict[int, torch.UntypedStorage] = {}
        self._weight_copies: dict[int, torch.UntypedStorage] = {}

    def __enter__(self) -> Self:
        self.current.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.current.__exit__(*error)

    def observe(self, func: Any, args: tuple, out: Any) -> None:
        """Note the operator if it is one of those."""
        super().observe(func, args, out)
        if func is aten._softmax.default:
            self._keep(self._scores, out)
        elif func is LOWERS:
            source = args[0].untyped_storage()._cdata
            if source in self._scores:
                self._keep(self._scores, out)
            if source in self._weights:
                self._keep(self._weight_copies, out)
        elif func is aten.bmm.default and args[0].untyped_storage()._cdata in self._scores:
            self.materialised.add(self.current.module)

    @staticmethod
    def _keep(storages: dict[int, torch.UntypedStorage], x: Tensor) -> None:
        storages[x.untyped_storage()._cdata] = x.untyped_storage()

    def is_weight_copy(self, storage: torch.UntypedStorage) -> bool:
        """Whether autocast made this storage from a weight."""
        return storage._cdata in self._weight_copies

    def path(self) -> ObservedPath:
        """The path so far; raises Fallback for scans as `ScanObserver.backend` does."""
        materialised = () if self.calls.kernel == "math" else tuple(sorted(self.materialised))
        return ObservedPath(self.calls.evidence(), self.backend(), materialised)


def observe_forward(model: nn.Module, clip: Tensor, calls: Calls) -> ObservedPath:
    """The path of one forward on a clip of the model's device; the model does not change."""
    training = model.training
    model.eval()  # or batch norms would learn from it, and dropout draw from the seed
    try:
        with torch.no_grad(), PathObserver(model, calls, clip.device.type) as observer:
            model(clip)
    finally:
        model.train(training)
    return observer.path()


def scan_backend(model: nn.Module, device: str = "cpu") -> str | None:
    """The scan backends that run in a model's layers, or None where there is no scan.

    In float32, which is what is measured; "auto" is replaced by the backend that it takes.
    """
    from pks4.scan import resolve

    named = {str(m.scan_backend) for m in model.modules() if hasattr(m, "scan_backend")}
    return "+".join(sorted({resolve(name, device) for name in named})) or None
