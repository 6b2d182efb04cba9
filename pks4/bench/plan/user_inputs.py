"""What a suite leaves to its user: a device, the folder of a data set, files of image weights.

A grid with `data_set = "kinetics400"` and no `data` asks for the folder of an index. An accuracy
setting `image_weights = "given"` asks for a file for the contestant's image twin. The command line
takes them as --data FOLDER and --weights TWIN=FILE, and the device as --device.
"""

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pks4.bench.contestants import catalogue, own
from pks4.bench.plan.settings import Settings
from pks4.bench.plan.suite import Grid, Suite
from pks4.errors import UserError, unknown_name

if TYPE_CHECKING:
    from pks4.bench.plan.cell import Cell

ASKED = "given"  # the value of image_weights that asks for a file


class UserInputs(Settings):
    """What the user of a suite named. A run keeps it in its header, and resumes with it."""

    data: Path | None = None  # the folder of an index
    weights: dict[str, Path] = Field(default_factory=dict)  # image twin -> file
    device: str | None = None  # of the measures that compute; none: as the suite says
    hashes: dict[str, str] = Field(default_factory=dict)  # a named file -> its SHA-256
    on_paper: bool = Field(default=False, exclude=True)  # plan without data and weights

    @classmethod
    def parse(
        cls, suite: Suite, data: Path | None, weights: Iterable[str], device: str | None = None
    ) -> "UserInputs":
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
        return cls(data=data.resolve() if data else None, weights=files, device=device)

    def updated_with(self, other: "UserInputs") -> "UserInputs":
        """These inputs, replaced by those that the other names."""
        return UserInputs(
            data=other.data or self.data,
            weights={**self.weights, **other.weights},
            device=other.device or self.device,
        )

    def with_hashes(self) -> "UserInputs":
        """These inputs with a hash of each file that they name, and of those of --model, --module.

        What such a file imports from its folder counts too. A file that is not there any more has
        no hash.
        """
        from pks4.data.integrity import file_sha256

        files = {f"--weights {twin}": path for twin, path in self.weights.items()}
        code = {f"--model {path.name}": path for path in catalogue.added_models()}
        named = {"--module": catalogue.added_modules(), "model": own.in_files()}
        code |= {f"{k} {path.name}:{name}": path for k, v in named.items() for path, name in v}
        for option, path in code.items():
            files |= {option: path} | {
                f"{option}, its module {other.name}": other for other in _imported_from_folder(path)
            }
        if self.data:
            from pks4.data.index_folder import INDEX

            files["--data"] = self.data / INDEX
        hashes = {name: file_sha256(path) for name, path in files.items() if path.is_file()}
        return self.model_copy(update={"hashes": hashes})

    def changed_file(self) -> str | None:
        """The first of the hashed files that is another one now, or none."""
        now = self.with_hashes().hashes
        return next((name for name, value in self.hashes.items() if now.get(name) != value), None)


NO_INPUTS = UserInputs()


def inputs_of_old_run(cells: Iterable["Cell"]) -> UserInputs:
    """The inputs of a run from before headers kept them, as its cells show them."""
    cells = list(cells)
    named = [(c.model, c.settings.get("accuracy", {}).get("image_weights", "")) for c in cells]
    devices = {s["device"] for c in cells for s in c.settings.values() if "device" in s}
    return UserInputs(
        data=next((Path(c.data) for c in cells if c.data), None),
        weights={_twin(model): Path(file) for model, file in named if Path(file).is_absolute()},
        device=next(iter(sorted(devices - {"cpu"})), None),
    )


def grid_with_data(grid: Grid, inputs: UserInputs) -> Grid:
    """The grid with its data; UserError if it asks for data and gets none, or another data set."""
    if not _asks(grid) or (inputs.on_paper and inputs.data is None):
        return grid
    where = f"grid {grid.name!r} trains on {grid.data_set}"
    if inputs.data is None:
        raise UserError(
            f"{where}: add --data FOLDER, with the index that `pks4-bench data index "
            f"{grid.data_set}` wrote"
        )
    from pks4.data.index_folder import Indexed

    name = Indexed.read(inputs.data).name
    if name != grid.data_set:
        raise UserError(f"{where}; {inputs.data} is an index of {name}")
    return grid.model_copy(update={"data": str(inputs.data)})


def with_weights(
    label: str, model: str, accuracy: dict[str, Any], inputs: UserInputs
) -> dict[str, Any]:
    """A contestant's accuracy settings with the file that they ask for, if they do."""
    if accuracy["image_weights"] != ASKED:
        return accuracy
    twin = _twin(model)
    if twin in inputs.weights:
        return {**accuracy, "image_weights": str(inputs.weights[twin])}
    if inputs.on_paper:
        return accuracy
    raise UserError(
        f"contestant {label!r} starts from image weights of yours: add --weights {twin}=FILE, "
        "or set image_weights"
    )


def _imported_from_folder(path: Path) -> list[Path]:
    """The modules next to a Python file that it imports, directly or through one another."""
    waiting, found = [path], dict[Path, None]()
    while waiting:
        try:
            tree = ast.parse(waiting.pop().read_text(encoding="utf-8"))
        except (OSError, SyntaxError, UnicodeDecodeError):
            continue  # gone or broken: its own hash says so
        names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        names |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        for name in sorted(names):
            module = path.parent / f"{name.split('.')[0]}.py"
            if module.is_file() and module not in (path, *found):
                found[module] = None
                waiting.append(module)
    return list(found)


def _asks(grid: Grid) -> bool:
    return grid.data_set is not None and grid.data is None


def _twin(model: str) -> str:
    """The image twin of a model; empty where it has none."""
    entry = catalogue.find("model", model, catalogue.models())
    return str(entry.facts.get("IMAGE_TWIN") or "")
