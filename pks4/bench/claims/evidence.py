"""The records that speak to a test: found by metric, contestant and setting, in one run and grid.

Numbers are set against each other only where they come from the same grid of the same run. What is
missing is told as such, with the suites that measure it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pks4.bench import units
from pks4.bench.claims.claims import Test
from pks4.bench.contestants import catalogue
from pks4.bench.plan.cell import split_seed
from pks4.bench.plan.suite import FAST, Suite, read_suite
from pks4.bench.records.record import Record
from pks4.bench.records.run_file import RunFile
from pks4.errors import unknown_of_many

Seeds = Mapping[int | None, Record]
ByFrames = dict[int, dict[int | None, Record]]


class Missing(Exception):
    """No record answers; the message says which is missing.

    `wanted`: each (contestant, metric) that a grid would need, first the one that no record has.
    `known`: metrics of those looked at.
    """

    def __init__(
        self, message: str, wanted: Sequence[tuple[str, str]] = (), known: Iterable[str] = ()
    ) -> None:
        super().__init__(message)
        self.wanted, self.known = wanted, frozenset(known)


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
            if _fits(r.grid, r.scale, r.task, test):
                key = (run.header.run, r.grid)
                group = found.setdefault(key, Group(run=run.header.run, grid=r.grid))
                if r.status != "ok":
                    group.failures[r.label] = f"{r.measure} {r.status}: {r.reason}"
                    continue
                by_frames = group.series.setdefault((r.label, r.metric), {})
                by_frames.setdefault(r.frames, {})[split_seed(r.cell)[1]] = r
    return list(found.values())


def _fits(grid: str, scale: str, task: str | None, test: Test) -> bool:
    wanted = ((test.grid, grid), (test.scale, scale), (test.task, task))
    return all(w is None or w == there for w, there in wanted)


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
        raise _missing(candidates, test, metrics)


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


def _missing(
    candidates: Sequence[Group], test: Test, metrics: Sequence[tuple[str, str]]
) -> Missing:
    """What no group has."""
    where = _where(test)
    for label, metric in dict.fromkeys(metrics):
        if any((label, metric) in group.series for group in candidates):
            continue
        failure = next((g.failures[label] for g in candidates if label in g.failures), None)
        if failure:
            return Missing(f"no {metric} of {label!r}{where}: {failure}")
        known = {m for group in candidates for _, m in group.series}
        wanted = [(label, metric), *metrics]
        return Missing(f"these runs hold no {metric} of {label!r}{where}", wanted, known)
    return Missing(
        f"no single grid has all of it{where}; numbers of two runs are not set side by side"
    )


def _where(test: Test) -> str:
    named = {"suite": test.suite, "grid": test.grid, "scale": test.scale, "task": test.task}
    told = [f"{name} {value}" for name, value in named.items() if value]
    return f" ({', '.join(told)})" if told else ""


def lacking(missing: Missing, test: Test, commands: Sequence[str]) -> str:
    """What is missing, and the suites that measure it with all that is to be set beside it.

    Those that `commands` run come before others. Where no suite does, the names that are near to
    one which nothing knows.
    """
    if not missing.wanted:
        return str(missing)
    label, metric = missing.wanted[0]
    known = {name: _suite(path) for name, path in catalogue.suites().items()}
    found = [name for name, suite in known.items() if _measures(suite, test, missing.wanted)]
    found = [n for n in found if any(n in command.split() for command in commands)] or found
    if found:
        suites = "suite {} measures" if len(found) == 1 else "suites {} measure"
        return f"{missing}; {suites.format(units.listed(found))} it"
    metrics = _metrics(catalogue.measures()) | missing.known
    labels = {contestant.label for suite in known.values() for contestant in suite.contestants}
    hint = ""
    if metric not in metrics:
        hint = unknown_of_many("metric", metric, sorted(metrics), "pks4-bench list measures")
    elif label not in labels:
        hint = unknown_of_many("contestant", label, sorted(labels), "the folder suites")
    return "; ".join(filter(None, [f"{missing}; no suite here measures it", hint]))


@cache
def _suite(path: Path) -> Suite:
    return read_suite(path)[0]


def _measures(suite: Suite, test: Test, wanted: Sequence[tuple[str, str]]) -> bool:
    """Whether a grid of a suite gives all these numbers where a test looks for them."""
    labels = {contestant.label for contestant in suite.contestants}
    return test.suite in (None, suite.name) and any(
        _fits(grid.name, grid.scale, grid.task, test)
        and {label for label, _ in wanted} <= set(grid.contestants or labels)
        and {metric for _, metric in wanted} <= _metrics(grid.measures)
        for grid in suite.grids
    )


def _metrics(measures: Iterable[str]) -> set[str]:
    known = catalogue.measures()
    return {m for name in measures if name in known for m in known[name].facts.get("METRICS", ())}
