"""A run as its report reads it: who took part, in what setting, and which record holds a number.

Tables, figures and sentences all look numbers up here, so that each of them shows the same record
for the same question and can name it. Two ideas:

* a *setting* is what two contestants must share to be compared: grid, scale, batch, task;
* a *series* is one metric of one contestant in one setting, by the number of frames.

A record that is there twice counts once, the first, as in `records/run_file.py`. Several seeds of
one number are one row, pooled as `pooled_seeds.py` says, that names all of its records. Records
that failed stay in `View.failures`, and never stand in for a number.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import pandas as pd

from pks4.bench.plan.cell import split_seed
from pks4.bench.view import pooled_seeds
from pks4.bench.view.rows import Contestant, Row, Series, Setting

PKS4_FAMILY = "PKS4"
FLOOR_FAMILY = "2D floor"
FAMILIES = (PKS4_FAMILY, "temporal attention", "adapters", "video Mamba", FLOOR_FAMILY)
OK = "ok"
COST_METRICS = ("saved_bytes", "macs_forward")


class View:
    """The records of one run, and the questions that a report asks of them."""

    def __init__(
        self,
        frame: pd.DataFrame,
        header: Mapping[str, Any],
        missing: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Read `frame` (one line a record, columns as in the record schema) and `header`.

        `missing` names, for each cell, the planned measures without all of their records; one that
        failed and is to be tried again is a failure so far.
        """
        records = frame.to_dict("records")
        self.header = header
        failed = {(r["cell"], r["measure"]) for r in records if r["status"] != OK}
        left = [(cell, name) for cell, names in (missing or {}).items() for name in names]
        self.missing = [one for one in left if one not in failed]
        self.rows = tuple(_row(number, record) for number, record in enumerate(records, start=1))
        self.contestants = _contestants([*header.get("cells", []), *records])

    @cached_property
    def _pooled(self) -> list[Row]:
        """One row for each number, in the order of the file."""
        found: dict[tuple[Setting, str, str, int], dict[int | None, Row]] = {}
        for row in self.rows:
            if row.status == OK and row.value is not None:
                same = found.setdefault((row.setting, row.metric, row.label, row.frames), {})
                same.setdefault(split_seed(row.cell)[1], row)
        return [pooled_seeds.pool(list(same.values())) for same in found.values()]

    @cached_property
    def _numbers(self) -> dict[tuple[Setting, str, str], Series]:
        found: dict[tuple[Setting, str, str], Series] = {}
        for row in self._pooled:
            if row.status == OK:
                found.setdefault((row.setting, row.metric, row.label), {})[row.frames] = row
        return found

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
        """Every time of a session whose control failed: its verdict is that there is none."""
        return [row for row in self.rows if row.detail.get("verdict") == "void"]

    def settings(self, metric: str) -> list[Setting]:
        """The settings that hold at least one number of `metric`, in the order of the file."""
        return list(dict.fromkeys(place for place, found, _ in self._numbers if found == metric))

    def series(self, setting: Setting, metric: str) -> dict[str, Series]:
        """label -> frames -> row, contestants in the order of the plan, frames ascending."""
        every = ((name, self._numbers.get((setting, metric, name))) for name in self.contestants)
        return {name: dict(sorted(found.items())) for name, found in every if found}

    def find(self, setting: Setting, metric: str, label: str, frames: int) -> Row | None:
        """The row that holds this number; None when it was not measured."""
        return self._numbers.get((setting, metric, label), {}).get(frames)

    def members(self, row: Row) -> dict[int | None, Row]:
        """The records behind a row by seed, each with a detail of its own: predictions, curves."""
        single = [self.rows[number - 1] for number in row.records] or [row]
        return {split_seed(one.cell)[1]: one for one in single}

    @cached_property
    def reference(self) -> str:
        """PKS4 as the report compares with it: the label `pks4`, else the family's first.

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
    return sorted({frames for found in series.values() for frames in found})


def common_frames(series: Mapping[Any, Series]) -> int:
    """The largest frame count at which every series has a number.

    If there is none (a cell failed), the largest of those that most of the series share. Raises
    ValueError without any number.
    """
    counts: dict[int, int] = {}
    for found in series.values():
        for frames in found:
            counts[frames] = counts.get(frames, 0) + 1
    if not counts:
        raise ValueError("no number in any series")
    return max(counts, key=lambda frames: (counts[frames], frames))


def _contestants(records: list[dict[str, Any]]) -> dict[str, Contestant]:
    """Everyone named in the plan or in a record, in that order, with names that differ."""
    first: dict[str, tuple[str, str]] = {}
    for record in records:
        if {"label", "title", "family"} <= record.keys():
            first.setdefault(record["label"], (record["title"], record["family"]))
    titles = [title for title, _ in first.values()]
    return {
        label: Contestant(
            label=label,
            name=title if titles.count(title) == 1 else f"{title} [{label}]",
            family=family,
        )
        for label, (title, family) in first.items()
    }


def _row(number: int, record: dict[str, Any]) -> Row:
    batch = _plain(record.get("batch"))
    return Row(
        number=number,
        cell=record["cell"],
        label=record["label"],
        setting=Setting(record["grid"], record["scale"], batch, _plain(record.get("task"))),
        frames=int(record["frames"]),
        measure=record["measure"],
        metric=record["metric"],
        status=record["status"],
        reason=_plain(record.get("reason")),
        value=_value(record),
        unit=_plain(record.get("unit")) or "",
        kind=_plain(record.get("kind")) or "",
        options=_plain(record.get("options")) or {},
        evidence=_plain(record.get("evidence")) or {},
        detail=_plain(record.get("detail")) or {},
    )


def _value(record: dict[str, Any]) -> int | float | None:
    """The value as it was recorded: a column with a gap in it turns integers into floats."""
    value = _plain(record.get("value"))
    if record.get("kind") == "exact" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _plain(value: Any) -> Any:
    """The value without pandas' stand-ins for an empty field, and without numpy's types."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    return value.item() if hasattr(value, "item") else value
