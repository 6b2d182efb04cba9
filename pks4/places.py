"""Where the command line looks for suites and runs. Part of the CLI room."""

from pathlib import Path
from typing import Any

from pks4.bench import catalogue


def suite_named(name: str) -> tuple[Any, str]:
    """A suite by name, or from a file that ends in .toml, with its text."""
    from pks4.bench.suite import read_suite

    if name.endswith(".toml"):
        return read_suite(Path(name))
    return read_suite(catalogue.find("suite", name, catalogue.suites()))


def base() -> Path:
    """The checkout, or where the command was called."""
    return catalogue.root() if catalogue.is_checkout() else Path.cwd()


def runs_folder() -> Path:
    """Where new runs go."""
    return base() / "results" / "runs"


def run_folders() -> list[Path]:
    """Where runs are looked for."""
    return [runs_folder(), catalogue.root() / "results" / "reference"]
