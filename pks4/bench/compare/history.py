"""One number over runs and commits: in order of time, a series for each cell.

No machine and no version of PyTorch should change an exact number, so its series runs over all of
them; other numbers have a series for each kind of machine. Absolute times have no history, since
seconds of two sessions are never compared; their ratios to the baseline have one. Change points
come from a library (ruptures, PELT), if it is installed and there are enough runs. They advise
where to look; `compare` is what judges.

For people a history is a table: a row for each cell, or for every run of a cell. What all rows
share is in the title. A dash means that a series is too short.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pks4.bench import units
from pks4.bench.plan.cell import split_seed
from pks4.bench.records import run_file
from pks4.bench.records.accepted import environment_class
from pks4.bench.records.record import Record
from pks4.bench.records.same_case import differences
from pks4.bench.view.rows import by_seed
from pks4.bench.view.view import OK
from pks4.errors import UserError, unknown_name, unknown_of_many

LEAST_POINTS = 6  # for change points; fewer have no segments to speak of
WITHOUT = "change points need the package ruptures: pip install 'pks4-bench[history]'"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One run's value: the mean over its seeds."""

    created: str
    commit: str | None
    dirty: bool | None
    run: str
    value: int | float
    environment_class: str
    rule: str  # how it was counted or measured; empty where its record has none
    options: dict[str, Any]  # of the contestant
    void: bool = False  # a time of a session whose control failed
    is_change_point: bool = False  # the first of a new segment of the series


@dataclass(frozen=True, kw_only=True)
class Series:
    """Values of one number, the oldest first: of an exact one on all kinds of machine."""

    suite: str
    cell: str
    metric: str
    kind: str
    unit: str
    environment_class: str | None  # None: exact, so that points may be of several
    points: tuple[Point, ...]


class _Key(NamedTuple):
    """What the points of a series share."""

    suite: str
    cell: str
    kind: str
    unit: str
    environment_class: str  # empty for an exact number


def collect(
    folders: Sequence[Path], metric: str, *, suite: str = "", label: str = "", cell: str = ""
) -> tuple[list[Series], list[str]]:
    """The histories of a metric in these folders by suite, and what there is to note.

    `suite`, `label` and `cell` (without its seed) narrow them. Raises UserError where no run has
    the metric, with the near names.
    """
    notes: list[str] = []
    runs = sorted(_runs(folders, notes), key=lambda run: (run.header.suite, run.header.created))
    suites = {run.header.suite for run in runs}
    if suite and suite not in suites:
        raise UserError(unknown_name("suite among these runs", suite, suites))
    runs = [run for run in runs if suite in ("", run.header.suite)]
    labels = {r.label for run in runs for r in run.records}
    if label and label not in labels:
        raise UserError(unknown_name("contestant of these runs", label, labels))
    found: dict[_Key, dict[str, list[Record]]] = {}
    metrics: set[str] = set()
    for run in runs:
        records = [r for r in _as_planned(run) if r.status == OK and label in ("", r.label)]
        metrics |= {r.metric for r in records}
        index = by_seed((r for r in records if r.metric == metric), partial(_key, run))
        for key, seeds in index.items():
            found.setdefault(key, {})[run.header.run] = [*seeds.values()]
    if metric not in metrics:
        where = f" of {label!r}" if label else ""
        raise UserError(f"no run has it: {unknown_name(f'metric{where}', metric, metrics)}")
    cells = dict.fromkeys(key.cell for key in found)
    if cell and cell not in cells:
        raise UserError(unknown_of_many("cell", cell, cells, f"pks4-bench history {metric}"))
    if any((key.kind, key.unit) == ("noisy", "s") for key in found):
        ratio = f"{metric.removesuffix('_seconds')}_ratio"
        ask = f"; ask for {ratio}" if ratio in metrics else ""
        raise UserError(f"{metric}: seconds of different sessions have no history{ask}")
    order = list(dict.fromkeys(key[:2] for key in found))  # a cell's machines one after the other
    keys = sorted(found, key=lambda key: order.index(key[:2]))
    series = [_series(key, metric, found[key]) for key in keys if cell in ("", key.cell)]
    if not _has_ruptures() and any(len(one.points) >= LEAST_POINTS for one in series):
        notes.append(WITHOUT)
    return [_with_change_points(one) for one in series], notes


