"""Search of recipes: the same values for every contestant, judged on the validation split.

A grid with `search = { learning_rate = [1e-3, 3e-3] }` has each contestant once with every
combination. Of a finished run the best by validation top-1 is chosen; of those that are equal, the
one with the lower training loss.
"""

from pathlib import Path
from typing import Any

from pks4.bench import store
from pks4.bench.recipes import variants
from pks4.bench.record import Record
from pks4.bench.suite import Contestant, Grid, Suite, parse_suite
from pks4.errors import UserError


def choose(run: store.RunFile) -> dict[str, dict[str, Any]]:
    """label -> its recipe, what was tried, and where the choice lies at an end of that.

    Raises UserError for a run without a search, or where something was not measured.
    """
    suite = parse_suite(run.header.suite_text, str(run.path))
    grids = [grid for grid in suite.grids if grid.search]
    if len(grids) != 1:
        raise UserError(f"{run.path}: its suite has {len(grids)} grids with a search; need one")
    return {c.label: _best(run, grids[0], c) for c in _contestants(suite, grids[0])}


def as_toml(chosen: dict[str, dict[str, Any]], run: str) -> str:
    """A file of recipes, with the run as evidence."""
    lines = [f"# Chosen by pks4-bench search from run {run}: the best top-1 on validation clips."]
    for label, one in chosen.items():
        lines += ["", f'["{label}"]', f'evidence = "{run}"']
        lines += [f"tried = [  # {', '.join(one['recipe'])}: top-1, training loss"]
        lines += [f'  "{trial}",' for trial in one["tried"]]
        lines += ["]", f'["{label}".recipe]']
        lines += [f"{key} = {_toml(value)}" for key, value in one["recipe"].items()]
    return "\n".join(lines) + "\n"


def _best(run: store.RunFile, grid: Grid, contestant: Contestant) -> dict[str, Any]:
    tried = []
    for one, chosen in variants(grid, contestant):
        own = [r for r in run.records if r.label == one.label and r.grid == grid.name]
        top1, loss = _mean(own, "top1"), _mean(own, "final_train_loss")
        diverged = any(r.status == "failed" and "Diverged" in (r.reason or "") for r in own)
        if top1 is None and not diverged:
            raise UserError(f"{run.path}: {one.label} has no top-1; resume the run, then choose")
        if any(r.evidence.get("split") == "test" for r in own):
            raise UserError(f'{run.path}: a search must not see the test split; set split = "val"')
        if top1 is not None and loss is not None:
            tried.append((top1, -loss, chosen))
    if not tried:
        raise UserError(f"{run.path}: every training of {contestant.label} diverged; search lower")
    best = max(tried, key=lambda trial: trial[:2])
    told = [f"{', '.join(map(str, c.values()))}: {t:.3f}, {-m:.3f}" for t, m, c in tried]
    return {"recipe": best[2], "tried": told, "at_end": _at_end(grid, best[2])}


def _at_end(grid: Grid, chosen: dict[str, Any]) -> list[str]:
    """The keys whose chosen number is the lowest or highest of three or more that were tried."""
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
