"""Search of recipes: the same values for every contestant, judged on the validation split.

A grid with `search = { learning_rate = [1e-3, 3e-3] }` has each contestant once with every
combination. `choose` takes the highest validation top-1 of a finished run and breaks ties by
training loss. Where no combination is better than guessing, the lowest training loss decides: the
top-1 of a guess says nothing about a recipe.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pks4.bench.plan.recipes import variants
from pks4.bench.plan.suite import Contestant, Grid, Suite, parse_suite
from pks4.bench.records import run_file
from pks4.bench.records.record import Record
from pks4.errors import UserError

GUESSING = 0.05  # a top-1 that is less probable than this is no guess


def choose(run: run_file.RunFile) -> dict[str, dict[str, Any]]:
    """label -> its recipe, what was tried, whether all of it was guessing (`guessing`), and the
    keys whose choice is at an end of their range (`at_end`).

    Raises UserError for a run without a search or with a missing measurement.
    """
    suite = parse_suite(run.header.suite_text, str(run.path))
    grid = searched(suite, str(run.path))
    return {c.label: _best(run, grid, c) for c in _contestants(suite, grid)}


def searched(suite: Suite, where: str) -> Grid:
    """The grid of a suite that has a search; raises UserError unless there is one, and one only."""
    grids = [grid for grid in suite.grids if grid.search]
    if len(grids) != 1:
        raise UserError(f"{where}: there are {len(grids)} grids with a search; need one")
    return grids[0]


def as_toml(chosen: dict[str, dict[str, Any]], run: str) -> str:
    """A file of recipes, with the run as evidence."""
    lines = [f"# Chosen by pks4-bench search from run {run}: the best top-1 on validation clips,",
             "# or the lowest training loss where none was better than guessing."]  # fmt: skip
    for label, choice in chosen.items():
        lines += ["", f'["{label}"]', f'evidence = "{run}"']
        lines += [f"tried = [  # {', '.join(choice['recipe'])}: top-1, training loss"]
        lines += [f'  "{trial}",' for trial in choice["tried"]]
        lines += ["]", *(["# No better than guessing: chosen by its loss."] * choice["guessing"])]
        lines += [f'["{label}".recipe]']
        lines += [f"{key} = {_toml(value)}" for key, value in choice["recipe"].items()]
    return "\n".join(lines) + "\n"


def _best(run: run_file.RunFile, grid: Grid, contestant: Contestant) -> dict[str, Any]:
    tried = []
    for variant, recipe in variants(grid, contestant):
        records = [r for r in run.records if r.label == variant.label and r.grid == grid.name]
        top1, loss = _mean(records, "top1"), _mean(records, "final_train_loss")
        diverged = any(r.status == "failed" and "Diverged" in (r.reason or "") for r in records)
        if top1 is None and not diverged:
            raise UserError(
                f"{run.path}: {variant.label} has no top-1; resume the run, then choose"
            )
        if any(r.evidence.get("split") == "test" for r in records):
            raise UserError(f'{run.path}: a search must not see the test split; set split = "val"')
        if top1 is not None and loss is not None:
            tried.append(_Tried(recipe, top1, loss, _guess_probability(records)))
    if not tried:
        raise UserError(f"{run.path}: every training of {contestant.label} diverged; search lower")
    # Bonferroni: the best of many guesses is better than one guess.
    guessing = min(trial.guess_probability for trial in tried) * len(tried) > GUESSING
    best = max(tried, key=lambda trial: (0.0 if guessing else trial.top1, -trial.loss))
    return {
        "recipe": best.recipe,
        "tried": [str(trial) for trial in tried],
        "guessing": guessing,
        "at_end": _at_end(grid, best.recipe),
    }


@dataclass(frozen=True)
class _Tried:
    """A combination and its outcome on validation clips."""

    recipe: dict[str, Any]
    top1: float
    loss: float  # of the training's last epoch
    guess_probability: float  # of so many right answers by guessing

    def __str__(self) -> str:
        return f"{', '.join(map(str, self.recipe.values()))}: {self.top1:.3f}, {self.loss:.3f}"


def _guess_probability(records: list[Record]) -> float:
    from scipy.stats import binomtest

    shares = [(r.value, r.detail) for r in records if r.metric == "top1" and r.value is not None]
    clips = sum(detail["clips"] for _, detail in shares)
    right = round(sum(value * detail["clips"] for value, detail in shares))
    chance = shares[0][1]["chance"]
    return float(binomtest(right, clips, chance, alternative="greater").pvalue)


def _at_end(grid: Grid, chosen: dict[str, Any]) -> list[str]:
    """The keys whose choice is the lowest or highest of three or more numbers."""
    return [
        key for key, values in grid.search.items()
        if len(values) > 2 and all(isinstance(v, int | float) for v in values)
        and chosen[key] in (min(values), max(values))
    ]  # fmt: skip


def _mean(records: list[Record], metric: str) -> float | None:
    values = [r.value for r in records if r.metric == metric and r.value is not None]
    return sum(values) / len(values) if values else None


def _contestants(suite: Suite, grid: Grid) -> list[Contestant]:
    return [c for c in suite.contestants if c.label in (grid.contestants or [c.label])]


def _toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def write(path: Path, text: str) -> None:
    """Write a file of recipes."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
