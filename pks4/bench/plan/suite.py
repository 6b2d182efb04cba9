"""A suite: one question, written as TOML, read into frozen settings.

An unknown key is an error that suggests the nearest name; it is never ignored. All TOML files are
read through `parse`: a file is a table, or the error is one line that names the file.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pks4.errors import UserError, unknown_name

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class Settings(BaseModel):
    """Frozen settings; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Contestant(Settings):
    """One line of the comparison: a model with options, under a label."""

    label: Name
    title: str = ""
    model: str
    options: dict[str, Any] = {}
    # Over the accuracy measure's settings, for this contestant: keys, or FILE/TABLE of
    # suites/recipes, such as "published/timesformer".
    recipe: dict[str, Any] | str = {}


class Grid(Settings):
    """Contestants x frames, at one scale, with the measures to take in each cell."""

    name: Name
    scale: str
    frames: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    measures: Annotated[list[str], Field(min_length=1)]
    contestants: list[str] = []  # labels; none: all
    batch: Annotated[int, Field(ge=1)] = 1
    num_classes: Annotated[int, Field(ge=1)] = 400
    task: Literal["temporal", "motion", "spatial", "long"] | None = None  # of the embedded data set
    time_limit_seconds: Annotated[float, Field(gt=0)] = 600
    seeds: list[Annotated[int, Field(ge=0)]] = []  # a cell each; none: the settings' one seed
    settings: dict[str, dict[str, Any]] = {}  # measure -> its settings
    data: str | None = None  # folder of an indexed data set, in place of a task
    # The data set that `data` must be an index of; without `data` the user names the folder.
    data_set: Name | None = None
    # Recipe key -> values: each contestant once with every combination, see recipe_search.py.
    search: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}

    @field_validator("frames", "measures", "contestants", "seeds")
    @classmethod
    def _distinct(cls, values: list) -> list:
        if len(set(values)) != len(values):
            raise ValueError(f"something is named twice: {values}")
        return values


def with_contestants(text: str, names: list[str]) -> str:
    """A suite's text with these models as contestants too, each under its own name."""
    return text + "".join(
        f'\n[[contestants]]\nlabel = "{name}"\ntitle = "{name}"\nmodel = "{name}"\n'
        for name in names
    )


class Suite(Settings):
    """A named list of contestants and the grids to put them through.

    `fast.<grid>` holds keys of that grid for a short run: settings are merged, everything else is
    replaced; `skip = true` leaves the grid out.
    """

    name: Name
    title: str
    summary: str = ""
    contestants: Annotated[list[Contestant], Field(min_length=1)]
    grids: Annotated[list[Grid], Field(min_length=1)]
    fast: dict[str, dict[str, Any]] = {}  # grid -> what is otherwise in a fast run
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
        raise UserError(f"{where}: {_first_problem(error)}") from error
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
                f"{where}: fast.{unknown_name('grid', grid, [g.name for g in suite.grids])}"
            )
    fast = _hurried(suite, where) if suite.fast else None
    return fast or suite if suite.as_fast else suite


def fast_text(text: str) -> str:
    """The text of a suite that runs fast; the text says so, so that a run can resume."""
    return f"as_fast = true\n{text}"


def _hurried(suite: Suite, where: str) -> Suite:
    """The suite with its `fast` applied, under another name."""
    grids = []
    for grid in suite.grids:
        changes = dict(suite.fast.get(grid.name, {}))
        if changes.pop("skip", False):
            continue
        settings = {**grid.settings}
        for measure, values in changes.get("settings", {}).items():
            settings[measure] = {**settings.get(measure, {}), **values}
        try:
            grids.append(
                Grid.model_validate({**grid.model_dump(), **changes, "settings": settings})
            )
        except ValidationError as error:
            raise UserError(f"{where}: fast.{grid.name}.{_first_problem(error, Grid)}") from error
    if not grids:
        raise UserError(f"{where}: fast skips every grid; leave one")
    name, title = f"{suite.name}{FAST}", f"{suite.title} (fast)"
    return suite.model_copy(update={"name": name, "title": title, "grids": grids})


_MODELS: dict[str, type[Settings]] = {"contestants": Contestant, "grids": Grid}


def _first_problem(error: ValidationError, root: type[Settings] = Suite) -> str:
    """One line for the first problem: where it is, and the near name of an unknown key."""
    problems = error.errors()
    unknown = [p for p in problems if p["type"] == "extra_forbidden"]
    problem = (unknown or problems)[0]  # a misspelt key is also a missing one: name the cause
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        owner = _MODELS.get(str(problem["loc"][0]), root) if len(problem["loc"]) > 1 else root
        key = str(problem["loc"][-1])
        return f"{where}: {unknown_name('key', key, owner.model_fields)}"
    return f"{where}: {problem['msg']} (got {problem['input']!r})"[:300]


DOTS = 1000  # in a line; what the parser takes for a dotted key grows with the square of its parts


def text_of(path: Path) -> str:
    """The text of a file; raises UserError if it is missing or not text."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error


def parse(text: str, where: object) -> dict[str, Any]:
    """The table in a TOML text; `where` names it in the UserError."""
    if any(line.count(".") > DOTS for line in text.splitlines()):
        raise UserError(f"{where}: not valid TOML: more than {DOTS} dots in a line; break it")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise UserError(f"{where}: not valid TOML: nested too deeply") from None
    except ValueError as error:  # also raised for a number of thousands of digits
        raise UserError(f"{where}: not valid TOML: {error}") from error
