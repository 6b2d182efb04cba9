"""Batch norms under recomputation: a forward that runs again must not count its frames twice.

How a contestant is trained, whatever its architecture: options that every model takes.

`checkpoint`: every block is computed again in backward, so that only its input is kept.
`trained_blocks`: of the backbone only the last so many blocks are trained, and what comes after
them; what was frozen stays frozen.

Blocks are found, not declared: modules of one class in a list or a sequence. A model whose blocks
are not modules that run as a whole has a method `run_block` that runs one.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint as recomputed


def has_batch_norm(net: nn.Module) -> bool:
    """Whether any layer keeps statistics over batches."""
    return any(isinstance(m, _BatchNorm) for m in net.modules())


@contextmanager
def statistics_kept(net: nn.Module) -> Iterator[None]:
    """While open, batch norms run on copies of their statistics."""
    own = [(m, m._buffers) for m in net.modules() if isinstance(m, _BatchNorm)]
    for norm, buffers in own:
        norm._buffers = {k: x if x is None else x.clone() for k, x in buffers.items()}
    try:
        yield
    finally:
        for norm, buffers in own:
            norm._buffers = buffers


Containers = nn.ModuleList | nn.Sequential


def apply(model: nn.Module, checkpoint: bool = False, trained_blocks: int | None = None) -> None:
    """Put a freshly built model under these options, in place.

    Raises ValueError where a model has no blocks, or not so many, or they are frozen already.
    """
    if trained_blocks is not None:
        _train_last(model, trained_blocks)
    if checkpoint:
        _recompute_blocks(model)


def block_lists(model: nn.Module) -> list[tuple[str, Containers]]:
    """(name, list) of the outermost lists of two or more blocks of one class."""
    found: list[tuple[str, Containers]] = []
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer, _ in found)
        if not inside and isinstance(module, Containers) and _are_blocks(list(module)):
            found.append((name, module))
    return found


def _are_blocks(modules: list[nn.Module]) -> bool:
    alike = len({type(m) for m in modules}) == 1
    return len(modules) > 1 and alike and any(True for _ in modules[0].children())


def _recompute_blocks(model: nn.Module) -> None:
    lists = block_lists(model)
    if not lists and not hasattr(model, "run_block"):
        raise ValueError("checkpoint: this model has no list of blocks to compute again")
    settings: dict[str, Any] = {}
    if has_batch_norm(model):
        settings["context_fn"] = lambda: (nullcontext(), statistics_kept(model))
    called: list[Any] = []
    if hasattr(model, "run_block"):
        model.run_block = partial(_run, model.run_block, settings, called.append)
    else:
        for block in (block for _, blocks in lists for block in blocks):
            block.forward = partial(_run, block.forward, settings, called.append)
    model.register_forward_hook(partial(_must_have_run, called))


def _run(forward, settings, note, *args, **kwargs):
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    note(forward)
    return recomputed(forward, *args, use_reentrant=False, **settings, **kwargs)


def _must_have_run(called: list, model: nn.Module, inputs: tuple, output: Any) -> None:
    """An option that does nothing must not look as if it did."""
    if torch.is_grad_enabled() and not called:
        raise ValueError("checkpoint: this model never calls its blocks, so none is computed again")
    called.clear()


def _train_last(model: nn.Module, count: int) -> None:
    lists = sorted(block_lists(model), key=lambda found: -len(found[1]))
    if not lists:
        raise ValueError("trained_blocks: this model has no list of blocks")
    name, blocks = lists[0]
    if not 0 <= count <= len(blocks):
        raise ValueError(f"trained_blocks must be 0 to {len(blocks)}, got {count!r}")
    frozen = list(blocks)[: len(blocks) - count]
    parent = model.get_submodule(name.rpartition(".")[0])
    before = [*parent.parameters(recurse=False)]
    for module in parent.children():
        if module is blocks:
            break
        before += module.parameters()
    below = [*before, *(p for block in frozen for p in block.parameters())]
    if not any(p.requires_grad for p in below) and frozen:
        raise ValueError("trained_blocks: the blocks of this model are frozen already")
    for p in below:
        p.requires_grad_(False)
