"""The records that speak to a test: found by metric, contestant and setting, in one run and grid.

Numbers are set against each other only where they come from the same grid of the same run. Where
nothing fits, what is missing is told with the near names.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pks4.bench.claims import Test
from pks4.bench.plan import split_seed
from pks4.bench.record import Record
from pks4.bench.store import RunFile
from pks4.bench.suite import FAST
from pks4.errors import unknown_name

Seeds = Mapping[int | None, Record]
ByFrames = dict[int, dict[int | None, Record]]


class Missing(Exception):
    """No record answers; the message says which is missing."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """The records of one grid of one run: (label, metric) -> T -> seed -> record."""

    run: str
    grid: str
    series: dict[tuple[str, str], ByFrames] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)  # label -> measure and reason


def groups(runs: Sequence[RunFile], test: Test) -> list[Group]:
    """Every grid of every run that a test may look at, in the order of the runs.

    A fast run shows that a suite runs; it is evidence only for a test that names it.
    """
    found: dict[tuple[str, str], Group] = {}
    for run in runs:
        suite = run.header.suite
        if test.suite != suite and (test.suite is not None or suite.endswith(FAST)):
            continue
        for r in run.records:
            if _fits(r, test):
                key = (run.header.run, r.grid)
                group = found.setdefault(key, Group(run=run.header.run, grid=r.grid))
                if r.status != "ok":
                    group.failures[r.label] = f"{r.measure} {r.status}: {r.reason}"
                    continue
                by_frames = group.series.setdefault((r.label, r.metric), {})
                by_frames.setdefault(r.frames, {})[split_seed(r.cell)[1]] = r
    return list(found.values())


def _fits(record: Record, test: Test) -> bool:
    wanted = {"grid": test.grid, "scale": test.scale, "task": test.task}
    return all(w is None or getattr(record, name) == w for name, w in wanted.items())


def with_all(
    runs: Sequence[RunFile], test: Test, metrics: Sequence[tuple[str, str]]
) -> Iterator[tuple[Group, list[ByFrames]]]:
    """Groups that hold each (contestant, metric), with these; raises Missing where none does."""
    candidates, any_found = groups(runs, test), False
    for group in candidates:
        if all(pair in group.series for pair in metrics):
            any_found = True
            yield group, [group.series[pair] for pair in metrics]
    if not any_found:
        raise Missing(_what(candidates, test, metrics))


def shared_frames(series: Sequence[ByFrames], wanted: int | None) -> int:
    """The wanted T, else the most frames that all have. Raises Missing where there is none."""
    shared = set.intersection(*(set(one) for one in series))
    if wanted is not None and wanted not in shared:
        raise Missing(f"not measured at T = {wanted}; there are: {sorted(shared) or 'none'}")
    if not shared:
        raise Missing("contestants were measured at different T")
    return wanted if wanted is not None else max(shared)


def single(by_seed: Seeds) -> Record:
    """The record of an exact number, which all seeds must share. Raises Missing if they do not."""
    records = list(by_seed.values())
    if len({r.value for r in records}) > 1:
        raise Missing(f"{records[0].metric} of {records[0].label!r} differs between seeds")
    return records[0]


def ids(*records: Record) -> tuple[str, ...]:
    """Where numbers stand: run, cell and metric."""
    return tuple(f"{r.run}:{r.cell}:{r.metric}" for r in records)


def _what(candidates: Sequence[Group], test: Test, metrics: Sequence[tuple[str, str]]) -> str:
    """One line on what no group has."""
    where = _where(test)
    if not candidates:
        return f"no records{where}"
    for label, metric in dict.fromkeys(metrics):
        if any((label, metric) in group.series for group in candidates):
            continue
        failure = next((g.failures[label] for g in candidates if label in g.failures), None)
        if failure:
            return f"no {metric} of {label!r}{where}: {failure}"
        known = {m for group in candidates for _, m in group.series}
        if metric not in known:
            return f"no {metric}{where}: {unknown_name('metric', metric, known)}"
        labels = {one for group in candidates for one, m in group.series if m == metric}
        return f"no {metric} of {label!r}{where}: {unknown_name('contestant', label, labels)}"
    return f"no single grid has all of it{where}; numbers of two runs are not set side by side"


def _where(test: Test) -> str:
    named = {"suite": test.suite, "grid": test.grid, "scale": test.scale, "task": test.task}
    told = [f"{name} {value}" for name, value in named.items() if value]
    return f" in {', '.join(told)}" if told else ""
