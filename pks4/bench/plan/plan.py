"""The plan: a suite becomes cells, one per contestant, number of frames and seed.

Every model, measure, option and setting that the suite names is checked here against the catalogue,
so that a run does not fail an hour later on a typing mistake.
"""

from pathlib import Path
from typing import Any

from pks4.bench.contestants import catalogue
from pks4.bench.plan import recipes
from pks4.bench.plan.cell import Cell
from pks4.bench.plan.suite import Contestant, Grid, Suite
from pks4.bench.plan.user_inputs import NO_INPUTS, UserInputs, grid_with_data, with_weights
from pks4.data.kinetic_digits.tasks import MIN_FRAMES
from pks4.errors import UserError, unknown_name
from pks4.train.recipe import check_sharding

# Settings of accuracy that say how an indexed data set is seen.
OF_AN_INDEX = (
    "sampling", "stride", "short_side", "crop", "eval_clips", "eval_crops", "max_bad",
)  # fmt: skip
FLOORS = ("image_floor", "sees_floor")  # settings of accuracy below which a cell is void


def plan(suite: Suite, inputs: UserInputs = NO_INPUTS) -> list[Cell]:
    """All cells of a suite, with what its user named, in the order in which they are to run.

    All cells of a grid's first seed come before those of its second, so that a run that is stopped
    early can be compared.
    """
    models, measures = catalogue.models(), catalogue.measures()
    for contestant in suite.contestants:
        where = f"contestant {contestant.label!r}"
        _only_known(
            where, "recipe key", recipes.of(contestant), measures["accuracy"].facts["SETTINGS"]
        )
    cells = []
    for grid in (grid_with_data(grid, inputs) for grid in suite.grids):
        contestants = _checked(grid, suite, measures)
        seeds: list[int | None] = [*grid.seeds] or [None]
        for seed in seeds:
            for contestant in (c for each in contestants for c in _variants(grid, each)):
                entry = catalogue.find("model", contestant.model, models)
                for frames in grid.frames:
                    cells.append(_cell(grid, contestant, entry, frames, seed, measures, inputs))
    if inputs.device and not any("device" in s for c in cells for s in c.settings.values()):
        raise UserError("no measure of this suite computes on a device; leave --device out")
    return cells


def _checked(grid: Grid, suite: Suite, measures: dict[str, catalogue.Entry]) -> list[Contestant]:
    """The contestants of a grid; raises UserError for what does not fit together."""
    for name in grid.measures:
        catalogue.find("measure", name, measures)
    configured = _configured(grid, measures)
    _only_known(f"grid {grid.name!r}", "measure", grid.settings, configured)
    _check_data(grid, trains="accuracy" in configured)
    by_label = {c.label: c for c in suite.contestants}
    labels = grid.contestants or list(by_label)
    _only_known(f"grid {grid.name!r}", "contestant", labels, by_label)
    contestants = [by_label[label] for label in labels]
    _check_seeds(grid, contestants, configured)
    return contestants


def _configured(grid: Grid, measures: dict[str, catalogue.Entry]) -> list[str]:
    """The measures whose settings a cell has: its own, and those that they look at."""
    looked_at = (measures[name].facts.get("SETTINGS_OF") for name in grid.measures)
    return list(dict.fromkeys([*grid.measures, *filter(None, looked_at)]))


def _check_data(grid: Grid, trains: bool) -> None:
    """Raise unless a training has one thing to learn from, and a search something to search."""
    where = f"grid {grid.name!r}"
    if grid.task and grid.data:
        raise UserError(f"{where}: task and data both name clips; drop one")
    drawn = [key for key in OF_AN_INDEX if key in grid.settings.get("accuracy", {})]
    if grid.task and drawn:
        raise UserError(f"{where}: {drawn[0]} is for indexed data; embedded clips are seen whole")
    if trains and not (grid.task or grid.data or grid.data_set):
        raise UserError(f'{where}: accuracy needs a task; add task = "temporal", or data = FOLDER')
    if grid.search and "accuracy" not in grid.measures:
        raise UserError(f"{where}: search varies the accuracy's recipe; add that measure")


def _check_seeds(grid: Grid, contestants: list[Contestant], configured: list[str]) -> None:
    """Raise unless something depends on a grid's seeds, and nothing else names a seed."""
    if not grid.seeds:
        return
    where = f"grid {grid.name!r}: seeds"
    if "accuracy" not in configured:
        raise UserError(f"{where} vary the accuracy alone; add that measure, or drop seeds")
    if "seed" in grid.settings.get("accuracy", {}):
        raise UserError(f"{where} and settings.accuracy.seed both name a seed; drop one")
    for contestant in contestants:
        if "seed" in recipes.of(contestant):
            raise UserError(
                f"{where} and the recipe of {contestant.label!r} both name a seed; drop one"
            )