def _key(run: run_file.RunFile, r: Record) -> _Key:
    machine = "" if r.kind == "exact" else environment_class(r)
    return _Key(run.header.suite, split_seed(r.cell)[0], r.kind or "", r.unit or "", machine)


def document(series: Series) -> dict[str, Any]:
    """The series as JSON has it."""
    return asdict(series)


def _runs(folders: Sequence[Path], notes: list[str]) -> Iterator[run_file.RunFile]:
    """Every run once, by name; `notes` names the files that are none."""
    names: set[str] = set()
    for path in (path for folder in folders for path in run_file.runs(folder)):
        try:
            run = run_file.read(path)
        except UserError as error:
            notes.append(f"left out: {error}")
            continue
        notes.extend(run.torn)
        if run.header.run not in names:
            names.add(run.header.run)
            yield run


def _as_planned(run: run_file.RunFile) -> list[Record]:
    """The records in the order of the plan's cells."""
    place = {cell.id: number for number, cell in enumerate(run.header.cells)}
    return sorted(run.records, key=lambda r: place.get(r.cell, len(place)))


def _series(key: _Key, metric: str, runs: dict[str, list[Record]]) -> Series:
    points = sorted(
        (_point(name, records) for name, records in runs.items()), key=lambda p: p.created
    )
    shared = key._asdict() | {"environment_class": key.environment_class or None}
    return Series(**shared, metric=metric, points=tuple(points))


def _point(run: str, records: Sequence[Record]) -> Point:
    first = records[0]
    values = [r.value for r in records if r.value is not None]
    return Point(
        created=first.created, commit=first.commit, dirty=first.dirty, run=run,
        value=values[0] if len(set(values)) == 1 else float(np.mean(values)),
        environment_class=environment_class(first), rule=str(first.evidence.get("rule", "")),
        options=first.options, void=any(r.void for r in records),
    )  # fmt: skip


def _has_ruptures() -> bool:
    return find_spec("ruptures") is not None


def _with_change_points(series: Series) -> Series:
    """The series with its change points marked, if ruptures is installed."""
    values = np.array([p.value for p in series.points], dtype=float)
    if len(values) < LEAST_POINTS or not _has_ruptures() or np.ptp(values) == 0:
        return series
    import ruptures

    # The noise is that of steps between neighbours, at any level; half of the steps may be 0.
    noise = float(np.median(np.abs(np.diff(values)))) / 0.9539 or float(np.ptp(values)) / 100
    scaled = values / noise
    penalty = 3 * np.log(len(values))  # BIC of a mean that changes, once more for a small sample
    ends = ruptures.Pelt(model="l2", min_size=2, jump=1).fit(scaled).predict(pen=penalty)
    marked = (replace(p, is_change_point=i in ends) for i, p in enumerate(series.points))
    return replace(series, points=tuple(marked))


Rows = list[tuple[str, ...]]
LONG = ("created", "commit", "run", "value", "change", "note")
REMARK = (
    f"Change points take {LEAST_POINTS} runs or more and are advice on where to look; "
    "pks4-bench compare is what judges."
)


def table(every: Sequence[Series]) -> tuple[str, tuple[str, ...], Rows]:
    """A line on what all series share, the columns that tell them apart, and a row for each."""
    machines = [_parts(one.environment_class) for one in every]
    machine = [part for part in machines[0] if all(part in other for other in machines)]
    suites = {one.suite for one in every}
    columns = {
        "suite": [one.suite if len(suites) > 1 else "" for one in every],
        "cell": [one.cell for one in every],
        "runs": [str(len(one.points)) for one in every],
        "first → last": [_span(one) for one in every],
        "change": [_change(one) for one in every],
        "change points": [_change_points(one) for one in every],
        "machine": [", ".join(p for p in parts if p not in machine) for parts in machines],
    }
    shown = {name: column for name, column in columns.items() if set(column) - {"", units.MISSING}}
    exact = all(one.kind == "exact" for one in every)
    suite = every[0].suite if len(suites) == 1 else ""
    title = _title(every[0].metric, suite, exact, ", ".join(machine))
    return title, tuple(shown), list(zip(*shown.values(), strict=True))


