"""What a model costs, in one record: parameters, MACs, memory of a step, and what fits where."""

from functools import cache, partial
from typing import Any

from torch import nn

from pks4.bench.units import bytes_of
from pks4.library.fitting import MOST_BATCH, most_clips
from pks4.library.inputs import described, on_meta
from pks4.library.instruments import count_macs, peak_of_step, simulate_step, target_named
from pks4.library.results import Cost
from pks4.simulate.what_fits import RESERVE

MEMORIES = ("8GB", "24GB", "40GB", "80GB")


def cost(
    model: nn.Module,
    clip_or_shape: Any,
    *,
    name: str = "",
    target: str = "cuda-bf16",
    kernel: str = "",
    batch: int | None = None,
) -> Cost:
    """Parameters, MACs and memory of a step on these inputs; clips of a step by memory.

    Inputs: see `pks4.library.inputs`; `batch` replaces their number of clips in the step. MACs are
    of the inputs as given. Raises UserError as the single instruments do.
    """
    where = target_named(target, kernel)
    macs = count_macs(model, clip_or_shape, target=target, kernel=kernel)
    step = simulate_step(model, clip_or_shape, target, batch, kernel)
    limits = [int(bytes_of(memory) * (1 - RESERVE)) for memory in MEMORIES]
    step_of = cache(partial(peak_of_step, model, clip_or_shape, where))
    fits = most_clips(step_of, limits, step.batch, step)
    parameters = list(model.parameters())
    return Cost(
        model=name or type(model).__name__,
        inputs=described(on_meta(clip_or_shape)),
        params_total=sum(p.numel() for p in parameters),
        params_trainable=sum(p.numel() for p in parameters if p.requires_grad),
        macs=macs,
        step=step,
        fits=dict(zip(MEMORIES, fits, strict=True)),
        most_batch=MOST_BATCH,
    )
