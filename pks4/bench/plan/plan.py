"""The plan: a suite becomes cells, one per contestant, number of frames and seed, before it runs.

Every model, measure, option and setting that the suite names is checked here against the catalogue,
so that a run does not fail an hour later on a typing mistake.
"""

from pathlib import Path
from typing import Any

from pks4.bench.contestants import catalogue
from pks4.bench.plan import recipes
from pks4.bench.plan.cell import Cell
from pks4.bench.plan.suite import Contestant, Grid, Suite
from pks4.bench.plan.user_inputs import NOTHING, Given, filled, with_weights
from pks4.data.kinetic_digits.tasks import MIN_FRAMES
from pks4.errors import UserError, unknown_name
from pks4.train.recipe import check_sharding

# Settings of accuracy that say how an indexed data set is seen.
OF_AN_INDEX = (
    "sampling", "stride", "short_side", "crop", "eval_clips", "eval_crops", "max_bad",
)  # fmt: skip


def plan(suite: Suite, device: str | None = None, given: Given = NOTHING) -> list[Cell]:
    """All cells of a suite, in the order in which they are to run.

    A grid's first seed comes whole before its second, so that a run that is stopped compares.
    `device`: where measures that compute for real are to do so, whatever the suite says. `given`:
    what the suite leaves to its user.
    """
    known_models, known_measures = catalogue.models(), catalogue.measures()
    by_label = {c.label: c for c in suite.contestants}
    for contestant in suite.contestants:
        recipe = known_measures["accuracy"].facts["SETTINGS"]
        own = recipes.of(contestant)
        _only_known(f"contestant {contestant.label!r}: recipe key", own, recipe)
    cells = []
    for grid in (filled(grid, given) for grid in suite.grids):
        for name in grid.measures:
            catalogue.find("measure", name, known_measures)
        _only_known(f"grid {grid.name!r}: measure", grid.settings, grid.measures)
        _check_data(grid)
        labels = grid.contestants or list(by_label)
        _only_known(f"grid {grid.name!r}: contestant", labels, by_label)
        _check_seeds(grid, [by_label[label] for label in labels])
        seeds: list[int | None] = [*grid.seeds] or [None]
        for seed in seeds:
            for contestant in (c for label in labels for c in _variants(grid, by_label[label])):
                entry = catalogue.find("model", contestant.model, known_models)
                for frames in grid.frames:
                    cell = _cell(grid, contestant, entry, frames, known_measures, given)
                    cells.append(cell if seed is None else _seeded(cell, seed))
    return cells if device is None else _on_device(cells, device)


def _on_device(cells: list[Cell], device: str) -> list[Cell]:
    """The cells with every measure that knows devices put on this one."""
    if not any("device" in own for cell in cells for own in cell.settings.values()):
        raise UserError("no measure of this suite computes on a device; leave --device out")
    return [
        cell.model_copy(
            update={
                "settings": {
                    name: own | ({"device": device} if "device" in own else {})
                    for name, own in cell.settings.items()
                },
                "alone": cell.alone or (device == "cuda" and "accuracy" in cell.settings),
            }
        )
        for cell in cells
    ]


def _check_data(grid: Grid) -> None:
    """Raise unless accuracy has one thing to learn from, and a search has something to search."""
    where, learns = f"grid {grid.name!r}", "accuracy" in grid.measures
    if grid.task and grid.data:
        raise UserError(f"{where}: task and data both name clips; drop one")
    drawn = [key for key in OF_AN_INDEX if key in grid.settings.get("accuracy", {})]
    if grid.task and drawn:
        raise UserError(f"{where}: {drawn[0]} is for indexed data; embedded clips are seen whole")
    if learns and not (grid.task or grid.data or grid.data_set):
        raise UserError(f'{where}: accuracy needs a task; add task = "temporal", or data = FOLDER')
    if grid.search and not learns:
        raise UserError(f"{where}: search varies the accuracy's recipe; add that measure")


def _variants(grid: Grid, contestant: Contestant) -> list[Contestant]:
    return [one for one, _ in recipes.variants(grid, contestant)] if grid.search else [contestant]


def _check_seeds(grid: Grid, contestants: list[Contestant]) -> None:
    """Raise unless something depends on a grid's seeds, and nothing else names a seed."""
    if not grid.seeds:
        return
    where = f"grid {grid.name!r}: seeds"
    if "accuracy" not in grid.measures:
        raise UserError(f"{where} vary the accuracy alone; add that measure, or drop seeds")
    if "seed" in grid.settings.get("accuracy", {}):
        raise UserError(f"{where} and settings.accuracy.seed both name a seed; drop one")
    for contestant in contestants:
        if "seed" in recipes.of(contestant):
            raise UserError(
                f"{where} and the recipe of {contestant.label!r} both name a seed; drop one"
            )


