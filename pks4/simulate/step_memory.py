"""Memory over a training step, simulated: every storage from its birth to its death, by what it is.

    weights      parameters and buffers
    optimizer    AdamW's two moments of every trained weight, there from the second step on
    inputs       the clip
    activations  born in the forward
    copies       weights that autocast lowers, born in the forward too
    gradients    of trained weights, as they arrive
    temporaries  all else that is born in the backward, and workspace of this project's operators

Runs on fake tensors: nothing is computed, allocators and libraries add what they add. The peak is
of forward and backward; an optimizer that works weight by weight does not exceed it.
"""

import weakref
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from pks4.simulate.attention_kernels import declared_attention
from pks4.simulate.operators import LOWERS, Observer
from pks4.simulate.targets import Target, standing_on
from pks4.simulate.what_ran import Scans
from pks4.simulate.workspace import op_workspace

RULE = "step_memory/v1"
ADAMW_BYTES = 8  # two float32 moments


@dataclass(frozen=True)
class StepMemory:
    """The most that lives at once in a training step, and what it is made of, in bytes."""

    peak: int
    parts: dict[str, int]
    phase: str  # in which the peak is reached
    after_forward: int


class Simulated(NamedTuple):
    """A simulated step and which ways it took, as seen."""

    memory: StepMemory
    kernel: str
    scan_backend: str | None


def simulate(model: nn.Module, clip: Tensor, where: Target) -> Simulated:
    """A training step of `model` on `clip`, both on meta, as it would run on a target.

    Raises Fallback where another scan ran than the one asked for.
    """
    with (
        standing_on(where, model, clip) as there,
        declared_attention(where.kernel) as calls,
        Scans(model) as scans,
    ):
        memory = step_memory(model, there)
        return Simulated(memory, calls.evidence(), scans.backend())


def step_memory(model: nn.Module, clip: Tensor) -> StepMemory:
    """Simulate forward, loss and backward of `model` on `clip`, both on fake tensors already."""
    ledger = _Ledger(model, clip)
    hooks = [
        p.register_post_accumulate_grad_hook(ledger.is_gradient)
        for p in model.parameters()
        if p.requires_grad
    ]
    try:
        with ledger:
            loss = model(clip).float().sum()
            after_forward = ledger.total()
            ledger.phase = "backward"
            loss.backward()
    finally:
        for hook in hooks:
            hook.remove()
    return StepMemory(ledger.peak, ledger.parts_at_peak, ledger.phase_at_peak, after_forward)


class _Ledger(Observer):
    """Live storages by what they are; remembers the moment when there were most bytes."""

    def __init__(self, model: nn.Module, clip: Tensor) -> None:
        super().__init__()
        self.live: Counter[str] = Counter()
        self.kinds: dict[int, str] = {}
        self.phase, self.peak, self.phase_at_peak = "forward", 0, "forward"
        self.parts_at_peak: dict[str, int] = {}
        for x in (*model.parameters(), *model.buffers()):
            self._born(x, "weights")
        self._born(clip, "inputs")
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self.live["optimizer"] = ADAMW_BYTES * trained
        self._weigh(0)

    def total(self) -> int:
        """Bytes alive now."""
        return self.live.total()

    def is_gradient(self, p: Tensor) -> None:
        """Called when a weight's gradient has arrived."""
        if p.grad is not None:
            self._rename(p.grad, "gradients")

    def look(self, func, args, out) -> None:
        """Note what an operator has given, then see whether there was ever more."""
        kind = "temporaries"
        if self.phase == "forward":
            lowers = func is LOWERS and self._kind(args[0]) == "weights"
            kind = "copies" if lowers else "activations"
        for x in tree_leaves(out):
            if isinstance(x, Tensor):
                self._born(x, kind)
        self._weigh(op_workspace(func.overloadpacket._qualified_op_name, args))

    def _kind(self, x: Tensor) -> str | None:
        return self.kinds.get(x.untyped_storage()._cdata)

    def _born(self, x: Tensor, kind: str) -> None:
        storage = x.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.kinds:
            return
        self.kinds[key] = kind
        self.live[kind] += size
        weakref.finalize(storage, self._died, key, size).atexit = False

    def _died(self, key: int, size: int) -> None:
        self.live[self.kinds.pop(key)] -= size

    def _rename(self, x: Tensor, kind: str) -> None:
        storage = x.untyped_storage()
        old = self.kinds.get(storage._cdata)
        if old in ("temporaries", "activations"):
            self.kinds[storage._cdata] = kind
            self.live[old] -= storage.nbytes()
            self.live[kind] += storage.nbytes()

    def _weigh(self, workspace: int) -> None:
        total = self.total() + workspace
        if total > self.peak:
            self.peak, self.phase_at_peak = total, self.phase
            self.parts_at_peak = {k: v for k, v in self.live.items() if v}
            if workspace:
                self.parts_at_peak["temporaries"] = self.live["temporaries"] + workspace