def _variants(grid: Grid, contestant: Contestant) -> list[Contestant]:
    return [v for v, _ in recipes.variants(grid, contestant)] if grid.search else [contestant]


def _cell(
    grid: Grid,
    contestant: Contestant,
    entry: catalogue.Entry,
    frames: int,
    seed: int | None,
    measures: dict[str, catalogue.Entry],
    inputs: UserInputs,
) -> Cell:
    scales = entry.facts.get("SCALES", {})
    if grid.scale not in scales:
        raise UserError(f"model {entry.name!r}: {unknown_name('scale', grid.scale, scales)}")
    options = {**scales[grid.scale], **contestant.options}
    if entry.options is not None:
        _only_known(f"contestant {contestant.label!r}", "option", options, entry.options)
    for name, value in options.items():
        if isinstance(entry.defaults.get(name), bool) and not isinstance(value, bool):
            where = f"contestant {contestant.label!r}: option {name!r}"
            raise UserError(f"{where} must be true or false, got {value!r}")
    configured = _configured(grid, measures)
    settings = {name: _settings(grid, contestant, measures[name]) for name in configured}
    if accuracy := settings.get("accuracy"):
        _check_training(grid, accuracy)
        accuracy = with_weights(contestant.label, entry.name, accuracy, inputs)
        settings["accuracy"] = accuracy if seed is None else {**accuracy, "seed": seed}
    alone = any(measures[name].facts.get("ALONE") for name in grid.measures) or _takes_all(settings)
    if inputs.device:
        settings = {
            name: values | ({"device": inputs.device} if "device" in values else {})
            for name, values in settings.items()
        }
    return Cell(
        id=f"{grid.name}/{contestant.label}/t{frames}{'' if seed is None else f'/seed{seed}'}",
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
        alone=alone or _takes_all(settings),
    )


def _takes_all(settings: dict[str, dict[str, Any]]) -> bool:
    """Whether a training takes what other cells would need: a GPU, or several cores."""
    accuracy = settings.get("accuracy", {})
    return bool(accuracy) and (accuracy["device"] == "cuda" or accuracy["processes"] > 1)


def _check_training(grid: Grid, accuracy: dict[str, Any]) -> None:
    """Raise for clips too short to mean anything, floors that are no shares, unknown sharding."""
    if grid.task and accuracy["clip_frames"] < MIN_FRAMES[grid.task]:
        raise UserError(
            f"grid {grid.name!r}: task {grid.task!r} needs clip_frames of "
            f"{MIN_FRAMES[grid.task]} or more, got {accuracy['clip_frames']}"
        )
    for name in FLOORS:
        if not 0 <= accuracy[name] <= 1:
            raise UserError(
                f"grid {grid.name!r}: {name} is a share from 0 to 1, got {accuracy[name]}"
            )
    try:
        check_sharding(accuracy["sharding"], accuracy["processes"])
    except UserError as error:
        raise UserError(f"grid {grid.name!r}: {error}") from error


def _settings(grid: Grid, contestant: Contestant, measure: catalogue.Entry) -> dict[str, Any]:
    """A measure's settings: its defaults, then the grid's, then the contestant's recipe."""
    defaults = measure.facts.get("SETTINGS", {})
    changed = dict(grid.settings.get(measure.name, {}))
    if measure.name == "accuracy":
        changed |= recipes.of(contestant)
    where = f"grid {grid.name!r}, measure {measure.name!r}"
    _only_known(where, "setting", changed, defaults)
    may_be_zero = measure.facts.get("MAY_BE_ZERO", ())
    for key, value in changed.items():
        _same_kind(f"{where}: {key}", value, defaults[key], key in may_be_zero)
    return {**defaults, **changed}


def _same_kind(where: str, value: Any, default: Any, may_be_zero: bool) -> None:
    """Raise unless value has the default's kind and, where that is positive, is positive too.

    A whole number may stand for a real one. Seeds and the like, 0 by default, may be 0, and so may
    what the measure names in MAY_BE_ZERO.
    """
    wanted = (int, float) if isinstance(default, float) else type(default)
    if default is not None and (
        not isinstance(value, wanted) or isinstance(value, bool) != isinstance(default, bool)
    ):
        example = repr(default) if default != "" else "a text"
        raise UserError(f"{where} must be like {example}, got {value!r}")
    if (
        isinstance(default, int | float)
        and default > 0 >= value
        and not (may_be_zero and not value)
    ):
        raise UserError(f"{where} must be above 0, got {value!r}")
    if isinstance(default, dict):
        _only_known(where, "key", value, default)


def _only_known(where: str, what: str, names: Any, known: Any) -> None:
    for name in names:
        if name not in known:
            raise UserError(f"{where}: {unknown_name(what, name, known)}")
