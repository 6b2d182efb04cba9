"""One number over runs and commits: in order of time, a series for each cell and kind of machine.

Absolute times have no history: seconds of two sessions are not set side by side, their ratios to
the reference contestant are. Change points are a library's (ruptures, PELT), asked for where it is
installed and there are enough runs. They are advice on where to look: `compare` is what judges.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pks4.bench import store, units
from pks4.bench.accept import environment_class
from pks4.bench.plan import split_seed
from pks4.errors import UserError, unknown_name

COLUMNS = ("created", "commit", "run", "value", "change", "")
LEAST_POINTS = 6  # for change points; fewer have no segments to speak of
REMARK = "A change point is advice on where to look; pks4-bench compare is what judges."
WITHOUT = "change points need the package ruptures: pip install 'pks4-bench[history]'"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One run's value: the mean over its seeds."""

    created: str
    commit: str | None
    dirty: bool | None
    run: str
    value: int | float
    turns: bool = False  # a change point of the series: something began here


@dataclass(frozen=True, kw_only=True)
class Series:
    """Values of one number on one kind of machine, the oldest first."""

    suite: str
    cell: str
    metric: str
    unit: str
    environment_class: str
    points: tuple[Point, ...]


def collect(
    folders: Sequence[Path], metric: str, *, suite: str = "", label: str = ""
) -> tuple[list[Series], list[str]]:
    """The histories of a metric in these folders, and what there is to note.

    Raises UserError where no run has it, with the near names.
    """
    found: dict[tuple[str, ...], dict[str, list[Any]]] = {}
    seen: set[str] = set()
    notes: list[str] = []
    runs = list(_runs(folders, notes))
    suites = {run.header.suite for run in runs}
    if suite and suite not in suites:
        raise UserError(unknown_name("suite among these runs", suite, suites))
    for run in (run for run in runs if suite in ("", run.header.suite)):
        for r in run.records:
            if r.status != "ok" or (label and r.label != label):
                continue
            seen.add(r.metric)
            if r.metric == metric:
                key = (run.header.suite, split_seed(r.cell)[0], r.unit or "", environment_class(r))
                found.setdefault(key, {}).setdefault(run.header.run, []).append(r)
    if metric not in seen:
        where = f" of {label!r}" if label else ""
        raise UserError(f"no run has it: {unknown_name(f'metric{where}', metric, seen)}")
    records = [r for by_run in found.values() for rs in by_run.values() for r in rs]
    if any(r.kind == "noisy" and r.unit == "s" for r in records):
        raise UserError(
            f"{metric}: seconds of different sessions have no history; ask for the ratio, such as "
            f"{metric.removesuffix('_seconds')}_ratio"
        )
    series = [_series(key, metric, by_run) for key, by_run in found.items()]
    if not _has_ruptures() and any(len(one.points) >= LEAST_POINTS for one in series):
        notes.append(WITHOUT)
    return [_with_turns(one) for one in series], notes


def rows(series: Series) -> list[tuple[str, ...]]:
    """Rows under `COLUMNS`; the change is against the run before."""
    found: list[tuple[str, ...]] = []
    before: int | float | None = None
    for p in series.points:
        change = ""
        if before is not None and p.value != before:
            share = f" ({100 * (p.value / before - 1):+.2f} %)" if before else ""
            change = f"{p.value - before:+,.6g}{share}"
        found.append((
            p.created, (p.commit or "none")[:7] + (" with changes" if p.dirty else ""), p.run,
            _shown(p.value, series.unit), change, "change point" if p.turns else "",
        ))  # fmt: skip
        before = p.value
    return found


def document(series: Series) -> dict[str, Any]:
    """The series as JSON has it."""
    return asdict(series)


def _runs(folders: Sequence[Path], notes: list[str]) -> Iterator[store.RunFile]:
    """Every run once, by name; files that are none are told of."""
    names: set[str] = set()
    for folder in folders:
        for path in store.runs(folder):
            try:
                run = store.read(path)
            except UserError as error:
                notes.append(f"left out: {error}")
                continue
            notes.extend(run.torn)
            if run.header.run not in names:
                names.add(run.header.run)
                yield run


def _series(key: tuple[str, ...], metric: str, runs: dict[str, list[Any]]) -> Series:
    suite, cell, unit, where = key
    points = [
        Point(
            created=rs[0].created, commit=rs[0].commit, dirty=rs[0].dirty, run=name,
            value=rs[0].value if len(rs) == 1 else float(np.mean([r.value for r in rs])),
        )
        for name, rs in runs.items()
    ]  # fmt: skip
    points.sort(key=lambda p: p.created)
    return Series(
        suite=suite, cell=cell, metric=metric, unit=unit, environment_class=where,
        points=tuple(points),
    )  # fmt: skip


def _has_ruptures() -> bool:
    from importlib.util import find_spec

    return find_spec("ruptures") is not None


def _with_turns(series: Series) -> Series:
    """The series with its change points marked, where they can be asked for."""
    values = np.array([p.value for p in series.points], dtype=float)
    if len(values) < LEAST_POINTS or not _has_ruptures() or np.ptp(values) == 0:
        return series
    import ruptures

    # Steps of neighbours tell the noise, whatever the level; half of all runs may be without any.
    noise = float(np.median(np.abs(np.diff(values)))) / 0.9539 or float(np.ptp(values)) / 100
    scaled = values / noise
    penalty = 3 * np.log(len(values))  # BIC of a mean that changes, once more for a small sample
    ends = ruptures.Pelt(model="l2", min_size=2, jump=1).fit(scaled).predict(pen=penalty)
    marked = tuple(Point(**{**asdict(p), "turns": i in ends}) for i, p in enumerate(series.points))
    return Series(**{**vars(series), "points": marked})


def _shown(value: int | float, unit: str) -> str:
    if unit in ("B", "MAC", "s"):
        return f"{value:,} ({units.quantity(value, unit)})"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
