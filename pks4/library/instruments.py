"""MACs and memory of any model: count, simulate, and search for what fits.

Each works on a copy of the model on meta (`pks4.simulate.meta_copy`); the caller's model, its
gradients, its hooks and the state of random numbers stay as they are. What a model's own code
raises becomes a UserError of one line.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn

from pks4.errors import UserError, unknown_name
from pks4.library.inputs import batch_of, described, on_meta
from pks4.library.refusals import told
from pks4.library.results import Macs, Step
from pks4.macs import RULE as MACS_RULE
from pks4.simulate import count_macs as counters
from pks4.simulate import step_memory
from pks4.simulate.attention_kernels import KERNELS, declared_attention
from pks4.simulate.calls import NothingTrained
from pks4.simulate.meta_copy import meta_copy
from pks4.simulate.modules import Stages
from pks4.simulate.saved_bytes import saved_bytes
from pks4.simulate.targets import Target, on_target
from pks4.simulate.targets import target as find_target
from pks4.simulate.what_ran import ScanObserver

Fresh = Callable[[], nn.Module]


def count_macs(
    model: nn.Module, clip_or_shape: Any, *, target: str = "cpu-fp32", kernel: str = ""
) -> Macs:
    """MACs of one forward and of one training step of `model`, under the rule macs/v1.

    Inputs: see `pks4.library.inputs`. The forward runs in the mode that the model is in, the step
    in train mode. `target` and `kernel` say which attention runs, since a fused one multiplies more
    in its backward. Raises UserError, with its name, for an operator that cannot be counted.
    """
    where = target_named(target, kernel)
    with at_work(model, clip_or_shape) as (fresh, inputs):
        path, forward, train = _forward_and_step(fresh, inputs, where)
    return Macs(
        model=type(model).__name__,
        forward=forward.by_class.total(),
        train=train,
        by_stage=dict(forward.by_stage.most_common()),
        by_module=dict(forward.by_class.most_common()),
        rule=MACS_RULE,
        kernel=path[0],
        scan_backend=path[1],
    )


def _forward_and_step(
    fresh: Fresh, inputs: Any, where: Target
) -> tuple[tuple[str, str | None], counters.Counted, int | None]:
    """The path, the count of the forward, and the MACs of a step or None if nothing is trained."""
    copy = fresh()
    in_eval_mode = None if copy.training else _counted(copy, inputs, where, backward=False)
    try:
        step, path = _counted(trained(fresh()), inputs, where, backward=True)
    except NothingTrained:
        forward, path = in_eval_mode or _counted(copy, inputs, where, backward=False)
        return path, forward, None
    return path, in_eval_mode[0] if in_eval_mode else step, step.total


def _counted(
    copy: nn.Module, inputs: Any, where: Target, *, backward: bool
) -> tuple[counters.Counted, tuple[str, str | None]]:
    with (
        on_target(where, copy, inputs) as fakes,
        declared_attention(where.kernel) as calls,
        ScanObserver(copy) as scans,
    ):
        found = counters.count(copy, fakes, backward=backward, stages=_stages(copy))
        return found, (calls.evidence(), scans.backend())


def simulate_step(
    model: nn.Module,
    clip_or_shape: Any,
    target: str = "cuda-bf16",
    batch: int | None = None,
    kernel: str = "",
) -> Step:
    """Memory of a training step of `model` with AdamW, simulated on a target: no GPU is needed.

    Inputs: see `pks4.library.inputs`; `batch` replaces their number of clips. The model runs in
    train mode. Raises UserError where nothing of it is trained.
    """
    where = target_named(target, kernel)
    with at_work(model, clip_or_shape, batch) as (fresh, inputs):
        memory, ran, scan = step_memory.simulate(trained(fresh()), inputs, where)
        copy = trained(fresh())
        with on_target(where, copy, inputs) as fakes:
            kept = saved_bytes(copy, fakes, where.kernel, _stages(copy))
        clips = batch_of(inputs)
    return Step(
        model=type(model).__name__,
        peak=memory.peak,
        kept=kept.by_class.total(),
        parts=memory.parts,
        by_module=dict(kept.by_class.most_common()),
        by_stage=dict(kept.by_stage.most_common()),
        phase=memory.phase,
        after_forward=memory.after_forward,
        weight_copies=kept.weight_copies,
        target=where.name,
        batch=clips,
        kernel=ran,
        scan_backend=scan,
        rule=step_memory.RULE,
    )


def peak_of_step(
    model: nn.Module, clip_or_shape: Any, where: Target, batch: int | None = None
) -> step_memory.Simulated:
    """The memory of a step alone, which `what_fits` asks for many times."""
    with at_work(model, clip_or_shape, batch) as (fresh, inputs):
        return step_memory.simulate(trained(fresh()), inputs, where)


def target_named(name: str, kernel: str = "") -> Target:
    """The target with this attention kernel. Raises UserError for an unknown name of either."""
    if kernel and kernel not in KERNELS:
        raise UserError(unknown_name("attention kernel", kernel, KERNELS))
    return find_target(name, kernel)


def trained(copy: nn.Module) -> nn.Module:
    """The model in train mode; one that is in it already keeps the modes of its parts."""
    return copy if copy.training else copy.train()


def _stages(model: nn.Module) -> Stages | None:
    """`STAGES` of the file that the model's class is in, as every contestant has it."""
    stages = getattr(sys.modules.get(type(model).__module__), "STAGES", None)
    return stages if isinstance(stages, dict) else None


@contextmanager
def at_work(
    model: nn.Module, clip_or_shape: Any, batch: int | None = None
) -> Iterator[tuple[Fresh, Any]]:
    """A maker of copies of the model and its inputs, on meta, whatever modes the caller has open.

    Each pass takes a fresh copy: a forward may leave something in the model that it runs.
    """
    if not isinstance(model, nn.Module):
        called = f"; call it first: {model.__name__}()" if isinstance(model, type) else ""
        raise UserError(f"takes an nn.Module, got {model!r}, a {type(model).__name__}{called}")
    model = getattr(model, "_orig_mod", model)  # of torch.compile
    inputs = on_meta(clip_or_shape, batch)
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autocast("cpu", enabled=False))
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(_no_fast_path())
        stack.enter_context(_no_compiler())
        with told(type(model).__name__):
            copy = meta_copy(model)
        with told(f"{type(model).__name__} on {described(inputs)}", copy):
            yield partial(meta_copy, copy), inputs


@contextmanager
def _no_fast_path() -> Iterator[None]:
    """While open, attention of torch.nn in eval mode is no operator that hides its products."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


@contextmanager
def _no_compiler() -> Iterator[None]:
    """While open, what torch.compile has made or makes runs as it is written.

    A compiler on tensors without values ends the process.
    """

    def as_written(model: Any = None, **options: Any) -> Any:
        return (lambda f: f) if model is None else model

    compiler = torch.compile
    loaded = "torch._dynamo" in sys.modules  # what is compiled already needs it; it takes seconds
    torch.compile = as_written  # type: ignore[assignment]
    try:
        with torch.compiler.set_stance("force_eager") if loaded else nullcontext():
            yield
    finally:
        torch.compile = compiler
