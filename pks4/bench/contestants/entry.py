"""An entry of the catalogue: one model or measure, described without import, loaded on demand."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from inspect import Parameter, signature
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from pks4.bench.contestants.neighbours import give_access

PACKAGE = Path(__file__).resolve().parents[2]
# Options that every model takes, see `pks4.models.training_options`.
COMMON_OPTIONS: dict[str, Any] = {"checkpoint": False, "trained_blocks": None, "trained": None}
PLAIN_SCALES = {
    "paper": {"image_size": 224},
    "tiny": {"image_size": 64},
}  # default


@dataclass(frozen=True)
class Entry:
    """One file of the catalogue: its facts, and its module on `load`."""

    name: str
    path: Path
    summary: str
    facts: dict[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] | None = None  # what `build` takes; None: anything
    defaults: dict[str, Any] = field(default_factory=dict)  # of those options that have one
    common: tuple[str, ...] = tuple(COMMON_OPTIONS)  # those that `build` does not take
    text: str = ""  # the docstring below the summary
    module: str = ""  # a class of the file, to stand where PKS4 stands; none: a whole model
    # What makes the whole model in place of `build`: a name in the file, or the callable itself.
    maker: str | Callable[..., Any] = ""

    def frames_step(self, options: dict[str, Any]) -> int:
        """The number of frames with these options is a multiple of this."""
        return options.get("tubelet", self.facts.get("FRAMES_STEP", 1))

    def load(self) -> ModuleType | SimpleNamespace:
        """What has `build`: the file, imported (and torch with it), or PKS4's place for a class."""
        if self.maker:
            maker = self.maker
            if isinstance(maker, str):
                maker = getattr(imported(self.path), maker)
            return SimpleNamespace(build=partial(made_by, maker))
        if not self.module:
            return imported(self.path)
        from pks4.models.slot import with_module

        place = {k: v for k, v in self.defaults.items() if k not in self.common}
        return SimpleNamespace(build=partial(with_module, self.module_class(), **place))

    def module_class(self) -> Any:
        """The class that stands where PKS4 stands."""
        return getattr(imported(self.path), self.module)


IN_CONTRACT = ("frames", "num_classes", "image_size")  # given to every maker that takes them


def made_by(maker: Callable[..., Any], **options: Any) -> Any:
    """The model that a class or function makes; those of `IN_CONTRACT` that it lacks are left out.

    Raises TypeError for another option that it lacks, and where it makes no nn.Module.
    """
    from torch import nn

    parameters = signature(maker).parameters
    anything = any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values())
    unasked = () if anything else [k for k in IN_CONTRACT if k not in parameters]
    model = maker(**{k: v for k, v in options.items() if k not in unasked})
    if not isinstance(model, nn.Module):
        raise TypeError(f"{maker.__qualname__} makes a {type(model).__name__}, not an nn.Module")
    return model


def imported(path: Path) -> ModuleType:
    """A file, imported once.

    Where it is loaded already, as the running script or in a package, it is that module.
    """
    if path.is_relative_to(PACKAGE) and "_shipped" not in path.parts:
        return importlib.import_module(_dotted(path, PACKAGE.parent))
    for module in list(sys.modules.values()):
        if getattr(module, "__dict__", {}).get("__file__") == str(path):
            return module
    if (path.parent / "__init__.py").is_file():
        above = next(p for p in path.parents if not (p / "__init__.py").is_file())
        sys.path.append(str(above))
        with _importing():
            return importlib.import_module(_dotted(path, above))
    if not path.is_relative_to(PACKAGE) and path.parent != PACKAGE.parent / "baselines":
        give_access(path)
    name = f"{path.parent.name}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _importing():
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]  # or the next import would get it half initialised
        raise
    return module


def _dotted(path: Path, above: Path) -> str:
    return ".".join(path.relative_to(above).with_suffix("").parts)


_open_imports: list[None] = []


@contextmanager
def _importing() -> Iterator[None]:
    _open_imports.append(None)
    try:
        yield
    finally:
        _open_imports.pop()


def is_importing() -> bool:
    """Whether a user's file is being imported now: what it starts would start itself again."""
    return bool(_open_imports)
