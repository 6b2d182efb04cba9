"""Memory over a training step, simulated: every storage from allocation to release, by kind.

    weights      parameters and buffers
    optimizer    AdamW's two moments of every trained weight, there from the second step on
    inputs       the clip, or what else the model takes
    activations  allocated in the forward
    copies       weights that autocast lowers, allocated in the forward
    gradients    of trained weights, as they arrive
    temporaries  all else allocated in the backward, and workspace of this project's operators

Runs on fake tensors: nothing is computed; memory of allocators and libraries is not included. The
peak is of forward and backward; an optimizer that works weight by weight does not exceed it.
"""

import weakref
from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from pks4.simulate.attention_kernels import declared_attention
from pks4.simulate.calls import call, loss_of, tensors
from pks4.simulate.operators import LOWERS, Observer
from pks4.simulate.targets import Target, on_target
from pks4.simulate.what_ran import ScanObserver
from pks4.simulate.workspace import op_workspace

RULE = "step_memory/v1"
ADAMW_BYTES = 8  # two float32 moments


@dataclass(frozen=True)
class StepMemory:
    """The peak of a training step and its parts, in bytes."""

    peak: int
    parts: dict[str, int]
    phase: str  # of the peak
    after_forward: int


class Simulated(NamedTuple):
    """A simulated step and the code path that it took."""

    memory: StepMemory
    kernel: str
    scan_backend: str | None


def simulate(model: nn.Module, inputs: Any, where: Target) -> Simulated:
    """Simulate a training step of `model` on `inputs`, both on meta, on a target.

    Raises Fallback where another scan ran than the one that was asked for.
    """
    with (
        on_target(where, model, inputs) as fakes,
        declared_attention(where.kernel) as calls,
        ScanObserver(model) as scans,
    ):
        memory = step_memory(model, fakes)
        return Simulated(memory, calls.evidence(), scans.backend())


def step_memory(model: nn.Module, inputs: Any) -> StepMemory:
    """Simulate forward, loss and backward of `model` on `inputs`, both already on fake tensors."""
    ledger = _Ledger(model, inputs)
    hooks = [
        p.register_post_accumulate_grad_hook(ledger.is_gradient)
        for p in model.parameters()
        if p.requires_grad
    ]
    try:
        with ledger:
            loss = loss_of(call(model, inputs))
            after_forward = ledger.total()
            ledger.phase = "backward"
            loss.backward()
    finally:
        for hook in hooks:
            hook.remove()
    return StepMemory(ledger.peak, ledger.parts_at_peak, ledger.phase_at_peak, after_forward)


class _Ledger(Observer):
    """Live storages by kind; remembers the moment of the peak."""

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        super().__init__()
        self.live: Counter[str] = Counter()
        self.kinds: dict[int, str] = {}
        self.phase, self.peak, self.phase_at_peak = "forward", 0, "forward"
        self.parts_at_peak: dict[str, int] = {}
        for x in (*model.parameters(), *model.buffers()):
            self._allocated(x, "weights")
        for x in tensors(inputs):
            self._allocated(x, "inputs")
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self.live["optimizer"] = ADAMW_BYTES * trained
        self._update_peak(0)

    def total(self) -> int:
        """Bytes alive now."""
        return self.live.total()

    def is_gradient(self, p: Tensor) -> None:
        """Called when a weight's gradient has arrived."""
        if p.grad is not None:
            self._rename(p.grad, "gradients")

    def observe(self, func, args, out) -> None:
        """Note an operator's results, then update the peak."""
        kind = "temporaries"
        if self.phase == "forward":
            lowers = func is LOWERS and self._kind(args[0]) == "weights"
            kind = "copies" if lowers else "activations"
        for x in tree_leaves(out):
            if isinstance(x, Tensor):
                self._allocated(x, kind)
        self._update_peak(op_workspace(func.overloadpacket._qualified_op_name, args))

    def _kind(self, x: Tensor) -> str | None:
        return self.kinds.get(x.untyped_storage()._cdata)

    def _allocated(self, x: Tensor, kind: str) -> None:
        storage = x.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.kinds:
            return
        self.kinds[key] = kind
        self.live[kind] += size
        weakref.finalize(storage, self._released, key, size).atexit = False

    def _released(self, key: int, size: int) -> None:
        self.live[self.kinds.pop(key)] -= size

    def _rename(self, x: Tensor, kind: str) -> None:
        storage = x.untyped_storage()
        old = self.kinds.get(storage._cdata)
        if old in ("temporaries", "activations"):
            self.kinds[storage._cdata] = kind
            self.live[old] -= storage.nbytes()
            self.live[kind] += storage.nbytes()

    def _update_peak(self, workspace: int) -> None:
        total = self.total() + workspace
        if total > self.peak:
            self.peak, self.phase_at_peak = total, self.phase
            self.parts_at_peak = {k: v for k, v in self.live.items() if v}
            if workspace:
                self.parts_at_peak["temporaries"] = self.live["temporaries"] + workspace
