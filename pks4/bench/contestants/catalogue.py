"""The catalogue: models, measures and suites, found by their files and described without import.

A file is its own registration: name = file stem, summary = first docstring line, facts = module
constants that are literals. They are read from the syntax tree, so that listing costs no torch.
Models come from `baselines/` and `pks4/method/video.py` (as `pks4`), then from the entry-point
group `pks4.models`; suites from `suites/`. In an installed wheel both lie under `pks4/_shipped/`.
A user's own module that stands where PKS4 stands is a model too, see `modules.py`.
"""

import ast
import importlib.util
import os
import sys
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from pks4.errors import UserError, unknown_name

PACKAGE = Path(__file__).resolve().parents[2]
ADDED = "PKS4_MODEL_FILES"  # environment variable, so that child processes know a user's files
MODULES = "PKS4_MODULE_FILES"  # the same for users' modules: FILE:CLASS, one a line
CLAIMS = "claims.toml"
PKS4_FILE = PACKAGE / "method" / "video.py"
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

    def frames_step(self, options: dict[str, Any]) -> int:
        """The number of frames with these options is a multiple of this."""
        return options.get("tubelet", self.facts.get("FRAMES_STEP", 1))

    def load(self) -> ModuleType | SimpleNamespace:
        """What has `build`: the file, imported (and torch with it), or PKS4's place for a class."""
        if not self.module:
            return imported(self.path)
        from pks4.models.slot import with_module

        place = {k: v for k, v in self.defaults.items() if k not in self.common}
        return SimpleNamespace(build=partial(with_module, self.module_class(), **place))

    def module_class(self) -> Any:
        """The class that stands where PKS4 stands."""
        return getattr(imported(self.path), self.module)


def root() -> Path:
    """The checkout, or the shipped copy of its data inside an installed package."""
    checkout = PACKAGE.parent
    if (checkout / "baselines").is_dir() and (checkout / "suites").is_dir():
        return checkout
    return PACKAGE / "_shipped"


def is_checkout() -> bool:
    """Whether the package runs from a checkout."""
    return root() == PACKAGE.parent


def models() -> dict[str, Entry]:
    """All contestants by name."""
    files = {"pks4": PKS4_FILE}
    files |= {p.stem: p for p in sorted((root() / "baselines").glob("*.py")) if p.stem[0] != "_"}
    for point in entry_points(group="pks4.models"):
        files.setdefault(point.name, _origin(point))
    files |= {path.stem: path for path in added_models()}
    entries = {name: _read(name, path) for name, path in files.items()}
    return entries | {name: _in_place_of_pks4(name, path) for path, name in added_modules()}


def added_models() -> list[Path]:
    """The users' own files that `add_model` took into the catalogue."""
    return [Path(path) for path in os.environ.get(ADDED, "").split(os.pathsep) if path]


def added_modules() -> list[tuple[Path, str]]:
    """The users' own modules, each a file and a class in it."""
    lines = [line.rpartition(":") for line in os.environ.get(MODULES, "").splitlines()]
    return [(Path(file), name) for file, _, name in lines]


def add_module(path: Path, name: str) -> None:
    """Add a class of a user's file to the catalogue of this process, under its own name."""
    os.environ[MODULES] = os.environ.get(MODULES, "") + f"{path}:{name}\n"


def options_of_the_place() -> dict[str, Any]:
    """The options that say where PKS4 stands and on which backbone, with their defaults."""
    ours = _read("pks4", PKS4_FILE)
    return {k: v for k, v in ours.defaults.items() if k not in ours.common}


def _in_place_of_pks4(name: str, path: Path) -> Entry:
    """A class of a user's file as a contestant: PKS4's backbone, place, scales and image twin."""
    ours, file, place = _read("pks4", PKS4_FILE), _read(name, path), options_of_the_place()
    facts = {fact: ours.facts[fact] for fact in ("IMAGE_TWIN", "PLACE", "TRAINED", "STAGES")}
    facts["SCALES"] = {
        scale: {k: v for k, v in sizes.items() if k in place}
        for scale, sizes in ours.facts["SCALES"].items()
    }
    options = ("frames", "num_classes", *place, *COMMON_OPTIONS)
    return Entry(
        name, path, file.summary, facts, options, place | COMMON_OPTIONS, text=file.text,
        module=name,
    )  # fmt: skip


