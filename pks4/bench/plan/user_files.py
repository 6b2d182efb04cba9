"""The files that a user named on the command line, and whether two runs had the same.

A run's header keeps a hash of each: image weights, the index and the manifests of a data set, and
the Python files of models and modules with what these import from their folder. `run --resume`
and `merge` refuse another file, `compare` tells it.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from pks4.bench.contestants import catalogue


def hashes(weights: Mapping[str, Path], data: Path | None) -> dict[str, str]:
    """The SHA-256 of each file by what names it; a file that is not there has none."""
    from pks4.data.index_folder import BAD, INDEX
    from pks4.data.integrity import file_sha256

    files = {f"--weights {twin}": path for twin, path in weights.items()}
    code = {f"--model {path.name}": path for path in catalogue.added_models()}
    code |= {f"--module {path.name}:{name}": path for path, name in catalogue.added_modules()}
    for option, path in code.items():
        files[option] = path
        for other in imported_from_folder(path):
            files[f"{option}, its module {other.relative_to(path.parent).as_posix()}"] = other
    if data:
        files["--data"] = data / INDEX
        manifests = (path for path in sorted(data.glob("*.csv")) if path.name != BAD)
        files |= {f"--data, its {path.name}": path for path in manifests}
    return {name: file_sha256(path) for name, path in files.items() if path.is_file()}


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The names of files that both have and that are not the same."""
    return [name for name, value in one.items() if other.get(name, value) != value]


def imported_from_folder(path: Path) -> list[Path]:
    """The modules and packages next to a Python file that it imports, also through one another."""
    waiting, found = [path], dict[Path, None]()
    while waiting:
        file = waiting.pop()
        try:
            tree = ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue  # gone or broken: its own hash says so
        for module in _modules(tree, file, path.parent):
            if module.is_file() and module not in (path, *found):
                found[module] = None
                waiting.append(module)
    return sorted(found)


def _modules(tree: ast.Module, file: Path, top: Path) -> Iterator[Path]:
    """Where the modules that a file of `top` imports would lie, if they lie in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _places(top, alias.name)
        elif isinstance(node, ast.ImportFrom):
            folder = file if node.level else top
            for _ in range(node.level):
                folder = folder.parent
            if folder.is_relative_to(top):
                for alias in node.names:
                    yield from _places(folder, f"{node.module or ''}.{alias.name}".lstrip("."))


def _places(folder: Path, dotted: str) -> Iterator[Path]:
    """Of a.b: a.py, a/__init__.py, a/b.py, a/b/__init__.py."""
    for part in dotted.split("."):
        folder = folder / part
        yield folder.with_name(f"{part}.py")
        yield folder / "__init__.py"
