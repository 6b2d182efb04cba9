"""Users' own modules in PKS4's place: found in their files, and held to the contract on a CPU.

The contract: `Module(dim)` makes it from a channel count alone; features (b, t, h, w, dim) go in,
and features of the same shape and dtype come out, for one frame too; it has parameters. If it has
`step` and `initial_state`, it takes one frame after another with the result of the whole clip. The
check takes milliseconds, at the tiny scale.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from pks4.bench.contestants import catalogue
from pks4.bench.contestants.build import draw_zeros
from pks4.bench.contestants.entry import Entry, imported
from pks4.errors import UserError, unknown_name

CLIPS, FRAMES = 2, 4
TOLERANCE = 1e-4  # of features, relative to the largest


def add(text: str) -> Entry:
    """Add a user's module, FILE or FILE:CLASS, to the catalogue of this process, by its class.

    Raises UserError for a file that is missing or cannot be imported, for an unknown class, without
    CLASS for a file that has not exactly one, and for a name that is taken.
    """
    file, _, name = text.rpartition(":") if not text.endswith(".py") else (text, "", "")
    path = Path(file).resolve()
    if path.suffix != ".py" or not path.is_file():
        raise UserError(
            f"--module {text}: is no Python file with a module, FILE.py or FILE.py:CLASS"
        )
    with _one_line(f"{path}: cannot be imported"):
        every, public = _classes(path)
    if not name and len(public) != 1:
        found = f"several modules: {', '.join(public)}" if public else "no public nn.Module"
        raise UserError(f"{path}: has {found}; name one with --module FILE:CLASS")
    name = name or public[0]
    if name not in every:
        raise UserError(f"{path}: {unknown_name('module', name, every)}")
    if name in catalogue.models():
        raise UserError(f"{path}: there is a model {name!r} already; rename the class")
    catalogue.add_module(path, name)
    return catalogue.models()[name]


def _classes(path: Path) -> tuple[list[str], list[str]]:
    """The modules that a file knows, and of these the public ones that it defines."""
    from torch import nn

    loaded = imported(path)
    every = {
        name: value
        for name, value in vars(loaded).items()
        if isinstance(value, type) and issubclass(value, nn.Module)
    }
    own = [n for n, v in every.items() if v.__module__ == loaded.__name__ and n[0] != "_"]
    return list(every), own


def is_identity(entry: Entry) -> bool:
    """Whether a fresh module leaves features as they are; UserError if it breaks the contract."""
    sizes = entry.facts["SCALES"]["tiny"]
    side = sizes["image_size"] // sizes["patch_size"]
    return _checked(entry.path, entry.module_class(), (CLIPS, FRAMES, side, side, sizes["width"]))


def note(entry: Entry) -> str:
    """What the user should know of a module that is not the identity at the start."""
    return (
        f"{entry.path}: {entry.module} is not the identity at the start, as PKS4 is, so it changes "
        "what the image model gives before anything is learned"
    )


def facts(entry: Entry) -> dict[str, Any]:
    """What the records keep of a module."""
    from pks4.data.integrity import file_sha256

    return {
        "file": entry.path.name,
        "sha256": file_sha256(entry.path),
        "class": entry.module,
        "identity_at_start": is_identity(entry),
    }


@contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Turn what the user's code raises into one line that begins with `what`."""
    try:
        yield
    except Exception as error:
        said = " ".join(str(error).split())
        raise UserError(f"{what}: {type(error).__name__}: {said}") from error


@cache
def _checked(path: Path, cls: Any, shape: tuple[int, ...]) -> bool:
    import torch

    name = f"{path}: {cls.__name__}"
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        with _one_line(f"{name}({shape[-1]}), made from a channel count alone"):
            module = cls(shape[-1]).eval()
        if not any(True for _ in module.parameters()):
            raise UserError(f"{name} has no parameters, so nothing of it would be trained")
        x = torch.randn(shape)
        _, y = (_mixed(name, module, features) for features in (x[:, :1], x))
        if hasattr(module, "step"):
            _check_stream(name, module, x)
        return bool(torch.allclose(x, y, rtol=0, atol=TOLERANCE * float(x.abs().max())))


def _mixed(name: str, module: Any, x: Any) -> Any:
    """What the module gives; UserError if it fails, or if shape, dtype or its input change."""
    given = x.clone()
    with _one_line(f"{name} on features {tuple(x.shape)}"):
        y = module(given)
    if not given.equal(x):
        raise UserError(f"{name}: changes the features that it is given in place; copy them first")
    if _kind(y) != _kind(x):
        raise UserError(f"{name}: must give features as it takes them, {_kind(x)}; gave {_kind(y)}")
    return y


def _kind(y: Any) -> str:
    """Shape and dtype in words, or the type of what is no tensor."""
    return f"{tuple(y.shape)} {y.dtype}" if hasattr(y, "dtype") else type(y).__name__


def _check_stream(name: str, module: Any, x: Any) -> None:
    """Raise UserError unless step gives what forward gives; one may refuse by a ValueError."""
    draw_zeros(module)
    b, _, h, w, _ = x.shape
    try:
        with _one_line(f"{name}.initial_state({b}, {h}, {w})"):
            state = module.initial_state(b, h, w)
    except UserError as error:
        if isinstance(error.__cause__, ValueError):
            return
        raise
    whole = module(x)
    if not _near(module(x[:, :-1]), whole[:, :-1]):
        raise UserError(
            f"{name} has step, but looks into the future: the result of a frame depends on later "
            "ones; remove step, or make forward causal"
        )
    for t, frame in enumerate(x.unbind(1)):
        with _one_line(f"{name}.step at frame {t + 1}"):
            y, state = module.step(frame, state)
        if _kind(y) != _kind(frame) or not _near(y, whole[:, t]):
            raise UserError(
                f"{name}: step and forward must give the same, but differ at frame {t + 1}"
            )


def _near(y: Any, wanted: Any) -> bool:
    return bool((y - wanted).abs().max() <= TOLERANCE * wanted.abs().max())
