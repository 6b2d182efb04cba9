"""Queries, keys and values as three layers, as some authors name them, or as one.

    split     blocks.0.attn.qkv.weight (3d, d)  ->  blocks.0.attn.{q,k,v}_proj.weight (d, d)
    joined    the inverse

Both take a state dict in official names and are inverse of each other, as `Official` asks of
`export` and `restore`. Tensors of other names stay as they are.
"""

import torch
from torch import Tensor

JOINT, PARTS = ".attn.qkv.", tuple(f".attn.{letter}_proj." for letter in "qkv")


def split(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each joint matrix or bias as three, in its place."""
    found = {}
    for name, value in state.items():
        if JOINT in name:
            names = (name.replace(JOINT, part) for part in PARTS)
            found.update(zip(names, value.chunk(3), strict=True))
        else:
            found[name] = value
    return found


def joined(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Three matrices or biases as one, where the first of them was."""
    found = {}
    for name, value in state.items():
        if PARTS[0] in name:
            parts = [state[name.replace(PARTS[0], part)] for part in PARTS]
            found[name.replace(PARTS[0], JOINT)] = torch.cat(parts)
        elif not any(part in name for part in PARTS):
            found[name] = value
    return found
