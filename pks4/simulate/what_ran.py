"""Which way attention and scans took, as seen while they ran, and whether that is what was asked.

A contestant may be asked for fused attention and materialise its scores, or for one scan backend
and run another, without a word. Here the operators that ran are the witness.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from pks4.simulate.attention_kernels import Calls
from pks4.simulate.modules import Whereabouts
from pks4.simulate.operators import LOWERS, Observer

if TYPE_CHECKING:
    from torch import Tensor, nn

aten = torch.ops.aten
_SCAN = "pks4::scan_"
UNSEEN = "reference"  # a scan backend without an operator of its own


class Fallback(Exception):
    """Something else ran than what was asked for."""


class Scans(Observer):
    """While open, notes the scans of a model that run."""

    def __init__(self, model: nn.Module, device: str = "cpu") -> None:
        super().__init__()
        self.asked = scan_backend(model, device)
        self.seen: set[str] = set()

    def look(self, func: Any, args: tuple, out: Any) -> None:
        """Note an operator, if it is a scan's."""
        name = func.overloadpacket._qualified_op_name
        if name.startswith(_SCAN) and not name.endswith("_backward"):
            self.seen.add(name.removeprefix(_SCAN))

    def backend(self) -> str | None:
        """The backends that ran, as a record says it; None where there is no scan.

        Raises Fallback where layers are set to others.
        """
        asked = set((self.asked or "").split("+")) - {""}
        if asked and asked - {UNSEEN} != self.seen:
            ran = ", ".join(sorted(self.seen)) or "none with an operator of its own"
            raise Fallback(f"asked for scan backend {self.asked}, but {ran} ran")
        return "+".join(sorted(self.seen | (asked & {UNSEEN}))) or None


class Ran(NamedTuple):
    """What was seen."""

    kernel: str  # of fused attention
    scan_backend: str | None
    materialised: tuple[str, ...]  # classes of modules whose attention kept its scores

    def evidence(self) -> dict[str, str | None]:
        """What a record says of it."""
        return {"kernel": self.kernel, "scan_backend": self.scan_backend}

    def check(self, asked_attention: str | None) -> None:
        """Raise Fallback unless the attention that ran is what was asked for."""
        if asked_attention == "sdpa" and self.materialised:
            raise Fallback(
                f"asked for fused attention, but {', '.join(self.materialised)} materialised its "
                'scores; ask for attention = "eager" if that is meant'
            )


class Paths(Scans):
    """While open, notes scans, and attention whose scores were materialised.

    Which is a softmax that goes into a batched product; the declared kernel "math" has one by
    itself. `calls` counts fused attention; `module` gives the class of the module that runs.
    """

    def __init__(
        self, model: nn.Module, calls: Calls, module: Callable[[], str], device: str = "cpu"
    ) -> None:
        super().__init__(model, device)
        self.calls, self.module = calls, module
        self.scores: dict[int, torch.UntypedStorage] = {}  # holding them keeps identities apart
        self.materialised: set[str] = set()

    def look(self, func: Any, args: tuple, out: Any) -> None:
        """Note an operator, if it is one of those."""
        super().look(func, args, out)
        if func is aten._softmax.default or (func is LOWERS and self._is_scores(args[0])):
            self.scores[out.untyped_storage()._cdata] = out.untyped_storage()
        elif func is aten.bmm.default and self._is_scores(args[0]):
            self.materialised.add(self.module())

    def _is_scores(self, x: Tensor) -> bool:
        return x.untyped_storage()._cdata in self.scores

    def ran(self) -> Ran:
        """What was seen so far; raises Fallback for scans as `Scans.backend` does."""
        found = () if self.calls.kernel == "math" else tuple(sorted(self.materialised))
        return Ran(self.calls.evidence(), self.backend(), found)


def forward_seen(model: nn.Module, clip: Tensor, calls: Calls) -> Ran:
    """What runs in one forward of a model on a clip of its device, which leaves the model as is."""
    training = model.training
    model.eval()  # or batch norms would learn from it, and dropout draw from the seed
    try:
        with (
            torch.no_grad(),
            Whereabouts(model, None) as where,
            Paths(model, calls, lambda: where.module, clip.device.type) as paths,
        ):
            model(clip)
    finally:
        model.train(training)
    return paths.ran()


def scan_backend(model: "nn.Module", device: str = "cpu") -> str | None:
    """The scan backends that run in a model's layers, or None where there is no scan.

    In float32, which is what is measured; "auto" is replaced by what it takes.
    """
    from pks4.scan import resolve

    named = {str(m.scan_backend) for m in model.modules() if hasattr(m, "scan_backend")}
    return "+".join(sorted({resolve(name, device) for name in named})) or None
