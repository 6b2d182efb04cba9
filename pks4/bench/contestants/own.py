"""Models of users' own, registered as classes or functions; child processes find them by file.

`pks4.register_model` brings them here. One that no file holds, such as one of a notebook, is known
to this process alone.
"""

import ast
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pks4.bench.contestants.entry import PLAIN_SCALES, Entry
from pks4.errors import UserError

OWN = "PKS4_OWN_MODELS"  # environment variable, so that child processes know them: FILE:NAME lines
DECORATOR = "register_model"
_only_here: dict[str, Entry] = {}


def add(maker: Callable[..., Any]) -> str:
    """Add a class or a function that makes a whole model, under its own name; returns the name.

    Raises UserError for what has no name of its own, such as a lambda.
    """
    name = getattr(maker, "__qualname__", "")
    if not callable(maker) or not name.rpartition(".<locals>.")[2].isidentifier():
        raise UserError(f"{maker!r} is no class or function with a name; give it one with def")
    file = getattr(sys.modules.get(maker.__module__), "__file__", None)
    if file is None or name != maker.__name__:
        name = maker.__name__
        summary = (maker.__doc__ or "no summary").partition("\n")[0]
        facts = {k: v for k, v in vars(maker).items() if k.isupper()}
        facts.setdefault("SCALES", PLAIN_SCALES)
        _only_here[name] = Entry(name, Path(f"<{maker.__module__}>"), summary, facts, maker=maker)
    else:
        add_file(Path(file).resolve(), name)
    return name


def add_file(path: Path, name: str) -> None:
    """Add what a file calls `name`."""
    _only_here.pop(name, None)
    lines = [*os.environ.get(OWN, "").splitlines(), f"{path}:{name}"]
    os.environ[OWN] = "\n".join(dict.fromkeys(lines))


def in_files() -> list[tuple[Path, str]]:
    """The registered models that are in files, each a file and a name in it."""
    lines = [line.rpartition(":") for line in os.environ.get(OWN, "").splitlines()]
    return [(Path(file), name) for file, _, name in lines]


def only_here() -> dict[str, Entry]:
    """Those that no file holds, by name."""
    return _only_here


def decorated(tree: ast.Module) -> list[str]:
    """The classes and functions of a file under the decorator `register_model`."""
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        and any(ast.unparse(d).rpartition(".")[2] == DECORATOR for d in node.decorator_list)
    ]
