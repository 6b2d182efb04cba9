"""A cell: one (contestant, frames, seed) of a grid, the unit that a child process measures."""

import re
from typing import Any

from pks4.bench.plan.settings import Settings


class Cell(Settings):
    """One (contestant, frames, seed) of one grid: what one child process does."""

    id: str  # grid/label/t<frames>, with several seeds also /seed<seed>; unique in its suite
    grid: str
    label: str
    title: str
    model: str
    family: str
    scale: str
    frames: int
    batch: int
    num_classes: int
    task: str | None
    options: dict[str, Any]  # of build(), the scale's sizes included
    measures: list[str]
    settings: dict[str, dict[str, Any]]  # measure -> complete settings
    time_limit_seconds: float
    alone: bool  # no other cell may run at the same time
    data: str | None = None  # folder of an indexed data set, in place of a task

    @property
    def file_stem(self) -> str:
        """The id as part of a path; a label has no +."""
        return self.id.replace("/", "+")


_SEED = re.compile(r"/seed([0-9]+)$")


def split_seed(cell: str) -> tuple[str, int | None]:
    """A cell's id without its seed, and the seed; None where the grid names no seeds."""
    found = _SEED.search(cell)
    return (cell[: found.start()], int(found[1])) if found else (cell, None)