def add_model(path: Path) -> Entry:
    """Add a user's file, whose `build` makes a model, to the catalogue of this process.

    Raises UserError if there is no such file, it has no `build`, or its name is taken.
    """
    path = path.resolve()
    if path.suffix != ".py" or not path.is_file():
        raise UserError(f"{path}: is no Python file with a model")
    if path.stem in models():
        raise UserError(f"{path}: there is a model {path.stem!r} already; rename the file")
    entry = _read(path.stem, path)
    if entry.options is None and "def build(" not in path.read_text(encoding="utf-8"):
        raise UserError(
            f"{path}: has no build(*, frames, num_classes, image_size, …) that returns a model of "
            "video (b, t, 3, h, w) -> logits (b, num_classes)"
        )
    os.environ[ADDED] = os.pathsep.join(filter(None, [os.environ.get(ADDED, ""), str(path)]))
    return entry


def _origin(point: EntryPoint) -> Path:
    """The file of a module that another package registered as a model."""
    try:
        spec = importlib.util.find_spec(point.module)
    except ImportError:
        spec = None
    if spec is None or spec.origin is None:
        raise UserError(f"entry point {point.name!r} = {point.value!r} of pks4.models has no file")
    return Path(spec.origin)


def measures() -> dict[str, Entry]:
    """All measures by name."""
    files = sorted((PACKAGE / "bench" / "measure").glob("*.py"))
    return {p.stem: _read(p.stem, p) for p in files if p.stem[0] != "_"}


def suites() -> dict[str, Path]:
    """All suites by name."""
    files = sorted((root() / "suites").glob("*.toml"))
    return {p.stem: p for p in files if p.name != CLAIMS}


def claims() -> Path:
    """The file of the paper's claims, in the folder of the suites that give the evidence."""
    return root() / "suites" / CLAIMS


def goals(suite: str) -> Path | None:
    """The file of this project's goals that a suite tests, stated like claims; None without any."""
    path = root() / "suites" / "goals" / f"{suite}.toml"
    return path if path.is_file() else None


def published() -> Path:
    """The folder of numbers that papers and repositories state."""
    return root() / "results" / "published"


def find(what: str, name: str, known: dict[str, Any]) -> Any:
    """known[name], or an error that names the near ones."""
    if name not in known:
        raise UserError(unknown_name(what, name, known))
    return known[name]


@cache
def _read(name: str, path: Path) -> Entry:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as Python: {error}") from error
    facts = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                facts[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue  # not a literal, so not a fact
    facts.setdefault("SCALES", PLAIN_SCALES)
    summary, _, text = (ast.get_docstring(tree) or "no summary").partition("\n")
    build = next(
        (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "build"), None
    )
    if build is None:
        return Entry(name, path, summary, facts, text=text.strip())
    named = _options(build.args, facts)
    common = tuple(option for option in COMMON_OPTIONS if option not in (named or ()))
    defaults = _defaults(build.args) | {option: COMMON_OPTIONS[option] for option in common}
    options = None if named is None else named + common
    return Entry(name, path, summary, facts, options, defaults, common, text.strip())


def _options(taken: ast.arguments, facts: dict[str, Any]) -> tuple[str, ...] | None:
    """Names of the keyword arguments of `build`, with MORE_OPTIONS where it takes **named."""
    if taken.kwarg and "MORE_OPTIONS" not in facts:
        return None
    named = tuple(a.arg for a in (*taken.args, *taken.kwonlyargs))
    return named + tuple(facts.get("MORE_OPTIONS", ()))


def _defaults(taken: ast.arguments) -> dict[str, Any]:
    """The literal defaults of the keyword-only arguments of `build`."""
    literals = {}
    for argument, default in zip(taken.kwonlyargs, taken.kw_defaults, strict=True):
        try:
            if default is not None:
                literals[argument.arg] = ast.literal_eval(default)
        except ValueError:
            continue  # a name or an expression: no literal to show
    return literals


def imported(path: Path) -> ModuleType:
    """A file, imported once."""
    if path.is_relative_to(PACKAGE) and "_shipped" not in path.parts:
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        return importlib.import_module(".".join(parts))
    name = f"{path.parent.name}.{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]  # or the next import would get it half initialised
            raise
    return sys.modules[name]
