"""A run as its report reads it: who took part, in what setting, and which record holds a number.

Tables, figures and sentences look numbers up here, so that each of them shows the same record for
the same question and can name it. Two ideas:

* a *setting* is what two contestants must share to be compared: grid, scale, batch, task;
* a *series* is one metric of one contestant in one setting, by the number of frames.

Of duplicate records the first counts, as in `records/run_file.py`. Several seeds of one number are
one row, pooled as `pooled_seeds.py` says, that names all of its records. Records that failed are in
`View.failures`, and never give a number.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from pks4.bench.plan.cell import split_seed
from pks4.bench.records.record import Record
from pks4.bench.stats.clips import right_by_clip
from pks4.bench.view import pooled_seeds
from pks4.bench.view.rows import Contestant, Row, Series, Setting, by_seed

PKS4_FAMILY = "PKS4"
FLOOR_FAMILY = "2D floor"
FAMILIES = (
    PKS4_FAMILY,
    "temporal attention",
    "adapters",
    "video Mamba",
    "recurrent",
    "motion",
    "probes",
    FLOOR_FAMILY,
)
OK = "ok"
COST_METRICS = ("saved_bytes", "macs_forward")


class View:
    """The records of one run, and the questions that a report asks of them."""

    def __init__(
        self,
        records: Sequence[Record],
        header: Mapping[str, Any],
        missing: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Read a run: its records, its header as JSON has it, and what it lacks.

        `missing` names, for each cell, the planned measures without all of their records; one that
        failed and is to be tried again is a failure so far.
        """
        self.header = header
        failed = {(r.cell, r.measure) for r in records if r.status != OK}
        left = [(cell, name) for cell, names in (missing or {}).items() for name in names]
        self.missing = [one for one in left if one not in failed]
        self.rows = tuple(Row.of(number, record) for number, record in enumerate(records, start=1))
        planned = [(c["label"], c["title"], c["family"]) for c in header.get("cells", [])]
        self.contestants = _contestants(
            [*planned, *((r.label, r.title, r.family) for r in records)]
        )

    @cached_property
    def _pooled(self) -> list[Row]:
        """One row for each number, in the order of the file."""
        numbers = (row for row in self.rows if row.status == OK and row.value is not None)
        index = by_seed(numbers, lambda row: (row.setting, row.metric, row.label, row.frames))
        return [pooled_seeds.pool(list(rows.values())) for rows in index.values()]

    @cached_property
    def _numbers(self) -> dict[tuple[Setting, str, str], Series]:
        numbers: dict[tuple[Setting, str, str], Series] = {}
        for row in self._pooled:
            if row.status == OK:
                numbers.setdefault((row.setting, row.metric, row.label), {})[row.frames] = row
        return numbers

    @property
    def unequal(self) -> list[Row]:
        """Exact numbers that differ between seeds: rows without a value, each with its reason."""
        return [row for row in self._pooled if row.status != OK]

    @property
    def failures(self) -> list[Row]:
        """Every record whose status is not ok, in the order of the file."""
        return [row for row in self.rows if row.status != OK]

    @property
    def void(self) -> list[Row]:
        """Every time of a session whose control failed."""
        return [row for row in self.rows if row.detail.get("verdict") == "void"]

    def settings(self, metric: str) -> list[Setting]:
        """The settings that hold at least one number of `metric`, in the order of the file."""
        return list(dict.fromkeys(setting for setting, name, _ in self._numbers if name == metric))

    def series(self, setting: Setting, metric: str) -> dict[str, Series]:
        """label -> frames -> row, contestants in the order of the plan, frames ascending."""
        every = {name: self._numbers.get((setting, metric, name), {}) for name in self.contestants}
        return {name: dict(sorted(series.items())) for name, series in every.items() if series}

    def at_largest(self, setting: Setting, metric: str) -> dict[str, Row]:
        """label -> the row at its largest T, contestants in the order of the plan."""
        series = self.series(setting, metric)
        return {label: found[max(found)] for label, found in series.items()}

    def find(self, setting: Setting, metric: str, label: str, frames: int) -> Row | None:
        """The row that holds this number; None when it was not measured."""
        return self._numbers.get((setting, metric, label), {}).get(frames)

    def members(self, row: Row) -> dict[int | None, Row]:
        """The records behind a row by seed, each with its detail: predictions, curves."""
        single = [self.rows[number - 1] for number in row.records] or [row]
        return {split_seed(member.cell)[1]: member for member in single}

    def answers(self, rows: Sequence[Row]) -> list[np.ndarray] | None:
        """For each row (seeds, clips), whether each clip was right.

        None where a record does not say, or where the rows are not of equally many clips.
        """
        found = [[right_by_clip(one) for one in self.members(row).values()] for row in rows]
        known = [[one for one in seeds if one is not None] for seeds in found]
        lengths = {len(one) for seeds in known for one in seeds}
        if len(lengths) != 1 or any(len(a) < len(b) for a, b in zip(known, found, strict=True)):
            return None
        return [np.array(seeds, dtype=float) for seeds in known]

    @cached_property
    def ours(self) -> str:
        """The PKS4 that others are compared with: the label `pks4`, else the family's first.

        Empty, which is nobody's label, if no PKS4 takes part.
        """
        labels = [c.label for c in self.contestants.values() if c.family == PKS4_FAMILY]
        return "pks4" if "pks4" in labels else next(iter(labels), "")

    @property
    def cost_settings(self) -> list[Setting]:
        """The settings that hold MACs or saved bytes, in the order of the file."""
        return list(dict.fromkeys(s for metric in COST_METRICS for s in self.settings(metric)))

    def cost_frames(self, setting: Setting) -> int:
        """The frame count at which a setting's costs are compared: see `common_frames`."""
        series = {
            (label, metric): found
            for metric in COST_METRICS
            for label, found in self.series(setting, metric).items()
        }
        return common_frames(series)

    def name(self, label: str) -> str:
        """The name that people read."""
        return self.contestants[label].name

    def family(self, label: str) -> str:
        """The family of a contestant."""
        return self.contestants[label].family


def frame_counts(series: Mapping[Any, Series]) -> list[int]:
    """Every T at which one of the series has a number, ascending."""
    return sorted({frames for one in series.values() for frames in one})


def common_frames(series: Mapping[Any, Series]) -> int:
    """The largest frame count at which every series has a number.

    If there is none (a cell failed), the largest of those that most of the series share. Raises
    ValueError without any number.
    """
    counts = Counter(frames for one in series.values() for frames in one)
    if not counts:
        raise ValueError("no number in any series")
    return max(counts, key=lambda frames: (counts[frames], frames))


def _contestants(named: Sequence[tuple[str, str, str]]) -> dict[str, Contestant]:
    """Every (label, title, family), in that order, with names that differ."""
    first: dict[str, tuple[str, str]] = {}
    for label, title, family in named:
        first.setdefault(label, (title, family))
    titles = Counter(title for title, _ in first.values())
    return {
        label: Contestant(
            label=label,
            name=title if titles[title] == 1 else f"{title} [{label}]",
            family=family,
        )
        for label, (title, family) in first.items()
    }
