"""Training options of every contestant, whatever its architecture.

`checkpoint`: backward recomputes every block, so forward keeps only the input of each block.
`trained_blocks`: only the last so many blocks of the backbone train, and the layers after them;
frozen layers stay frozen.
`trained`: of the backbone train only the biases ("bias", BitFit, arXiv 2106.10199), or only weights
and biases of the norms ("norm"). What belongs to the stages temporal and head trains as before.

Blocks need no declaration: they are modules of one class in a list or a sequence. A model that
calls the layers of a block itself has a method `run_block` that runs one block.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint as recomputed

from pks4.errors import unknown_name

TRAINED = ("bias", "norm")
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, _BatchNorm)
Containers = nn.ModuleList | nn.Sequential


def apply(
    model: nn.Module,
    checkpoint: bool = False,
    trained_blocks: int | None = None,
    trained: str | None = None,
    stages: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Apply these options to a freshly built model, in place.

    `stages` are `STAGES` of its file: stage -> parts of module names that are not the backbone's.

    Raises ValueError if a model has no blocks, or not so many, or if they are frozen already.
    """
    if trained_blocks is not None:
        _train_last(model, trained_blocks)
    if trained is not None:
        _train_only(model, trained, stages or {})
    if checkpoint:
        _recompute_blocks(model)


def block_lists(model: nn.Module) -> list[tuple[str, Containers]]:
    """(name, list) of the outermost lists of two or more blocks of one class."""
    lists: list[tuple[str, Containers]] = []
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer, _ in lists)
        if not inside and isinstance(module, Containers) and _are_blocks(list(module)):
            lists.append((name, module))
    return lists


def _are_blocks(modules: list[nn.Module]) -> bool:
    alike = len({type(m) for m in modules}) == 1
    return len(modules) > 1 and alike and any(True for _ in modules[0].children())


def _recompute_blocks(model: nn.Module) -> None:
    lists = block_lists(model)
    if not lists and not hasattr(model, "run_block"):
        raise ValueError("checkpoint: this model has no list of blocks to recompute")
    settings: dict[str, Any] = {}
    if has_batch_norm(model):
        settings["context_fn"] = lambda: (nullcontext(), statistics_kept(model))
    called: list[Any] = []
    if hasattr(model, "run_block"):
        model.run_block = partial(_recomputing, model.run_block, settings, called.append)
    else:
        for block in (block for _, blocks in lists for block in blocks):
            block.forward = partial(_recomputing, block.forward, settings, called.append)
    model.register_forward_hook(partial(_must_have_run, called))


def _recomputing(forward, settings, record, *args, **kwargs):
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    record(forward)
    return recomputed(forward, *args, use_reentrant=False, **settings, **kwargs)


def _must_have_run(called: list, model: nn.Module, inputs: tuple, output: Any) -> None:
    """Raise ValueError if `checkpoint` had no effect."""
    if torch.is_grad_enabled() and not called:
        raise ValueError("checkpoint: this model never calls its blocks, so none is recomputed")
    called.clear()


def _train_last(model: nn.Module, count: int) -> None:
    lists = sorted(block_lists(model), key=lambda named: -len(named[1]))
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


def _train_only(model: nn.Module, kind: str, stages: Mapping[str, Sequence[str]]) -> None:
    if kind not in TRAINED:
        raise ValueError(unknown_name("trained", kind, TRAINED))
    longest = max((blocks for _, blocks in block_lists(model)), key=len, default=model)
    if not any(p.requires_grad for p in longest.parameters()):
        raise ValueError("trained: the backbone of this model is frozen already")
    norms = {id(p) for m in model.modules() if isinstance(m, NORMS) for p in m.parameters()}
    others = {part for parts in stages.values() for part in parts}
    for name, p in model.named_parameters():
        *modules, last = name.split(".")
        wanted = "bias" in last if kind == "bias" else id(p) in norms
        if others.isdisjoint(modules) and not wanted:
            p.requires_grad_(False)


def has_batch_norm(net: nn.Module) -> bool:
    """Whether any layer keeps statistics over batches."""
    return any(isinstance(m, _BatchNorm) for m in net.modules())


@contextmanager
def statistics_kept(net: nn.Module) -> Iterator[None]:
    """Inside this context, batch norms update copies of their statistics.

    For recomputation in backward: the second forward must not count its frames again.
    """
    norms = [(m, m._buffers) for m in net.modules() if isinstance(m, _BatchNorm)]
    for norm, buffers in norms:
        norm._buffers = {k: x if x is None else x.clone() for k, x in buffers.items()}
    try:
        yield
    finally:
        for norm, buffers in norms:
            norm._buffers = buffers
