"""The cost of a suite's trainings on paper: MACs, GPU hours, and clips to decode per second.

The counter of measure `macs` counts the MACs of a clip on meta tensors; they are multiplied by the
clips that the recipe trains on and the views that it scores. One number is assumed, the speed of a
GPU: its peak times its utilisation. A MAC is two FLOP.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pks4.bench.budget.data_size import DataSize
from pks4.bench.plan.cell import Cell
from pks4.errors import UserError

HOUR = 3600.0
NOT_COUNTED = (
    "the image model's own training",
    "work that is no MAC (normalisation, activations, the optimiser)",
    "waiting for the loader: hours hold only where clips come as fast as the table asks",
    "checkpoints and logs on the disk, extracted frames",
    "searches for learning rates, more seeds than the suite has, runs that fail",
)


@dataclass(frozen=True, kw_only=True)
class Speed:
    """The speed of a GPU: peak in 10^12 FLOP/s, and the share of it that is used."""

    tflops: float
    utilisation: float

    def __post_init__(self) -> None:
        """Raise UserError for an impossible value."""
        if not 0 < self.tflops < float("inf"):
            raise UserError(f"--tflops is {self.tflops:g}; give more than 0")
        if not 0 < self.utilisation <= 1:
            raise UserError(f"--utilisation is {self.utilisation:g}; give a share, 0 to 1")

    @property
    def macs_per_second(self) -> float:
        """Multiply-adds per second."""
        return self.tflops * 1e12 * self.utilisation / 2


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One training with its scoring; `clip_macs_train` and `view_macs` are of one clip, view."""

    cell: str
    title: str
    data: str
    frames: int
    gpus: int
    clips_trained: int
    clip_macs_train: int  # of one clip, backward included
    clips_scored: int  # after the training and, with a curve, after each epoch
    views: int
    view_macs: int  # of one view, forward
    kernel: str
    reader: str
    workers: int  # of each process, as the recipe has it

    @property
    def training_macs(self) -> int:
        """MACs of the training."""
        return self.clips_trained * self.clip_macs_train

    @property
    def scoring_macs(self) -> int:
        """MACs of the scoring."""
        return self.clips_scored * self.views * self.view_macs

    def gpu_hours(self, speed: Speed) -> float:
        """Hours of one GPU; several GPUs share them."""
        return (self.training_macs + self.scoring_macs) / speed.macs_per_second / HOUR

    def clips_per_second(self, speed: Speed) -> float:
        """Clips that a GPU trains on, and that must be decoded for it, per second."""
        return speed.macs_per_second / self.clip_macs_train

    def frames_per_second(self, speed: Speed) -> float:
        """Frames of these clips per second."""
        return self.clips_per_second(speed) * self.frames


def costs(
    cells: list[Cell], sizes: Mapping[str, DataSize], progress: Callable[[int, int], None]
) -> list[Cost]:
    """The cost of every cell that trains; `sizes` by cell id. UserError if none does."""
    training = [cell for cell in cells if "accuracy" in cell.measures]
    if not training:
        raise UserError("no cell of this suite trains; --cost is for suites with accuracy")
    priced: list[Cost] = []
    known: dict[str, tuple[int, int, str]] = {}
    for cell in training:
        priced.append(cost(cell, sizes[cell.id], known))
        progress(len(priced), len(training))
    return priced


def cost(cell: Cell, size: DataSize, known: dict[str, tuple[int, int, str]]) -> Cost:
    """The cost of one cell that trains; `known` keeps counts for cells of the same model."""
    settings = cell.settings["accuracy"]
    key = repr((cell.model, cell.options, cell.frames, size.classes, _kernel(cell)))
    if key not in known:
        known[key] = _counted(cell, size.classes)
    train, forward, kernel = known[key]
    trained, epochs = _trained(cell, size, train)
    scored = size.of(settings["split"], cell.id)
    if settings["curve"]:
        scored += epochs * size.of("val", cell.id)
    return Cost(
        cell=cell.id,
        title=cell.title,
        data=size.name,
        frames=cell.frames,
        gpus=settings["processes"],
        clips_trained=trained,
        clip_macs_train=train,
        clips_scored=scored,
        views=settings["eval_clips"] * settings["eval_crops"],
        view_macs=forward,
        kernel=kernel,
        reader=settings["reader"],
        workers=settings["workers"],
    )


def _kernel(cell: Cell) -> str:
    from pks4.bench.measure.parts.image_models import kernel_on

    settings = cell.settings["accuracy"]
    return kernel_on(settings["device"], settings["precision"], settings)


def _counted(cell: Cell, classes: int) -> tuple[int, int, str]:
    """MACs of a training step and of a forward of one clip, and the attention kernel."""
    from pks4.bench.measure.parts.input import MeasureInput, build
    from pks4.simulate.attention_kernels import declared_attention
    from pks4.simulate.count_macs import count_on_meta

    clip = MeasureInput(cell, {}).clip("meta", batch=1)
    with declared_attention(_kernel(cell)) as calls:
        model = build(cell, "meta", num_classes=classes)
        train = count_on_meta(model, clip, backward=True)
        forward = count_on_meta(model, clip, backward=False)
    return train, forward, calls.evidence()


def _trained(cell: Cell, size: DataSize, clip_macs: int) -> tuple[int, int]:
    """Clips and epochs of the training, counted as the engine does."""
    from pks4.bench.measure.accuracy import recipe_of
    from pks4.train.batches import EpochBatches

    settings = cell.settings["accuracy"]
    recipe = recipe_of(settings)
    try:
        shares = EpochBatches(
            size.of("train", cell.id), recipe.batch_size, recipe.seed,
            accumulate=recipe.accumulate, processes=settings["processes"],
        )  # fmt: skip
    except ValueError as error:
        raise UserError(f"cell {cell.id}: {error}") from error
    steps = shares.sizes()
    if not steps:
        raise UserError(f"cell {cell.id}: {size.name} has too few clips for a batch")
    whole, rest = divmod(recipe.steps(len(steps), clip_macs), len(steps))
    return whole * sum(steps) + sum(steps[:rest]), whole + bool(rest)


def decoders(cost: Cost, speed: Speed, readers: Mapping[tuple[str, int], float]) -> float | None:
    """Decoding processes that each GPU needs; None without a time for its reader and frames.

    `readers`: seconds of a clip by reader and frames, from `read_readers`.
    """
    seconds = readers.get((cost.reader, cost.frames))
    return None if seconds is None else cost.clips_per_second(speed) * seconds


def read_readers(printed: Any, where: str) -> dict[tuple[str, int], float]:
    """Seconds of a clip by reader and frames, from the output of `data readers --json`."""
    try:
        times = {(str(r["reader"]), int(r["frames"])): float(r["median_seconds"])
                 for r in printed["rows"]}  # fmt: skip
    except (KeyError, TypeError, ValueError):
        times = {}
    if not times or min(times.values()) <= 0:
        raise UserError(f"{where}: holds no times; write `pks4-bench data readers --json` into it")
    return times
