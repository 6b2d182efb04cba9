"""Weights under the names and shapes of the authors' code, out and in, all of them or none.

A model says in `official` how its state dict relates to that of the code it was written after:

    class Rival(nn.Module):
        official = Official(renames=(("trunk.blocks.", "transformer.resblocks."), ...))

`official_state_dict(model)` gives the weights as the authors' code would save them,
`load_official(model, source)` takes such a dictionary or file back. What does not fit is listed,
and then nothing is loaded.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isqrt
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pks4.weights.files import PREFIXES, misfits, read_weights, unprefixed

State = Mapping[str, Tensor]
Resize = Callable[[Tensor, torch.Size], Tensor]


@dataclass(frozen=True)
class Official:
    """How a model's state dict relates to the authors'.

    Attributes:
        renames: (ours, theirs), replaced one after another anywhere in a name.
        without_ones: official names of tensors that the authors keep without leading ones:
            theirs (197, 768), ours (1, 197, 768).
        not_theirs: beginnings of our names that their checkpoints lack; such weights stay.
        ignored: beginnings of their names that nothing here needs.
        trained_only: their checkpoints may hold the trained weights alone; the rest then stays, all
            of it.
        prefixes: beginnings that some of their checkpoints put before every name, besides the
            usual ones.
        accept: brings what else their code takes, unprefixed, to the official names.
        first: of two names that fall on one without prefixes, the one with this in it is meant.
        resize: official name -> how it is brought to another size, as their code does it.
        export, restore: what no renaming can say, applied to the renamed dictionary; inverse of
            each other.
    """

    renames: tuple[tuple[str, str], ...] = ()
    without_ones: tuple[str, ...] = ()
    not_theirs: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    trained_only: bool = False
    prefixes: tuple[str, ...] = ()
    first: str | None = None
    accept: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict
    resize: Mapping[str, Resize] = field(default_factory=dict)
    export: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict
    restore: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict

    def name(self, ours: str) -> str:
        """The official name of a weight, as far as renaming goes."""
        for old, new in self.renames:
            ours = ours.replace(old, new)
        return ours


@dataclass(frozen=True)
class Loaded:
    """What `load_official` did, in official names."""

    loaded: tuple[str, ...]
    resized: tuple[str, ...]
    left: tuple[str, ...]  # ours that the checkpoint does not hold and need not


def official_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The weights of a rival under the names and shapes of the authors' code."""
    official = _official(model)
    return official.export(
        {name: _bare(official, name, x) for name, x in _renamed(official, model).items()}
    )


def load_official(model: nn.Module, source: State | str | Path) -> Loaded:
    """Load weights in the authors' names from a dictionary, or from a local file.

    A file is read by `safetensors` if it ends so, else by `torch.load` with weights_only, which
    runs no code of the file. Wrappers (`state_dict`, `model`, ...) and prefixes (`module.`,
    `model.`, ...) are taken off; embeddings of another size are resized as the authors do it.

    Raises ValueError if the file cannot be read, or lists in one line what is missing, unknown, or
    of another shape; then nothing is loaded.
    """
    official, where = _official(model), "the dictionary"
    if isinstance(source, str | Path):
        where = str(source)
    wanted = official_state_dict(model)
    given = _given(official, read_weights(source), wanted)
    resized = [k for k in given if _is_resized(official, k, given[k], wanted)]
    for k in resized:
        given[k] = official.resize[k](given[k], wanted[k].shape)
    left = _may_stay(official, model, wanted, given)
    said = misfits({k: v for k, v in wanted.items() if k not in left}, given)
    if said:
        raise ValueError(f"{where} does not fit {type(model).__name__}, nothing was loaded; {said}")
    loaded = tuple(given)
    model.load_state_dict(_ours(official, model, {**wanted, **given}))
    return Loaded(loaded, tuple(resized), tuple(left))


def along(mode: str, prefix: int = 0, align_corners: bool = False) -> Resize:
    """Resize (1, prefix + n, d) to another n along the one axis; the prefix stays.

    `mode` as in `F.interpolate`: "nearest" or "linear". What has nothing behind the prefix stays
    as it is.
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

    `mode` as in `F.interpolate`: "nearest", "bilinear" or "bicubic". What is no square, or would
    become none, stays as it is.
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
    """`F.interpolate`, for which "nearest" knows no corners."""
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
        if not k.startswith(official.not_theirs)
    }


def _bare(official: Official, name: str, x: Tensor) -> Tensor:
    return x.squeeze() if name in official.without_ones else x


def _given(official: Official, content: State, wanted: State) -> dict[str, Tensor]:
    """The weights of a checkpoint by official name; a name that fits is left as it is."""
    prefixes = (*official.prefixes, *PREFIXES)
    named = official.accept(unprefixed(content, prefixes, wanted, official.first))
    return {k: v for k, v in named.items() if k in wanted or not k.startswith(official.ignored)}


def _is_resized(official: Official, name: str, x: Tensor, wanted: State) -> bool:
    """Whether a weight is of another size along tokens alone, and the authors resize it."""
    if name not in official.resize or name not in wanted:
        return False
    shape = wanted[name].shape
    return x.ndim == len(shape) == 3 and x.shape != shape and x.shape[-1] == shape[-1]


def _may_stay(official: Official, model: nn.Module, wanted: State, given: State) -> list[str]:
    """Official names that a checkpoint of the trained weights alone need not hold."""
    if not official.trained_only:
        return []
    trained = {official.name(k) for k, p in model.named_parameters() if p.requires_grad}
    frozen = [k for k in wanted if k not in trained]
    return [] if any(k in given for k in frozen) else frozen


def _ours(official: Official, model: nn.Module, theirs: State) -> dict[str, Tensor]:
    """A full dictionary in official names as one for `load_state_dict`."""
    restored, own = official.restore(dict(theirs)), model.state_dict()
    return {
        k: v if k.startswith(official.not_theirs) else restored[official.name(k)].view_as(v)
        for k, v in own.items()
    }
