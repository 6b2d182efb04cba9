"""What a suite leaves to its user: the folder of a data set, the files of image weights.

A grid with `data_set = "kinetics400"` and no `data` asks for the folder of an index; an accuracy
setting `image_weights = "given"` asks for a file for the contestant's image twin. The command line
takes them as --data FOLDER and --weights TWIN=FILE.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pks4.bench.contestants import catalogue
from pks4.bench.plan.suite import Grid, Suite
from pks4.errors import UserError, unknown_name

if TYPE_CHECKING:
    from pks4.bench.plan.cell import Cell

ASKED = "given"  # the value of image_weights that asks for a file


@dataclass(frozen=True)
class Given:
    """The folder of the index, and image twin -> file; `on_paper`: a plan that needs neither."""

    data: Path | None = None
    weights: dict[str, Path] = field(default_factory=dict)
    on_paper: bool = False

    @classmethod
    def parse(cls, suite: Suite, data: Path | None, weights: Iterable[str]) -> "Given":
        """From the command line; UserError for what the suite does not ask for or is not there."""
        if data and not any(_asks(grid) for grid in suite.grids):
            raise UserError(
                f"no grid of suite {suite.name!r} asks for a data set; leave --data out"
            )
        files = {}
        for text in weights:
            twins = {twin for c in suite.contestants if (twin := _twin(c.model))}
            twin, equals, file = text.partition("=")
            if not equals:
                raise UserError(f"--weights {text!r} must be TWIN=FILE, as in frame_mean=vit.pth")
            if twin not in twins:
                raise UserError(f"--weights: {unknown_name('image twin', twin, twins)}")
            if not Path(file).is_file():
                raise UserError(f"--weights {twin}: there is no file {file}")
            files[twin] = Path(file).resolve()
        return cls(data.resolve() if data else None, files)

    @classmethod
    def of(cls, cells: Iterable["Cell"]) -> "Given":
        """What a run's cells were given."""
        cells = list(cells)
        named = [(c.model, c.settings.get("accuracy", {}).get("image_weights", "")) for c in cells]
        weights = {_twin(model): Path(file) for model, file in named if Path(file).is_absolute()}
        return cls(next((Path(c.data) for c in cells if c.data), None), weights)

    def but(self, other: "Given") -> "Given":
        """This, but for what the other names."""
        return Given(other.data or self.data, {**self.weights, **other.weights})


NOTHING = Given()


def filled(grid: Grid, given: Given) -> Grid:
    """The grid with its data; UserError if it asks and nothing, or another data set, was given."""
    if not _asks(grid) or (given.on_paper and given.data is None):
        return grid
    where = f"grid {grid.name!r} trains on {grid.data_set}"
    if given.data is None:
        raise UserError(
            f"{where}: add --data FOLDER, with the index that `pks4-bench data index "
            f"{grid.data_set}` wrote"
        )
    from pks4.data.index_folder import Indexed

    name = Indexed.read(given.data).name
    if name != grid.data_set:
        raise UserError(f"{where}; {given.data} is an index of {name}")
    return grid.model_copy(update={"data": str(given.data)})


def with_weights(label: str, model: str, accuracy: dict[str, Any], given: Given) -> dict[str, Any]:
    """A contestant's accuracy settings with the file that they ask for, if they do."""
    if accuracy["image_weights"] != ASKED:
        return accuracy
    twin = _twin(model)
    if given.on_paper and twin not in given.weights:
        return accuracy
    if twin not in given.weights:
        raise UserError(
            f"contestant {label!r} starts from image weights of yours: add --weights {twin}=FILE, "
            "or set image_weights"
        )
    return {**accuracy, "image_weights": str(given.weights[twin])}


def _asks(grid: Grid) -> bool:
    return grid.data_set is not None and grid.data is None


def _twin(model: str) -> str:
    """The image twin of a model; empty where it has none."""
    entry = catalogue.find("model", model, catalogue.models())
    return str(entry.facts.get("IMAGE_TWIN") or "")
