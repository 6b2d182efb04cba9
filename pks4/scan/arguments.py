"""Checks of the scan's tensors before any work, in the words of the docstrings.

A shape is written as letters, such as b t s d.  A letter takes its size where it occurs first and
must have that size wherever it occurs again, so nothing broadcasts.  Only shapes, dtypes and
devices are looked at: the checks work on fake tensors and under `torch.compile`, which drops them.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
_PER_SITE, _OF_STATES = ("b", "t", "s", "d"), ("b", "t", "s", "n")
OF_SITES = {
    "u": _PER_SITE, "delta": _PER_SITE, "A": ("d", "n"), "B": _OF_STATES, "C": _OF_STATES,
    "D": ("d",), "delta_bias": ("d",),
}  # fmt: skip
_SEQUENCE = ("b", "d", "l")
OF_SEQUENCES = {
    "u": _SEQUENCE, "delta": _SEQUENCE, "A": ("d", "n"), "B": ("b", "n", "l"),
    "C": ("b", "n", "l"), "D": ("d",), "z": _SEQUENCE, "delta_bias": ("d",),
}  # fmt: skip
OPTIONAL = ("D", "z", "delta_bias")
LIKE_U = ("delta", "B", "C", "z")  # of u's dtype; the others may be of any of `DTYPES`


def check_sites(tensors: Mapping[str, Tensor | None]) -> None:
    """Raise ValueError unless the arguments of `scan_sites` are as its docstring says."""
    sizes: dict[str, int] = {}
    for name, letters in OF_SITES.items():
        _check("scan_sites", name, tensors[name], letters, sizes, tensors["u"])
    _check_not_empty("scan_sites", sizes, "t")


def check_sequences(tensors: Mapping[str, Tensor | None]) -> int:
    """The number of groups; ValueError unless `selective_scan`'s arguments are as it says."""
    sizes: dict[str, int] = {}
    for name, letters in OF_SEQUENCES.items():
        x = tensors[name]
        if name in ("B", "C") and isinstance(x, Tensor):
            if x.ndim not in (3, 4):
                raise ValueError(
                    f"selective_scan: {name} must be (b, n, l) or (b, g, n, l), got "
                    f"{tuple(x.shape)}"
                )
            if x.ndim == 4 or sizes.get("g", 1) != 1:
                letters = ("b", "g", "n", "l")
            else:
                sizes["g"] = 1
        _check("selective_scan", name, x, letters, sizes, tensors["u"])
    _check_not_empty("selective_scan", sizes, "l")
    if not sizes["g"] or sizes["d"] % sizes["g"]:
        raise ValueError(
            f"selective_scan: B must have groups g that divide d = {sizes['d']}, got g = "
            f"{sizes['g']}"
        )
    return sizes["g"]


def _check(
    where: str, name: str, x: object, letters: tuple[str, ...], sizes: dict[str, int], u: object
) -> None:
    """Raise ValueError unless a tensor has these sizes, and its dtype and device go with u's."""
    if x is None and name in OPTIONAL:
        return
    if not isinstance(x, Tensor):
        raise ValueError(f"{where}: {name} must be a tensor, got {type(x).__name__}")
    assert isinstance(u, Tensor)  # the first to be checked
    shape = tuple(x.shape)
    if shape != tuple(map(sizes.get, letters)) and not _bound(shape, letters, sizes):
        wanted = _tuple(str(sizes.get(letter, letter)) for letter in letters)
        known = "" if x is u else f" = {wanted}"
        raise ValueError(f"{where}: {name} must be {_tuple(letters)}{known}, got {shape}")
    dtype = x.dtype
    if name in LIKE_U and dtype != u.dtype:
        raise ValueError(
            f"{where}: {name} must be of u's dtype {u.dtype}, got {dtype}; cast one of them"
        )
    if dtype not in DTYPES:
        allowed = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise ValueError(f"{where}: {name} must be real, one of {allowed}, got {dtype}")
    if x.device != u.device:
        raise ValueError(f"{where}: {name} must be on u's device {u.device}, got {x.device}")


def _bound(shape: tuple[int, ...], letters: tuple[str, ...], sizes: dict[str, int]) -> bool:
    """Whether the shape fits, after new letters have taken their sizes from it."""
    if len(shape) != len(letters):
        return False
    return all(sizes.setdefault(k, size) == size for k, size in zip(letters, shape, strict=True))


def _check_not_empty(where: str, sizes: dict[str, int], time: str) -> None:
    """Clips, sites and channels may be none, and give empty results; steps and states may not."""
    for name, letter in (("u", time), ("A", "n")):
        if not sizes[letter]:
            raise ValueError(f"{where}: {name} must have {letter} of 1 or more, got {letter} = 0")


def _tuple(parts: Iterable[str]) -> str:
    """(b, t), and (d,) for one."""
    text = ", ".join(parts)
    return f"({text})" if "," in text else f"({text},)"
