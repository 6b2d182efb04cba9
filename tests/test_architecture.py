"""docs/architecture.md against the folders and the import contracts."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
CONTAINERS = ("pks4", "pks4.bench")


def rooms(container: str) -> set[str]:
    """The files and folders of code in a package, without its face."""
    entries = (ROOT / container.replace(".", "/")).iterdir()
    return {
        path.stem for path in entries if path.suffix == ".py" or (path / "__init__.py").is_file()
    } - {"__init__"}


def layers(container: str) -> list[set[str]]:
    """The rows of a container's contract, from the top."""
    (contract,) = (c for c in CONTRACTS["contracts"] if c.get("containers") == [container])
    assert contract["exhaustive"]
    return [set(row.split(" | ")) for row in contract["layers"]]


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_tree_names_every_room_and_no_other(container):
    (block,) = re.findall(rf"```text\n{container.replace('.', '/')}/\n(.*?)```", PAGE, re.S)
    named = re.findall(r"^  (\w+)(?:/|\.py) ", block, re.M)
    assert len(named) == len(set(named))
    assert set(named) == rooms(container)


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_page_has_the_rows_of_the_contract(container):
    part = PAGE.split(f"\nOf `{container}`:\n")[1]
    rows = re.findall(r"^\| \d+ \| (.*) \|$", part.strip().split("\n\n")[0], re.M)
    assert [set(re.findall(r"`(\w+)`", row)) for row in rows] == layers(container)


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_contract_names_every_room(container):
    assert set.union(*layers(container)) == rooms(container)


def test_every_path_on_the_page_is_there():
    places = (ROOT, ROOT / "pks4", ROOT / "pks4" / "bench")
    for path in re.findall(r"`((?:[a-z0-9_]+/)+(?:\w+\.py)?)`", PAGE):
        assert "NAME" in path or any((place / path).exists() for place in places), path


def test_rivals_import_neither_the_method_nor_the_instrument():
    part = PAGE.split("`baselines/` import ")[1].split(", and never")[0]
    allowed = {"pks4." + room for room in re.findall(r"`(\w+)`", part)}
    for path in (ROOT / "baselines").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pks4"):
                module = node.module if "." in node.module else f"pks4.{node.names[0].name}"
                assert ".".join(module.split(".")[:2]) in allowed, (path.name, node.module)


def test_every_package_says_what_it_is_for():
    for path in (ROOT / "pks4").rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path
