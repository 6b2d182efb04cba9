"""The records that a test needs: by metric, contestant and setting, in one grid of one run.

Numbers are compared only within the same grid of the same run. Where records are missing, the
message names them, and the suites that measure them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pks4.bench import units
from pks4.bench.claims.claims import Test
from pks4.bench.contestants import catalogue
from pks4.bench.plan.suite import FAST, Suite, read_suite
from pks4.bench.records.record import Record
from pks4.bench.records.run_file import RunFile
from pks4.bench.view.rows import by_seed
from pks4.bench.view.view import OK
from pks4.errors import unknown_of_many

Seeds = Mapping[int | None, Record]
ByFrames = dict[int, dict[int | None, Record]]


class Missing(Exception):
    """A test lacks records; the message says which.

    `wanted`: each (contestant, metric) that a grid must have, first the one that no record has.
    `known`: the metrics that were there, and the contestant if it was there elsewhere.
    """

    def __init__(
        self, message: str, wanted: Sequence[tuple[str, str]] = (), known: Iterable[str] = ()
    ) -> None:
        super().__init__(message)
        self.wanted, self.known = wanted, frozenset(known)


@dataclass(frozen=True, kw_only=True)
class Group:
    """The records of one grid of one run: (label, metric) -> T -> seed -> record."""

    series: dict[tuple[str, str], ByFrames] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)  # label -> measure and reason


def groups(runs: Sequence[RunFile], test: Test) -> list[Group]:
    """Every grid of every run that a test may use, in the order of the runs.

    A fast run shows that a suite runs; it is evidence only for a test that names it.
    """
    by_grid: dict[tuple[str, str], Group] = {}
    for run in runs:
        suite = run.header.suite
        if test.suite != suite and (test.suite is not None or suite.endswith(FAST)):
            continue
        numbers = []
        for r in run.records:
            if not _fits(r.grid, r.scale, r.task, test):
                continue
            group = by_grid.setdefault((run.header.run, r.grid), Group())
            if r.status != OK:
                group.failures[r.label] = f"{r.measure} {r.status}: {r.reason}"
            elif other := _other_option(r, test):
                group.failures[r.label] = other
            else:
                numbers.append(r)
        index = by_seed(numbers, lambda r: (r.grid, r.label, r.metric, r.frames))
        for (grid, label, metric, frames), seeds in index.items():
            series = by_grid[run.header.run, grid].series
            series.setdefault((label, metric), {})[frames] = seeds
    return list(by_grid.values())


def _fits(grid: str, scale: str, task: str | None, test: Test) -> bool:
    wanted = ((test.grid, grid), (test.scale, scale), (test.task, task))
    return all(value is None or value == there for value, there in wanted)


def _other_option(r: Record, test: Test) -> str:
    """The first option that a test asks of a contestant and its record lacks, in words."""
    for name, value in test.options.get(r.label, {}).items():
        if (found := r.options.get(name, "not stated")) != value:
            return f"{name} is {found}, not {value}, in {r.run}"
    return ""


def with_all(
    runs: Sequence[RunFile], test: Test, metrics: Sequence[tuple[str, str]]
) -> Iterator[list[ByFrames]]:
    """Of each group that has every (contestant, metric), these; raises Missing if none has all."""
    candidates = groups(runs, test)
    complete = [g for g in candidates if all(pair in g.series for pair in metrics)]
    if not complete:
        raise _missing(runs, candidates, test, metrics)
    for group in complete:
        yield [group.series[pair] for pair in metrics]


def shared_frames(series: Sequence[ByFrames], wanted: int | None) -> int:
    """The wanted T, else the most frames that all have. Raises Missing where there is none."""
    shared = set.intersection(*(set(one) for one in series))
    if wanted is not None and wanted not in shared:
        raise Missing(f"not measured at T = {wanted}; there are: {sorted(shared) or 'none'}")
    if not shared:
        raise Missing("contestants were measured at different T")
    return wanted if wanted is not None else max(shared)


def single(seeds: Seeds) -> Record:
    """The record of an exact number. Raises Missing where seeds differ in it."""
    records = list(seeds.values())
    if len({r.value for r in records}) > 1:
        raise Missing(f"{records[0].metric} of {records[0].label!r} differs between seeds")
    return records[0]


def _missing(
    runs: Sequence[RunFile],
    candidates: Sequence[Group],
    test: Test,
    metrics: Sequence[tuple[str, str]],
) -> Missing:
    """What no group has."""
    where = _where(test)
    for label, metric in dict.fromkeys(metrics):
        if any((label, metric) in group.series for group in candidates):
            continue
        failure = next((g.failures[label] for g in candidates if label in g.failures), None)
        if failure:
            return Missing(f"no {metric} of {label!r}{where}: {failure}")
        there = _elsewhere(runs, test, label, metric)
        known = {m for group in candidates for _, m in group.series} | ({label} if there else set())
        wanted = [(label, metric), *metrics]
        only = f", only with {there}" if there else ""
        return Missing(f"these runs hold no {metric} of {label!r}{where}{only}", wanted, known)
    return Missing(f"no single grid has all of it{where}; numbers of two runs are not compared")


def _elsewhere(runs: Sequence[RunFile], test: Test, label: str, metric: str) -> str:
    """Where else the runs hold this number, in the words of what the test asks for."""
    found: dict[str, set[str]] = {}
    for run in runs:
        for r in run.records:
            if (r.label, r.metric, r.status) == (label, metric, OK):
                there = {"suite": run.header.suite, "grid": r.grid, "scale": r.scale}
                for name, value in {**there, "task": r.task or "none"}.items():
                    found.setdefault(name, set()).add(value)
    named = {name: found[name] for name in _asked(test) if name in found}
    return ", ".join(f"{name} {units.listed(sorted(values))}" for name, values in named.items())


def _asked(test: Test) -> dict[str, str]:
    named = {"suite": test.suite, "grid": test.grid, "scale": test.scale, "task": test.task}
    return {name: value for name, value in named.items() if value}


def _where(test: Test) -> str:
    words = ", ".join(f"{name} {value}" for name, value in _asked(test).items())
    return f" ({words})" if words else ""


def lacking(missing: Missing, test: Test, commands: Sequence[str]) -> str:
    """What is missing, and the suites that measure it with all that it is compared with.

    Suites that `commands` run are preferred. Where no suite measures it, the names near to one that
    is unknown.
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
    elif label not in labels | missing.known:
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
