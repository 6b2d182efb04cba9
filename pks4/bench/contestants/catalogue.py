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
import re
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from pks4.bench.contestants import own
from pks4.bench.contestants.entry import COMMON_OPTIONS, PACKAGE, PLAIN_SCALES, Entry
from pks4.errors import UserError, unknown_name

ADDED = "PKS4_MODEL_FILES"  # environment variable, for child processes: a user's files, one a line
MODULES = "PKS4_MODULE_FILES"  # the same for users' modules: FILE:CLASS, one a line
CLAIMS = "claims.toml"
PKS4_FILE = PACKAGE / "method" / "video.py"


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
    points = [p for p in entry_points(group="pks4.models") if p.name not in files]
    makers = [point for point in points if point.attr]
    files |= {point.name: _origin(point) for point in points if not point.attr}
    files |= {_name_of(path): path for path in added_models()}
    entries = {name: _read(name, path) for name, path in files.items()}
    entries |= {point.name: _read(point.name, _origin(point), point.attr) for point in makers}
    entries |= {name: _read(name, path, name) for path, name in own.in_files()} | own.only_here()
    return entries | {name: _in_place_of_pks4(name, path) for path, name in added_modules()}


def added_models() -> list[Path]:
    """The users' own files that `add_model` took into the catalogue."""
    return [Path(path) for path in os.environ.get(ADDED, "").splitlines()]


def register(maker: Callable[..., Any]) -> Entry:
    """Add a class or function that makes a whole model; UserError where its name is taken."""
    _check_free(getattr(maker, "__name__", ""))
    name = own.add(maker)
    return models()[name]


def _check_free(name: str) -> None:
    """Raise UserError where another model than a registered one has this name."""
    registered = {name for _, name in own.in_files()} | own.only_here().keys()
    if name in models().keys() - registered:
        raise UserError(f"there is a model {name!r} already; rename yours")


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
    """Add a user's file to the catalogue of this process: its `build`, or what it registers.

    Raises UserError if there is no such file, it has no model or several, or its name is taken.
    """
    path = path.absolute()  # a link keeps its own name
    if path.suffix != ".py" or not path.is_file():
        raise UserError(f"{path}: is no Python file with a model")
    registers = own.decorated(_parsed(path))
    if len(registers) > 1:
        raise UserError(f"{path}: registers several models: {', '.join(registers)}; leave one")
    if registers:
        _check_free(registers[0])
        own.add_file(path, registers[0])
        return models()[registers[0]]
    name = _name_of(path)
    if name in models():
        raise UserError(f"{path}: there is a model {name!r} already; rename the file")
    entry = _read(name, path)
    if not any(getattr(node, "name", None) == "build" for node in _parsed(path).body):
        raise UserError(
            f"{path}: has no build(*, frames, num_classes, image_size, …) that returns a model of "
            "video (b, t, 3, h, w) -> logits (b, num_classes)"
        )
    os.environ[ADDED] = os.environ.get(ADDED, "") + f"{path}\n"
    return entry


def _name_of(path: Path) -> str:
    """The name of a user's model: its file's, with a _ for what a label may not hold."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", path.stem).lstrip("_.-")
    if not name:
        raise UserError(f"{path}: its name has no letter a-z and no digit; rename the file")
    return name


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


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())  # which heeds a byte-order mark and a coding line
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as Python: {error}") from error


@cache
def _read(name: str, path: Path, maker: str = "") -> Entry:
    """The entry of a file; `maker` names what makes its model, where that is not `build`."""
    tree = _parsed(path)
    facts = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                facts[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue  # not a literal, so not a fact
    facts.setdefault("SCALES", PLAIN_SCALES)
    made_by = next((n for n in tree.body if getattr(n, "name", None) == maker), tree)
    docstring = ast.get_docstring(made_by) or ast.get_docstring(tree)  # type: ignore[arg-type]
    summary, _, text = (docstring or "no summary").partition("\n")
    if maker:
        return Entry(name, path, summary, facts, text=text.strip(), maker=maker)
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
