"""Recipes by name, FILE/TABLE: suites/recipes/FILE.toml holds [TABLE.recipe] and its source.

`published` holds only what papers and their code state. The other files were chosen by a search:
with `search = { learning_rate = [1e-3, 3e-3] }` a grid has each contestant once per combination.
"""

import re
from itertools import product
from pathlib import Path
from typing import Any

from pks4.bench.contestants import catalogue
from pks4.bench.plan.settings import parse, text_of
from pks4.bench.plan.suite import Contestant, Grid
from pks4.errors import UserError, shortened

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*")


def folder() -> Path:
    """The folder of recipes."""
    return catalogue.root() / "suites" / "recipes"


def read(path: Path) -> dict[str, dict[str, Any]]:
    """The tables of a file of recipes."""
    tables = parse(text_of(path), path)
    for name, table in tables.items():
        if not isinstance(table, dict) or not isinstance(table.get("recipe"), dict):
            raise UserError(f"{path}: [{shortened(name)}] has no table `recipe`; add it")
    return tables


def named(name: str) -> dict[str, Any]:
    """The settings of recipe FILE/TABLE."""
    if not _NAME.fullmatch(name):
        raise UserError(f"recipe {name!r} must be FILE/TABLE, such as 'published/timesformer'")
    file, table = name.split("/")
    paths = {path.stem: path for path in folder().glob("*.toml")}
    tables = read(catalogue.find("file of recipes", file, paths))
    return catalogue.find(f"recipe in {file}.toml", table, tables)["recipe"]


def of(contestant: Contestant) -> dict[str, Any]:
    """A contestant's recipe, looked up where it is given by name."""
    return named(contestant.recipe) if isinstance(contestant.recipe, str) else contestant.recipe


def variants(grid: Grid, contestant: Contestant) -> list[tuple[Contestant, dict[str, Any]]]:
    """A contestant with each combination of the grid's search, and that combination."""
    pairs = []
    for values in product(*grid.search.values()):
        chosen = dict(zip(grid.search, values, strict=True))
        text = ", ".join(f"{key} {value}" for key, value in chosen.items())
        variant = contestant.model_copy(
            update={
                "label": "-".join([contestant.label, *map(str, values)]),
                "title": f"{contestant.title or contestant.label}, {text}",
                "recipe": of(contestant) | chosen,
            }
        )
        pairs.append((variant, chosen))
    return pairs
