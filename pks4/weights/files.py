"""Weights of an image model from a local file, all of them or none; nothing is downloaded.

Checkpoints come wrapped in many ways: under a key such as `state_dict`, with names that begin with
`module.` or `model.`, with the classifier that a backbone here does not have. The wrapping is taken
off; everything else must fit, name by name and shape by shape.
"""

import re
from argparse import Namespace
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError

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

    The file is read by `safetensors` if it ends so, else by `torch.load` with weights_only, which
    runs no code of the file.

    Raises ValueError if the file cannot be read, or lists in one line what is missing, unknown, or
    of another shape; then nothing is loaded.
    """
    wanted, heads = net.state_dict(), _classifiers(net)
    given = unprefixed(read_weights(path), PREFIXES, wanted)
    given = {k: v for k, v in given.items() if k in wanted or not k.startswith(heads)}
    said = misfits(wanted, given)
    if said:
        raise ValueError(f"{path} does not fit {type(net).__name__}, nothing was loaded; {said}")
    net.load_state_dict(given)


def take(
    net: nn.Module,
    state: Mapping[str, Tensor],
    prefix: str = IMAGE_PREFIX,
    without: Collection[str] = (),
    stay: Collection[str] = (),
) -> None:
    """Load what an image model has under `prefix` into `net`, all of it or nothing.

    Args:
        net: what the names behind the prefix belong to.
        state: the state dict of the image model; names without the prefix are left alone.
        without: names behind the prefix that must be there, too, but have no place in `net`.
        stay: parts of the names in `net` that an image model lacks; such weights stay.

    Raises ValueError that lists in one line what is missing, unknown or of another shape; then
    nothing is loaded.
    """
    given = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    own = net.state_dict()
    kept = {k: v for k, v in own.items() if any(part in k for part in stay)}
    spare = {k: given.get(k) for k in without}
    said = misfits({**{k: v for k, v in own.items() if k not in kept}, **spare}, given)
    if said:
        raise ValueError(
            f"image weights do not fit {type(net).__name__}, nothing was loaded; {said}"
        )
    net.load_state_dict({**kept, **{k: v for k, v in given.items() if k not in spare}})


def read_weights(source: Mapping[str, object] | str | Path) -> Mapping[str, Tensor]:
    """The dictionary of tensors inside a local file or a dictionary, wrappers taken off.

    Raises ValueError if there is no such file, or it holds anything but tensors.
    """
    if isinstance(source, Mapping):
        return _unwrapped(source, "the dictionary")
    return _unwrapped(_read(Path(source)), source)


def unprefixed(
    state: Mapping[str, Tensor],
    prefixes: tuple[str, ...],
    wanted: Collection[str],
    first: str | None = None,
) -> dict[str, Tensor]:
    """The weights without the prefixes of their names, in any order; wanted names stay as they are.

    Raises ValueError if two names fall on one, unless one of them has `first` in it: it is taken.
    """
    given: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for name, value in state.items():
        bare = name
        while bare not in wanted and bare.startswith(prefixes):
            bare = bare.removeprefix(next(p for p in prefixes if bare.startswith(p)))
        if bare in given:
            ahead = [first is not None and first in n for n in (origin[bare], name)]
            if ahead[0] == ahead[1]:
                raise ValueError(f"weights: {origin[bare]} and {name} are both {bare}; keep one")
            if ahead[0]:
                continue
        given[bare], origin[bare] = value, name
    return given


def misfits(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """What is missing, unknown or of another shape, in one line; empty if all fits."""
    missing = sorted(wanted.keys() - given.keys())
    unknown = sorted(given.keys() - wanted.keys())
    shapes = [
        f"{k} {tuple(given[k].shape)} instead of {tuple(v.shape)}"
        for k, v in wanted.items()
        if k in given and given[k].shape != v.shape
    ]
    faults = {"missing": missing, "unknown": unknown, "of another shape": shapes}
    return "; ".join(f"{what}: {_some(names)}" for what, names in faults.items() if names)


def _read(path: Path) -> object:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # the options of a training script often lie beside its weights
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
    """Why a file was not read, in a line; torch's own text would hint at loading unsafely."""
    if isinstance(error, UnpicklingError):
        refused = re.search(r"GLOBAL (\S+)", str(error))
        if refused:
            return f"it needs {refused[1]}, which is not loaded"
        return "it is damaged, or holds something else"
    lines = str(error).strip().splitlines()
    return lines[0] if lines else f"the file ends early or is damaged ({type(error).__name__})"


def _unwrapped(content: object, where: str | Path) -> Mapping[str, Tensor]:
    """The dictionary of tensors inside what a file holds."""
    for _ in WRAPPERS:  # one that holds itself has no end
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
    """How the names of a timm model's classifier begin."""
    named = getattr(net, "pretrained_cfg", None) or {}
    names = named.get("classifier") or "head"
    return tuple(f"{n}." for n in ([names] if isinstance(names, str) else names))


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def load_backbone(backbone: nn.Module, state: dict[str, Tensor]) -> None:
    """Load the entries `backbone.*` of an image model's state dict, all of them or none."""
    take(backbone, state, "backbone.")
