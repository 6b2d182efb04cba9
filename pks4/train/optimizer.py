"""The optimiser of a recipe: groups of parameters by decay and by depth.

Layer decay goes by names, since not all contestants have timm's `group_matcher`. The first whole
number in a parameter's name is its block. Parameters defined before the first block lie one depth
below it, parameters defined after the last block one depth above it. A part whose names do not tell
its place, such as a module between two blocks, is in the model's `follows`: part -> the part that
it comes after. It has the depth of the last parameter of that one.
"""

import re
from collections.abc import Mapping

import torch
from torch import nn

from pks4.train.recipe import Recipe

_NUMBER = re.compile(r"\.(\d+)\.")


def optimiser_of(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW or SGD over the trained parameters; each group has its `lr_scale`."""
    groups = _groups(model, recipe)
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(
            groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0
        )
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group this learning rate, times its scale."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["lr_scale"]


def block_of(name: str) -> str | None:
    """The block of a parameter: its name up to the first whole number."""
    number = _NUMBER.search(f".{name}")
    return name[: number.end() - 2] if number else None


def depths(names: list[str], follows: Mapping[str, str]) -> dict[str, int]:
    """Depth of each parameter, 0 for those before the first block; `follows` as in a model."""
    numbers: dict[str, int | None] = {}
    last = -1
    placed = {n: below for n in names for part, below in follows.items() if _is_in(part, n)}
    for name in [name for name in names if name not in placed]:
        number = _NUMBER.search(f".{name}")
        numbers[name] = int(number[1]) + 1 if number else (0 if last < 0 else None)
        last = max(last, numbers[name] - 1 if number else last)
    found = {name: last + 2 if depth is None else depth for name, depth in numbers.items()}
    at = {part: max(d for n, d in found.items() if _is_in(part, n)) for part in placed.values()}
    return found | {name: at[below] for name, below in placed.items()}


def _is_in(part: str, name: str) -> bool:
    return name.startswith(f"{part}.")


def _groups(model: nn.Module, recipe: Recipe) -> list[dict]:
    """Groups of trained parameters; vectors and scalars decay only with `decay_vectors`."""
    depth = depths([name for name, _ in model.named_parameters()], getattr(model, "follows", {}))
    top = max(depth.values())
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        decayed = parameter.ndim > 1 or recipe.decay_vectors
        scale = recipe.layer_decay ** (top - depth[name])
        key = (recipe.weight_decay if decayed else 0.0, scale)
        groups.setdefault(key, []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "lr_scale": scale}
        for (decay, scale), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]