def _seeded(cell: Cell, seed: int) -> Cell:
    """The cell with this seed, under an id of its own."""
    accuracy = {**cell.settings["accuracy"], "seed": seed}
    settings = {**cell.settings, "accuracy": accuracy}
    return cell.model_copy(update={"id": f"{cell.id}/seed{seed}", "settings": settings})


def _cell(
    grid: Grid,
    contestant: Contestant,
    entry: catalogue.Entry,
    frames: int,
    measures: dict,
    given: Given,
) -> Cell:
    scales = entry.facts.get("SCALES", {})
    if grid.scale not in scales:
        raise UserError(f"model {entry.name!r}: {unknown_name('scale', grid.scale, scales)}")
    options = {**scales[grid.scale], **contestant.options}
    if entry.options is not None:
        _only_known(f"contestant {contestant.label!r}: option", options, entry.options)
    settings = {name: _settings(grid, contestant, measures[name]) for name in grid.measures}
    if "accuracy" in settings:
        _check_length(grid, settings["accuracy"])
        _check_ranks(grid, settings["accuracy"])
        settings["accuracy"] = with_weights(
            contestant.label, entry.name, settings["accuracy"], given
        )
    return Cell(
        id=f"{grid.name}/{contestant.label}/t{frames}",
        grid=grid.name,
        label=contestant.label,
        title=contestant.title or contestant.label,
        model=entry.name,
        family=entry.facts.get("FAMILY", "other"),
        scale=grid.scale,
        frames=frames,
        batch=grid.batch,
        num_classes=grid.num_classes,
        task=grid.task or grid.data_set or (Path(grid.data).name if grid.data else None),
        data=grid.data,
        options=options,
        measures=grid.measures,
        settings=settings,
        time_limit_seconds=grid.time_limit_seconds,
        alone=any(measures[name].facts.get("ALONE", False) for name in grid.measures)
        or _takes_all(settings.get("accuracy", {})),
    )


def _takes_all(accuracy: dict[str, Any]) -> bool:
    """Whether a training takes what cells beside it would need: a GPU, or several cores."""
    return bool(accuracy) and (accuracy["device"] == "cuda" or accuracy["processes"] > 1)


def _check_length(grid: Grid, accuracy: dict[str, Any]) -> None:
    """Raise where a task's clips are too short to mean anything."""
    if grid.task and accuracy["clip_frames"] < MIN_FRAMES[grid.task]:
        raise UserError(
            f"grid {grid.name!r}: task {grid.task!r} needs clip_frames of "
            f"{MIN_FRAMES[grid.task]} or more, got {accuracy['clip_frames']}"
        )


def _check_ranks(grid: Grid, accuracy: dict[str, Any]) -> None:
    """Raise where a training is to be sharded in a way that there is not."""
    try:
        check_sharding(accuracy["sharding"], accuracy["processes"])
    except UserError as error:
        raise UserError(f"grid {grid.name!r}: {error}") from error


def _settings(grid: Grid, contestant: Contestant, measure: catalogue.Entry) -> dict[str, Any]:
    """A measure's settings: its defaults, then the grid's, then the contestant's recipe."""
    defaults = measure.facts.get("SETTINGS", {})
    given = dict(grid.settings.get(measure.name, {}))
    if measure.name == "accuracy":
        given |= recipes.of(contestant)
    where = f"grid {grid.name!r}, measure {measure.name!r}"
    _only_known(f"{where}: setting", given, defaults)
    for key, value in given.items():
        _same_kind(
            f"{where}: {key}", value, defaults[key], key in measure.facts.get("MAY_BE_ZERO", ())
        )
    return {**defaults, **given}


def _same_kind(where: str, value: Any, default: Any, may_be_zero: bool = False) -> None:
    """Raise unless value has the default's kind and, where that is positive, is positive too.

    A whole number may stand for a real one; seeds and the like, 0 by default, may be 0, and so
    may what the measure names in MAY_BE_ZERO.
    """
    wanted = (int, float) if isinstance(default, float) else type(default)
    if default is not None and (
        not isinstance(value, wanted) or isinstance(value, bool) != isinstance(default, bool)
    ):
        raise UserError(f"{where} must be like {default!r}, got {value!r}")
    if (
        isinstance(default, int | float)
        and default > 0 >= value
        and not (may_be_zero and not value)
    ):
        raise UserError(f"{where} must be above 0, got {value!r}")
    if isinstance(default, dict):
        _only_known(f"{where}: key", value, default)


def _only_known(what: str, names: Any, known: Any) -> None:
    for name in names:
        if name not in known:
            raise UserError(unknown_name(what, name, known))
