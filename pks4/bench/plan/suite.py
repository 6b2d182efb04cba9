"""A suite: one question, written as TOML, read into frozen settings.

An unknown key is an error that suggests the nearest name; it is never ignored.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from pks4.bench.contestants import catalogue
from pks4.bench.plan.settings import Loc, Name, Table, parse, problem, text_of
from pks4.errors import UserError, unknown_name


class Contestant(Table):
    """One line of the comparison: a model with options, under a label."""

    label: Name
    title: str = ""
    model: str
    options: dict[str, Any] = Field(default_factory=dict)
    # Over the accuracy measure's settings, for this contestant: keys, or FILE/TABLE of
    # suites/recipes, such as "published/timesformer".
    recipe: dict[str, Any] | str = Field(default_factory=dict)
    # "pks4": it takes part where a PKS4 does, with the recipe and the place of the first of them.
    beside: Literal["pks4"] | None = None


class Grid(Table):
    """Contestants x frames, at one scale, with the measures to take in each cell."""

    name: Name
    scale: str
    frames: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    measures: Annotated[list[str], Field(min_length=1)]
    contestants: list[str] = Field(default_factory=list)  # labels; none: all
    batch: Annotated[int, Field(ge=1)] = 1
    num_classes: Annotated[int, Field(ge=1)] = 400
    # of the embedded data set
    task: Literal["temporal", "motion", "shapes", "spatial", "long"] | None = None
    time_limit_seconds: Annotated[float, Field(gt=0)] = 600
    # A cell each; none: the settings' one seed.
    seeds: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list)
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)  # measure -> its settings
    data: str | None = None  # folder of an indexed data set, in place of a task
    # The data set that `data` must be an index of; without `data` the user names the folder.
    data_set: Name | None = None
    # Recipe key -> values: each contestant once with every combination, see recipe_search.py.
    search: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)

    @field_validator("frames", "measures", "contestants", "seeds")
    @classmethod
    def _distinct(cls, values: list) -> list:
        if len(set(values)) != len(values):
            raise ValueError(f"something is named twice: {values}")
        return values


def with_contestants(text: str, models: list[str], modules: list[str]) -> str:
    """A suite's text with these models and modules as contestants too, under their own names."""
    added = [(name, "") for name in models] + [(name, 'beside = "pks4"\n') for name in modules]
    return text + "".join(
        f'\n[[contestants]]\nlabel = "{name}"\ntitle = "{name}"\nmodel = "{name}"\n{more}'
        for name, more in added
    )


class Suite(Table):
    """A named list of contestants and the grids to put them through.

    `fast.<grid>` holds keys of that grid for a short run: settings are merged, everything else is
    replaced; `skip = true` leaves the grid out.
    """

    name: Name
    title: str
    summary: str = ""
    contestants: Annotated[list[Contestant], Field(min_length=1)]
    grids: Annotated[list[Grid], Field(min_length=1)]
    # grid -> what is otherwise in a fast run
    fast: dict[str, dict[str, Any]] = Field(default_factory=dict)
    as_fast: bool = False  # not for files: the text of a fast run begins with it


FAST = "-fast"  # ends the name of a suite that runs fast, so that its runs are not mixed up


def read_suite(path: Path) -> tuple[Suite, str]:
    """The suite in a TOML file, and the text it was read from."""
    text = text_of(path)
    suite = parse_suite(text, str(path))
    if suite.name != path.stem:
        raise UserError(f"{path}: name is {suite.name!r}; it must be the file's, {path.stem!r}")
    return suite, text


def parse_suite(text: str, where: str) -> Suite:
    """The suite in a TOML text; `where` names it in errors."""
    data = parse(text, where)
    try:
        suite = Suite.model_validate(data)
    except ValidationError as error:
        raise UserError(f"{where}: {problem(error, data, _fields)}") from error
    for kind, names in (
        ("contestant label", [c.label for c in suite.contestants]),
        ("grid name", [g.name for g in suite.grids]),
    ):
        twice = {n for n in names if names.count(n) > 1}
        if twice:
            raise UserError(f"{where}: {kind} {sorted(twice)[0]!r} is used twice; rename one")
    for grid in suite.fast:
        if grid not in [g.name for g in suite.grids]:
            raise UserError(
                f"{where}: fast: {unknown_name('grid', grid, [g.name for g in suite.grids])}"
            )
    fast = _hurried(suite, where) if suite.fast else None
    return _with_pks4(fast or suite if suite.as_fast else suite, where)


def _with_pks4(suite: Suite, where: str) -> Suite:
    """Add each `beside` contestant to the grids that have a PKS4, with the first PKS4's place."""
    added = [c for c in suite.contestants if c.beside]
    if not added:
        return suite
    ours = [c for c in suite.contestants if c.model == added[0].beside]
    if not ours:
        raise UserError(
            f"{where}: no contestant is of model 'pks4', so {added[0].label!r} has no place to "
            "stand in; take another suite"
        )
    first, place = ours[0], catalogue.options_of_the_place()
    shared = {k: v for k, v in first.options.items() if k in place}

    def placed(one: Contestant) -> Contestant:
        options = {**shared, **one.options}
        return one.model_copy(update={"options": options, "recipe": one.recipe or first.recipe})

    def joined(grid: Grid) -> Grid:
        labels = dict.fromkeys([*grid.contestants, *(c.label for c in added)])
        return grid.model_copy(update={"contestants": [*labels]})

    contestants = [placed(c) if c.beside else c for c in suite.contestants]
    with_ours = {c.label for c in ours}
    grids = [joined(g) if with_ours & {*g.contestants} else g for g in suite.grids]
    return suite.model_copy(update={"contestants": contestants, "grids": grids})


def fast_text(text: str) -> str:
    """The text of a suite that runs fast; the text says so, so that a run can resume."""
    return f"as_fast = true\n{text}"


def _hurried(suite: Suite, where: str) -> Suite:
    """The suite with its `fast` applied, under another name."""
    grids = []
    for grid in suite.grids:
        changes = dict(suite.fast.get(grid.name, {}))
        skip = changes.pop("skip", False)
        if not isinstance(skip, bool):
            raise UserError(f"{where}: fast.{grid.name}: skip: must be true or false, got {skip!r}")
        if skip:
            continue
        data = {**grid.model_dump(), **changes}
        try:
            changed = Grid.model_validate(data)
        except ValidationError as error:
            what = problem(error, data, lambda _: Grid.model_fields)
            raise UserError(f"{where}: fast.{grid.name}: {what}") from error
        settings = {**grid.settings}
        for measure, values in changed.settings.items():
            settings[measure] = {**settings.get(measure, {}), **values}
        grids.append(changed.model_copy(update={"settings": settings}))
    if not grids:
        raise UserError(f"{where}: fast skips every grid; leave one")
    name, title = f"{suite.name}{FAST}", f"{suite.title} (fast)"
    return suite.model_copy(update={"name": name, "title": title, "grids": grids})


_TABLES: dict[str, type[Table]] = {"contestants": Contestant, "grids": Grid}


def _fields(loc: Loc) -> Iterable[str]:
    """The keys that are known where an unknown one was."""
    return (_TABLES.get(str(loc[0]), Suite) if len(loc) > 1 else Suite).model_fields