def run_by_run(one: Series) -> tuple[str, tuple[str, ...], Rows]:
    """A line on a series, `LONG`, and a row a run, with the change since the run before."""
    before: Point | None = None
    rows: Rows = []
    for p in one.points:
        commit = (p.commit or "none")[:7] + (" with changes" if p.dirty else "")
        change = _difference(one, before.value, p.value) if before else ""
        whole = isinstance(p.value, int)
        value = units.in_full(p.value, one.unit) if whole else _short(one, p.value)
        rows.append((p.created, commit, p.run, value, change, _remarks(before, p)))
        before = p
    title = _title(one.metric, one.suite, one.kind == "exact", one.environment_class or "")
    return f"{one.cell} {title}", LONG, rows


def _title(metric: str, suite: str, exact: bool, machine: str) -> str:
    parts = {
        metric: True,
        f"suite {suite}": suite,
        "exact: one series for all machines": exact,
        f"on {machine}": machine,
    }
    return ", ".join(part for part, shown in parts.items() if shown)


def _parts(environment_class: str | None) -> list[str]:
    return (environment_class or "").split(", ")


def _span(one: Series) -> str:
    return " → ".join(
        _short(one, value) for value in dict.fromkeys((one.points[0].value, one.points[-1].value))
    )


def _short(one: Series, value: float) -> str:
    if one.unit in ("B", "MAC"):
        return units.quantity(value, one.unit)
    if _is_share(one):
        return units.percent(value)
    return units.short(value, one.unit)


def _change(one: Series) -> str:
    """From the first run to the last, of the value, of the rule and of the options."""
    values = [p.value for p in one.points]
    if len(values) == 1:
        return units.MISSING
    change = _difference(one, values[0], values[-1]) or "none"
    if change == "none" and len(set(values)) > 1:
        change = "none, but between"
    return ", ".join([change, *_another_case(one.points[0], one.points[-1])])


def _difference(one: Series, before: float, after: float) -> str:
    """Empty where they are equal."""
    if after == before:
        return ""
    if _is_share(one):
        return f"{units.points(after - before)} points"
    share = f" ({100 * (after / before - 1):+.2f} %)" if before else ""
    change = after - before
    return (f"{change:+,}" if isinstance(change, int) else f"{change:+.4g}") + share


def _change_points(one: Series) -> str:
    """Each by the day and the commit of its run."""
    if len(one.points) < LEAST_POINTS:
        return units.MISSING
    changed = [p for p in one.points if p.is_change_point]
    return ", ".join(f"{p.created[:10]} {(p.commit or 'none')[:7]}" for p in changed) or "none"


def _remarks(before: Point | None, p: Point) -> str:
    """What to know of a run: change point, void session, what is not as it was before."""
    remarks = ["change point"] * p.is_change_point + ["void session"] * p.void
    remarks += _another_case(before, p) if before else []
    if before and before.environment_class != p.environment_class:
        old, new = _parts(before.environment_class), _parts(p.environment_class)
        gone, come = ([x for x in a if x not in b] for a, b in ((old, new), (new, old)))
        remarks.append(_changed(", ".join(gone), ", ".join(come)))
    return "; ".join(remarks)


def _another_case(before: Point, after: Point) -> list[str]:
    """The rule and the options that changed, each in words."""
    rule = _changed(before.rule, after.rule)
    return [*([f"rule {rule}"] if rule else []), *differences(before.options, after.options)]


def _changed(before: str, after: str) -> str:
    """Empty where nothing did."""
    return "" if before == after else f"{before or 'none'} → {after or 'none'}"


def _is_share(one: Series) -> bool:
    return one.kind == "sampled" and one.unit == "1"
