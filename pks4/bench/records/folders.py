"""Where suites are looked for, and where runs lie."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pks4.bench.contestants import catalogue, modules
from pks4.errors import UserError


def suite_named(
    name: str,
    own_models: Sequence[Path | str] = (),
    fast: bool = False,
    own_modules: Sequence[str] = (),
) -> tuple[Any, str]:
    """A suite by name, or from a file that ends in .toml, with its text.

    `own_models`, the user's files or names of registered models, become contestants, and so do
    `own_modules`, FILE[:CLASS], in every grid with PKS4. `fast`: as the table `fast` says.
    """
    from pks4.bench.plan.suite import fast_text, parse_suite, read_suite, with_contestants

    path = suite_file(name)
    suite, text = read_suite(path)
    text = with_contestants(
        text,
        [p if isinstance(p, str) else catalogue.add_model(p).name for p in own_models],
        [modules.add(one).name for one in own_modules],
    )
    if fast and not suite.fast:
        quick = [n for n, p in catalogue.suites().items() if read_suite(p)[0].fast]
        raise UserError(f"{path}: has no table [fast]; --fast works for: {', '.join(quick)}")
    if fast:
        text = fast_text(text)
    return parse_suite(text, str(path)), text


def suite_file(name: str) -> Path:
    """The file of a suite by name; a name that ends in .toml is a file."""
    return (
        Path(name) if name.endswith(".toml") else catalogue.find("suite", name, catalogue.suites())
    )


def base() -> Path:
    """The checkout, or the current folder."""
    return catalogue.root() if catalogue.is_checkout() else Path.cwd()


def results_folder() -> Path:
    """Where runs and the ledger of accepted runs are."""
    return base() / "results"


def runs_folder() -> Path:
    """Where new runs go."""
    return results_folder() / "runs"


def run_folders() -> list[Path]:
    """Where runs are looked for."""
    return [runs_folder(), catalogue.root() / "results" / "reference"]
