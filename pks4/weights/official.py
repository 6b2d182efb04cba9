"""Weights under the names and shapes of the authors' code: export and load, all or none.

A model's attribute `official` relates its state dict to that of the authors' code:

    class Rival(nn.Module):
        official = Official(renames=(("trunk.blocks.", "transformer.resblocks."), ...))

`official_state_dict(model)` gives the weights as the authors' code would save them, and
`load_official(model, source)` loads such a dictionary or file. If anything does not fit, the error
lists it and nothing is loaded.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isqrt
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pks4.weights.files import PREFIXES, read_weights, require_fit, unprefixed

State = Mapping[str, Tensor]
Resize = Callable[[Tensor, torch.Size], Tensor]


@dataclass(frozen=True)
class Official:
    """The relation of a model's state dict to the authors'.

    Attributes:
        renames: (ours, theirs) pairs, replaced in this order anywhere in a name.
        squeezed: official names of tensors that the authors store without leading ones:
            theirs (197, 768), ours (1, 197, 768).
        only_ours: prefixes of our names that their checkpoints lack; these weights keep their
            values.
        ignored: prefixes of their names that our model lacks.
        trained_only: their checkpoints may hold only the trained weights; then all others keep
            their values.
        prefixes: prefixes of every name in some of their checkpoints, besides the usual ones.
        accept: translates further formats that their code reads, unprefixed, to official names.
        first: if two names become one without prefixes, the one that contains this wins.
        resize: official name -> how their code resizes it.
        export, restore: changes beyond renames of the renamed dictionary; inverse of each other.
    """

    renames: tuple[tuple[str, str], ...] = ()
    squeezed: tuple[str, ...] = ()
    only_ours: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    trained_only: bool = False
    prefixes: tuple[str, ...] = ()
    first: str | None = None
    accept: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict
    resize: Mapping[str, Resize] = field(default_factory=dict)
    export: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict
    restore: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict

    def name(self, ours: str) -> str:
        """The official name of a weight, by `renames` alone."""
        for old, new in self.renames:
            ours = ours.replace(old, new)
        return ours


@dataclass(frozen=True)
class Loaded:
    """The result of `load_official`, in official names."""

    loaded: tuple[str, ...]
    resized: tuple[str, ...]
    left: tuple[str, ...]  # ours that the checkpoint may lack and lacks


def official_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The weights of a rival under the names and shapes of the authors' code."""
    official = _official(model)
    return official.export(
        {name: _bare(official, name, x) for name, x in _renamed(official, model).items()}
    )


def load_official(model: nn.Module, source: State | str | Path) -> Loaded:
    """Load weights in the authors' names from a dictionary, or from a local file.

    `safetensors` and `numpy` read files `.safetensors` and `.npz`, `torch.load` all others, with
    weights_only; none of them runs code of the file. Removes wrappers (`state_dict`, `model`, ...)
    and prefixes (`module.`, `model.`, ...), and resizes embeddings as the authors do.

    Raises ValueError if the file cannot be read, or with one line that lists what is missing,
    unknown or of another shape; then nothing is loaded.
    """
    official = _official(model)
    source_name = str(source) if isinstance(source, str | Path) else "the dictionary"
    expected = official_state_dict(model)
    given = _given(official, read_weights(source), expected)
    resized = [k for k in given if _is_resized(official, k, given[k], expected)]
    for k in resized:
        given[k] = official.resize[k](given[k], expected[k].shape)
    left = _may_stay(official, model, expected, given)
    required = {k: v for k, v in expected.items() if k not in left}
    require_fit(required, given, f"{source_name} does not fit {type(model).__name__}")
    loaded = tuple(given)
    model.load_state_dict(_ours(official, model, {**expected, **given}))
    return Loaded(loaded, tuple(resized), tuple(left))


