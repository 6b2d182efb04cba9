"""Shards: a plan split over several machines, each cell by its id alone.

A cell's shard is a hash of its id. So all hosts agree without any exchange, and a cell that is
added to a suite moves no other. Shards have about, not exactly, the same size.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from pks4.bench.plan.cell import Cell
from pks4.bench.plan.settings import Settings
from pks4.errors import UserError


class Part(Settings):
    """The part of a plan that a run holds, in the header of a run that is not the whole plan."""

    shards: list[int]  # from 1
    of: int
    plan: list[str]  # ids of all cells of the whole, in order

    def __str__(self) -> str:
        plural = "" if len(self.shards) == 1 else "s"
        return f"shard{plural} {', '.join(map(str, self.shards))} of {self.of}"

    def absent(self) -> dict[int, list[str]]:
        """Shard -> ids of its cells, for each shard with any that the run does not hold."""
        cells: dict[int, list[str]] = {}
        for cell in self.plan:
            if (number := _number(cell, self.of)) not in self.shards:
                cells.setdefault(number, []).append(cell)
        return dict(sorted(cells.items()))


@dataclass(frozen=True)
class Shard:
    """The i-th of n shards."""

    number: int  # from 1
    total: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """From i/n, such as 1/4; UserError for anything else."""
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise UserError(f"--shard {text!r} must be i/n with i from 1 to n, such as 1/4")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def of(self, cells: Iterable[Cell]) -> list[Cell]:
        """The cells of this shard, in order."""
        return [cell for cell in cells if _number(cell.id, self.total) == self.number]

    def part(self, cells: Iterable[Cell]) -> Part:
        """The `part` in the header of this shard's run; `cells`: the whole plan."""
        return Part(shards=[self.number], of=self.total, plan=[cell.id for cell in cells])

    def is_all_of(self, part: Part | None) -> bool:
        """Whether a run with this part holds this shard and no other."""
        return part is not None and (part.shards, part.of) == ([self.number], self.total)


def _number(cell: str, total: int) -> int:
    """The shard of a cell, from 1."""
    digest = hashlib.sha256(cell.encode()).digest()
    return int.from_bytes(digest[:8], "big") % total + 1
