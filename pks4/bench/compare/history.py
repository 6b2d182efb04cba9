"""One number over runs and commits: in order of time, a series for each cell.

No machine and no version of PyTorch should change an exact number, so that its series runs over all
of them; others have one for each kind of machine. Absolute times have no history: seconds of two
sessions are not set side by side, their ratios to the reference contestant are. Change points are a
library's (ruptures, PELT), asked for where it is installed and there are enough runs. They are
advice on where to look: `compare` is what judges. How it is shown is in `history_print`.

Histories for people: a row a cell, or every run of it.

What all rows share is told once above them, and a column in which no row says anything is left out.
A dash stands where a series is too short to tell.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pks4.bench import units
from pks4.bench.plan.cell import split_seed
from pks4.bench.records import run_file
from pks4.bench.records.accepted import environment_class
from pks4.bench.records.record import Record
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
    void: bool = False  # a time of a session whose control failed
    turns: bool = False  # a change point of the series: something began here


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


def collect(
    folders: Sequence[Path], metric: str, *, suite: str = "", label: str = "", cell: str = ""
) -> tuple[list[Series], list[str]]:
    """The histories of a metric in these folders by suite, and what there is to note.

    `suite`, `label` and `cell` (without its seed) narrow what is looked at. Raises UserError where
    no run has it, with the near names.
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
    found: dict[tuple[str, ...], dict[str, list[Record]]] = {}
    seen: set[str] = set()
    for run in runs:
        place = {cell.id: number for number, cell in enumerate(run.header.cells)}
        for r in sorted(run.records, key=lambda r: place.get(r.cell, len(place))):
            if r.status == "ok" and label in ("", r.label):
                seen.add(r.metric)
                if r.metric == metric:
                    found.setdefault(_key(run, r), {}).setdefault(run.header.run, []).append(r)
    if metric not in seen:
        where = f" of {label!r}" if label else ""
        raise UserError(f"no run has it: {unknown_name(f'metric{where}', metric, seen)}")
    cells = dict.fromkeys(key[1] for key in found)
    if cell and cell not in cells:
        raise UserError(unknown_of_many("cell", cell, cells, f"pks4-bench history {metric}"))
    if any(key[2:4] == ("noisy", "s") for key in found):
        ratio = f"{metric.removesuffix('_seconds')}_ratio"
        ask = f"; ask for {ratio}" if ratio in seen else ""
        raise UserError(f"{metric}: seconds of different sessions have no history{ask}")
    order = list(dict.fromkeys(key[:2] for key in found))  # a cell's machines beside each other
    keys = sorted(found, key=lambda key: order.index(key[:2]))
    series = [_series(key, metric, found[key]) for key in keys if cell in ("", key[1])]
    if not _has_ruptures() and any(len(one.points) >= LEAST_POINTS for one in series):
        notes.append(WITHOUT)
    return [_with_turns(one) for one in series], notes


def _key(run: run_file.RunFile, r: Record) -> tuple[str, ...]:
    """What the points of a series share: suite, cell, kind, unit, kind of machine."""
    where = "" if r.kind == "exact" else environment_class(r)
    return run.header.suite, split_seed(r.cell)[0], r.kind or "", r.unit or "", where


def document(series: Series) -> dict[str, Any]:
    """The series as JSON has it."""
    return asdict(series)


def _runs(folders: Sequence[Path], notes: list[str]) -> Iterator[run_file.RunFile]:
    """Every run once, by name; files that are none are told of."""
    names: set[str] = set()
    for folder in folders:
        for path in run_file.runs(folder):
            try:
                run = run_file.read(path)
            except UserError as error:
                notes.append(f"left out: {error}")
                continue
            notes.extend(run.torn)
            if run.header.run not in names:
                names.add(run.header.run)
                yield run


def _series(key: tuple[str, ...], metric: str, runs: dict[str, list[Record]]) -> Series:
    suite, cell, kind, unit, where = key
    points = sorted((_point(name, rs) for name, rs in runs.items()), key=lambda p: p.created)
    return Series(
        suite=suite, cell=cell, metric=metric, kind=kind, unit=unit,
        environment_class=where or None, points=tuple(points),
    )  # fmt: skip


def _point(run: str, records: Sequence[Record]) -> Point:
    first = records[0]
    values = [r.value for r in records if r.value is not None]
    return Point(
        created=first.created, commit=first.commit, dirty=first.dirty, run=run,
        value=values[0] if len(set(values)) == 1 else float(np.mean(values)),
        environment_class=environment_class(first), rule=str(first.evidence.get("rule", "")),
        void=any(r.void for r in records),
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
        "change points": [_turns(one) for one in every],
        "machine": [", ".join(p for p in own if p not in machine) for own in machines],
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
    return ", ".join(part for part, told in parts.items() if told)


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
    """From the first run to the last; also that the rule of counting or measuring did."""
    values = [p.value for p in one.points]
    if len(values) == 1:
        return units.MISSING
    told = _difference(one, values[0], values[-1]) or "none"
    if told == "none" and len(set(values)) > 1:
        told = "none, but between"
    rules = _changed(one.points[0].rule, one.points[-1].rule)
    return f"{told}, rule {rules}" if rules else told


def _difference(one: Series, before: float, after: float) -> str:
    """Empty where they are equal."""
    if after == before:
        return ""
    if _is_share(one):
        return f"{units.points(after - before)} points"
    share = f" ({100 * (after / before - 1):+.2f} %)" if before else ""
    change = after - before
    return (f"{change:+,}" if isinstance(change, int) else f"{change:+.4g}") + share


def _turns(one: Series) -> str:
    """When something began, by the day and the commit of the run."""
    if len(one.points) < LEAST_POINTS:
        return units.MISSING
    turns = [f"{p.created[:10]} {(p.commit or 'none')[:7]}" for p in one.points if p.turns]
    return ", ".join(turns) or "none"


def _remarks(before: Point | None, p: Point) -> str:
    """What to know of a run: where the rule or the machine is another than in the run before."""
    told = ["change point"] * p.turns + ["void session"] * p.void
    if before and before.rule != p.rule:
        told.append(f"rule {_changed(before.rule, p.rule)}")
    if before and before.environment_class != p.environment_class:
        old, new = _parts(before.environment_class), _parts(p.environment_class)
        gone, come = ([x for x in a if x not in b] for a, b in ((old, new), (new, old)))
        told.append(_changed(", ".join(gone), ", ".join(come)))
    return "; ".join(told)


def _changed(before: str, after: str) -> str:
    """Empty where nothing did."""
    return "" if before == after else f"{before or 'none'} → {after or 'none'}"


def _is_share(one: Series) -> bool:
    return one.kind == "sampled" and one.unit == "1"
