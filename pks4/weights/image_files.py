"""Files of image models: safetensors whose metadata holds the facts that a record needs.

A file states its twin, the recipe that made it, its own accuracy and the hash of its weights, so
that it can be judged by itself. `SHIPPED` is the folder of files that the package brings.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

SHIPPED = Path(__file__).parent / "stills"
FACTS = "facts"  # the key of the metadata


@dataclass(frozen=True)
class ImageModel:
    """Weights of an image twin, and facts for a record; see `pks4.train.image_pretraining`."""

    state: dict[str, Tensor]
    facts: dict[str, Any] = field(repr=False)


def packed(state: Mapping[str, Tensor], facts: Mapping[str, Any]) -> bytes:
    """The content of a file with these weights and facts, and the hash of the weights."""
    tensors = {name: tensor.detach().contiguous() for name, tensor in state.items()}
    whole = {**facts, "digest": weights_digest(tensors)}
    return save(tensors, {FACTS: json.dumps(whole, sort_keys=True)})


def read_image_model(path: Path) -> ImageModel:
    """The image model in a file.

    Raises ValueError in one line if the file states no facts, or holds other weights than it
    states; OSError and SafetensorError as the file gives them.
    """
    with safe_open(path, framework="pt") as file:
        facts = _facts(file)
        names = list(file.keys())
        state = {name: file.get_tensor(name).clone() for name in names}  # else they map the file
    if not facts:
        raise ValueError(f"{path}: states no facts of an image model")
    if facts.get("digest") != weights_digest(state):
        raise ValueError(f"{path}: its weights are not those that it states")
    return ImageModel(state, facts)


def facts_of(path: Path) -> dict[str, Any]:
    """The facts that a file of weights states; {} if it states none, or is no safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            return _facts(file)
    except (SafetensorError, OSError, ValueError):
        return {}


def _facts(file: Any) -> dict[str, Any]:
    return json.loads((file.metadata() or {}).get(FACTS, "{}"))


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """A hash of names, shapes, dtypes and values of all weights."""
    content = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        content.update(tensor.view(-1).view(torch.uint8).numpy().data)
    return content.hexdigest()
