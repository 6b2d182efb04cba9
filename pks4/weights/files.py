"""Weights of an image model from a local file, all of them or none; nothing is downloaded.

Checkpoints have many wrappers: a key such as `state_dict`, prefixes such as `module.` or `model.`
of every name, a classifier that a backbone here lacks. The functions remove wrappers, prefixes and
classifier; everything else must fit, name by name and shape by shape.
"""

import re
from argparse import Namespace
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

# Keys that hold the weights.
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "module")
IMAGE_PREFIX = "backbone.net."  # of the net in this project's image models
PREFIXES = ("module.", "model.", IMAGE_PREFIX)
LISTED = 8  # names in an error


def load_weights(net: nn.Module, path: str | Path) -> None:
    """Load the weights of a timm model into `net`, which may lack the classifier.

    `safetensors` and `numpy` read files `.safetensors` and `.npz`, `torch.load` all others, with
    weights_only; none of them runs code of the file.

    Raises ValueError if the file cannot be read, or with one line that lists what is missing,
    unknown or of another shape; then nothing is loaded.
    """
    expected, heads = net.state_dict(), _classifiers(net)
    given = unprefixed(read_weights(path), PREFIXES, expected)
    given = {k: v for k, v in given.items() if k in expected or not k.startswith(heads)}
    require_fit(expected, given, f"{path} does not fit {type(net).__name__}")
    net.load_state_dict(given)


def load_part(
    net: nn.Module,
    state: Mapping[str, Tensor],
    prefix: str = IMAGE_PREFIX,
    unused: Collection[str] = (),
    keep: Collection[str] = (),
) -> None:
    """Load the weights of an image model under `prefix` into `net`, all of them or none.

    Args:
        net: a module whose names are those behind the prefix.
        state: the state dict of the image model; names without the prefix are ignored.
        unused: names behind the prefix that must exist in `state` but not in `net`.
        keep: parts of names in `net` that an image model lacks; these weights keep their values.

    Raises ValueError with one line that lists what is missing, unknown or of another shape; then
    nothing is loaded.
    """
    given, current = under(state, prefix), net.state_dict()
    kept = {k: v for k, v in current.items() if any(part in k for part in keep)}
    dropped = {k: given.get(k) for k in unused}
    expected = {k: v for k, v in current.items() if k not in kept} | dropped
    require_fit(expected, given, f"image weights do not fit {type(net).__name__}")
    net.load_state_dict({**kept, **{k: v for k, v in given.items() if k not in dropped}})


def under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights whose names begin with the prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def load_backbone(backbone: nn.Module, state: dict[str, Tensor]) -> None:
    """Load the entries `backbone.*` of an image model's state dict, all of them or none."""
    load_part(backbone, state, "backbone.")


def read_weights(source: Mapping[str, object] | str | Path) -> Mapping[str, Tensor]:
    """The dictionary of tensors inside a local file or a dictionary, without wrappers.

    Raises ValueError if there is no such file, or if it holds anything but tensors.
    """
    if isinstance(source, Mapping):
        return _unwrapped(source, "the dictionary")
    return _unwrapped(_read(Path(source)), source)


def unprefixed(
    state: Mapping[str, Tensor],
    prefixes: tuple[str, ...],
    expected: Collection[str],
    first: str | None = None,
) -> dict[str, Tensor]:
    """The weights without any of the prefixes of their names; expected names keep theirs.

    Raises ValueError if two names become one, unless one of the two contains `first` and wins.
    """
    given: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for name, value in state.items():
        bare = name
        while bare not in expected and bare.startswith(prefixes):
            bare = bare.removeprefix(next(p for p in prefixes if bare.startswith(p)))
        if bare in given:
            ahead = [first is not None and first in n for n in (origin[bare], name)]
            if ahead[0] == ahead[1]:
                raise ValueError(f"weights: {origin[bare]} and {name} are both {bare}; keep one")
            if ahead[0]:
                continue
        given[bare], origin[bare] = value, name
    return given


def require_fit(expected: Mapping[str, Tensor], given: Mapping[str, Tensor], fault: str) -> None:
    """Raise ValueError unless names and shapes agree; the line begins with `fault`."""
    if differences := misfits(expected, given):
        raise ValueError(f"{fault}, nothing was loaded; {differences}")


def misfits(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """One line that lists what is missing, unknown or of another shape; empty if all fits."""
    missing = sorted(expected.keys() - given.keys())
    unknown = sorted(given.keys() - expected.keys())
    shapes = [
        f"{k} {tuple(given[k].shape)} instead of {tuple(v.shape)}"
        for k, v in expected.items()
        if k in given and given[k].shape != v.shape
    ]
    faults = {"missing": missing, "unknown": unknown, "of another shape": shapes}
    return "; ".join(f"{what}: {_some(names)}" for what, names in faults.items() if names)


def _read(path: Path) -> object:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix == ".npz":
            with np.load(path) as arrays:  # refuses objects, as it does by default
                return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        # a checkpoint often holds the training script's options, an argparse.Namespace
        with torch.serialization.safe_globals([Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ValueError(f"weights: there is no file {path}") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ValueError(f"weights: {path} cannot be read: {reason}") from error
    except Exception as error:  # a damaged file fails in many ways
        raise ValueError(f"weights: {path} holds no plain tensors: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """One line why a file was not read; torch's text would advise an unsafe load."""
    if isinstance(error, UnpicklingError):
        refused = re.search(r"GLOBAL (\S+)", str(error))
        if refused:
            return f"it needs {refused[1]}, which is not loaded"
        return "it is damaged, or holds something else"
    lines = str(error).strip().splitlines()
    return lines[0] if lines else f"the file ends early or is damaged ({type(error).__name__})"


def _unwrapped(content: object, where: str | Path) -> Mapping[str, Tensor]:
    """The dictionary of tensors inside the content of a file."""
    for _ in WRAPPERS:  # bounded, since a wrapper may contain itself
        if not isinstance(content, Mapping):
            break
        inner = next((content[k] for k in WRAPPERS if isinstance(content.get(k), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items()
    ):
        raise ValueError(f"weights: {where} holds no dictionary of tensors")
    return content


def _classifiers(net: nn.Module) -> tuple[str, ...]:
    """Prefixes of the names of a timm model's classifier."""
    named = getattr(net, "pretrained_cfg", None) or {}
    names = named.get("classifier") or "head"
    return tuple(f"{n}." for n in ([names] if isinstance(names, str) else names))


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
