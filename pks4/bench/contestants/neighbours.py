"""What a user's Python file imports from its own folder, as Python does for a script."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from pks4.errors import UserError


def give_access(path: Path) -> None:
    """Let a file import what lies next to it; UserError where another module has that name."""
    path = path.resolve()  # a link's neighbours are those of what it points to
    for other in imported_from_folder(path):
        loaded = sys.modules.get(other.stem) if other.parent == path.parent else None
        if loaded is not None and getattr(loaded, "__file__", None) != str(other):
            raise UserError(
                f"{path}: imports {other.stem!r} from its folder, but another module of this name "
                f"is loaded, {getattr(loaded, '__file__', 'built in')}; rename yours"
            )
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # at the end: it hides no library


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