def along(mode: str, prefix: int = 0, align_corners: bool = False) -> Resize:
    """Resize (1, prefix + n, d) to another n along that axis; the prefix stays.

    `mode` as in `F.interpolate`: "nearest" or "linear". A tensor with n = 0 stays as it is.
    """

    def resize(x: Tensor, shape: torch.Size) -> Tensor:
        kept, rest, new = x[:, :prefix], x[:, prefix:], shape[1] - prefix
        if not (rest.numel() and new > 0):
            return x
        rest = _zoomed(rest.transpose(1, 2), (new,), mode, align_corners)
        return torch.cat([kept, rest.transpose(1, 2)], 1)

    return resize


def on_square(mode: str, prefix: int = 0, align_corners: bool = False) -> Resize:
    """Resize (1, prefix + n, d), n the sites of a square grid, to another square grid.

    `mode` as in `F.interpolate`: "nearest", "bilinear" or "bicubic". A tensor whose old or new n is
    no square stays as it is.
    """

    def resize(x: Tensor, shape: torch.Size) -> Tensor:
        kept, rest = x[:, :prefix], x[:, prefix:]
        old, new = (isqrt(max(0, n - prefix)) for n in (x.shape[1], shape[1]))
        squares = prefix + old * old == x.shape[1] and prefix + new * new == shape[1]
        if not (rest.numel() and new and squares):
            return x
        grid = rest.unflatten(1, (old, old)).permute(0, 3, 1, 2)
        grid = _zoomed(grid, (new, new), mode, align_corners)
        return torch.cat([kept, grid.permute(0, 2, 3, 1).flatten(1, 2)], 1)

    return resize


def _zoomed(x: Tensor, size: tuple[int, ...], mode: str, align_corners: bool) -> Tensor:
    """`F.interpolate`, which takes no align_corners for "nearest"."""
    corners = None if mode == "nearest" else align_corners
    return F.interpolate(x, size, mode=mode, align_corners=corners)


def _official(model: nn.Module) -> Official:
    official = getattr(model, "official", None)
    if not isinstance(official, Official):
        raise ValueError(f"{type(model).__name__} has no official names; no authors' code is known")
    return official


def _renamed(official: Official, model: nn.Module) -> dict[str, Tensor]:
    return {
        official.name(k): v
        for k, v in model.state_dict().items()
        if not k.startswith(official.only_ours)
    }


def _bare(official: Official, name: str, x: Tensor) -> Tensor:
    return x.squeeze() if name in official.squeezed else x


def _given(official: Official, content: State, expected: State) -> dict[str, Tensor]:
    """The weights of a checkpoint by official name; names that fit stay as they are."""
    prefixes = (*official.prefixes, *PREFIXES)
    named = official.accept(unprefixed(content, prefixes, expected, official.first))
    return {k: v for k, v in named.items() if k in expected or not k.startswith(official.ignored)}


def _is_resized(official: Official, name: str, x: Tensor, expected: State) -> bool:
    """Whether a weight differs only in its number of tokens, and the authors resize it."""
    if name not in official.resize or name not in expected:
        return False
    shape = expected[name].shape
    return x.ndim == len(shape) == 3 and x.shape != shape and x.shape[-1] == shape[-1]


def _may_stay(official: Official, model: nn.Module, expected: State, given: State) -> list[str]:
    """Official names that a checkpoint of only trained weights may lack."""
    if not official.trained_only:
        return []
    trained = {official.name(k) for k, p in model.named_parameters() if p.requires_grad}
    frozen = [k for k in expected if k not in trained]
    return [] if any(k in given for k in frozen) else frozen


def _ours(official: Official, model: nn.Module, theirs: State) -> dict[str, Tensor]:
    """A full dictionary in official names, translated for `load_state_dict`."""
    restored = official.restore(dict(theirs))
    return {
        k: v if k.startswith(official.only_ours) else restored[official.name(k)].view_as(v)
        for k, v in model.state_dict().items()
    }
