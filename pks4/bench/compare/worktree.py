"""Measure two revisions in one session, alternating cell by cell.

BASE is a revision in a git worktree in a temporary folder, HEAD is the code here. Each child
imports only the code of its arm, which is checked. For each cell, in each round, a child of each
arm runs, in random order; a measure of times takes one process each round. So process i of BASE and
process i of HEAD run one after the other and are paired, each by its ratio to the baseline timed in
the same process by the same code. Everything that is not a time is measured once an arm, in the
first round. `joined` makes one measurement of the rounds of a cell.
"""

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pks4.bench.compare.compare import Comparison
from pks4.bench.compare.remeasure import alarmed
from pks4.bench.contestants import catalogue
from pks4.bench.plan.cell import Cell
from pks4.bench.process import device_lock
from pks4.bench.process.child import Child
from pks4.bench.records import run_file
from pks4.bench.records.record import Provenance, RunHeader, records_of, stamp
from pks4.bench.records.run_file import RunFile
from pks4.bench.stats import paired_times
from pks4.bench.stats.paired_times import RATIO, SECONDS
from pks4.errors import UserError

# Lists of a time's details that grow by what each round adds.
GROWING = (
    "samples_seconds", "cpu_seconds", "reference_seconds", "again_seconds", "rounds_by_process",
    "device_seconds", "roofline",
)  # fmt: skip


def joined(rounds: Sequence[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Measure -> one event; a measure that failed in any round has failed."""
    found: dict[str, dict[str, Any]] = {}
    for measure in dict.fromkeys(name for one in rounds for name in one):
        events = [one[measure] for one in rounds if measure in one]
        failed = next((e for e in events if e["event"] == "failed"), None)
        found[measure] = failed or _joined(events)
    return found


def _joined(events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if len(events) == 1:
        return dict(events[0])
    first = events[0]
    readings = {r["metric"]: _reading([_of(e, r["metric"]) for e in events])
                for r in first["readings"]}  # fmt: skip
    for metric, reading in readings.items():
        seconds = readings.get(metric.removesuffix(RATIO) + SECONDS)
        if metric.endswith(RATIO) and seconds is not None:
            _restate(reading, seconds)
    return {
        **first,
        "readings": list(readings.values()),
        "seconds": sum(e["seconds"] for e in events),
    }


def _of(event: dict[str, Any], metric: str) -> dict[str, Any]:
    return next(r for r in event["readings"] if r["metric"] == metric)


def _reading(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The readings of one metric as one: lists joined, the value their median."""
    first = rounds[0]
    detail = dict(first["detail"])
    for name in GROWING:
        if name in detail:
            detail[name] = [x for one in rounds for x in one["detail"][name]]
    if "samples_seconds" in detail:
        cpu, wall = np.array(detail["cpu_seconds"]), np.array(detail["samples_seconds"])
        detail["cpu_per_wall"] = float(np.median(cpu / wall))
        value = float(np.median(wall))
    else:
        value = float(np.median([one["value"] for one in rounds]))
    evidence = {**first["evidence"], "processes": len(rounds)}
    return {**first, "value": value, "detail": detail, "evidence": evidence}


def _restate(ratio: dict[str, Any], seconds: dict[str, Any]) -> None:
    """Computes the ratio and its intervals again, from the samples of all rounds."""
    detail = ratio["detail"]
    found = paired_times.compare(
        *(np.array(x) for x in (
            seconds["detail"]["samples_seconds"], detail["reference_seconds"],
            detail["again_seconds"],
        ))
    )  # fmt: skip
    ratio["value"] = found.value
    detail |= {
        "interval": found.interval,
        "aa_ratio": found.control.value,
        "aa_interval": found.control.interval,
        "least_effect": found.least_effect,
        "verdict": found.verdict,
    }


ROUNDS = 3
TIMED = ("time", "scan")  # measures that are taken in rounds
_ASK = "import json, pks4; from pks4.bench.environment import provenance as p; " \
    "print(json.dumps([pks4.__file__, p().model_dump()]))"  # fmt: skip
_CLI = "from pks4.cli import main; main()"


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A revision: its name, where its code lies, what it says of itself, and its plan."""

    name: str
    root: Path
    source: Provenance
    cells: dict[str, Cell]

    def only(self, comparison: Comparison) -> "Arm":
        """The arm with those cells and measures that alarmed."""
        cells = alarmed(comparison, self.cells.values())
        return replace(self, cells={cell.id: cell for cell in cells})


@contextmanager
def worktree(revision: str) -> Iterator[Path]:
    """The checkout at a revision, in a temporary folder that goes away."""
    top = catalogue.root()
    if not catalogue.is_checkout():
        raise UserError("--worktree needs a git checkout of pks4-bench; clone it and run there")
    sha = _git(
        top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
    )
    with tempfile.TemporaryDirectory(prefix="pks4-worktree-") as folder:
        place = Path(folder) / "base"
        _git(top, "worktree", "add", "--detach", str(place), sha)
        try:
            yield place
        finally:
            _git(top, "worktree", "remove", "--force", str(place))


def arm(name: str, root: Path, suite: Path) -> Arm:
    """An arm: the provenance that its code states, and its plan of the suite's file."""
    file, source = json.loads(_python(name, root, "-c", _ASK))
    imported = Path(file).resolve()
    if not imported.is_relative_to(root.resolve()):
        raise UserError(f"{name}: {imported} was imported, which is not its code under {root}")
    cells = json.loads(_python(name, root, "-c", _CLI, "plan", str(suite.resolve()), "--json"))
    known = [Cell.model_validate(cell) for cell in cells]
    return Arm(
        name=name, root=root, source=Provenance.model_validate(source),
        cells={c.id: c for c in known},
    )  # fmt: skip


def measure(
    arms: tuple[Arm, Arm],
    suite: tuple[str, str],  # name, text
    folder: Path,
    progress: Callable[[str], None],
    rounds: int = ROUNDS,
) -> tuple[RunFile, RunFile]:
    """Run every cell of both arms, alternating; both runs are written as they come."""
    now = datetime.now(UTC)
    paths = []
    for one in arms:
        name = f"{one.name.lower()}-{suite[0]}-{now:%Y%m%d-%H%M%S}-{(one.source.commit or '')[:7]}"
        header = RunHeader(
            run=name, suite=suite[0], suite_text=suite[1], created=stamp(now),
            cells=list(one.cells.values()), **one.source.model_dump(),
        )  # fmt: skip
        paths.append(run_file.begin(folder, header)[0])
    order = random.Random(0)
    for cell in dict.fromkeys([*arms[0].cells, *arms[1].cells]):
        progress(cell)
        results: dict[str, list[dict[str, Any]]] = {one.name: [] for one in arms}
        with _turn(arms, cell, progress):
            for number in range(rounds):
                for one in order.sample(arms, len(arms)):
                    if cell in one.cells and _measures(one.cells[cell], number):
                        results[one.name].append(_round(one, one.cells[cell], number))
        for one, path in zip(arms, paths, strict=True):
            if results[one.name]:
                _write(path, one, one.cells[cell], joined(results[one.name]))
    return run_file.read(paths[0]), run_file.read(paths[1])


@contextmanager
def _turn(arms: tuple[Arm, Arm], cell: str, progress: Callable[[str], None]) -> Iterator[None]:
    """Hold the cell's devices for all its rounds, if it must be alone."""
    alone = [one.cells[cell] for one in arms if cell in one.cells and one.cells[cell].alone]
    with contextlib.ExitStack() as held:
        if alone:
            message = f"{cell}: waiting for another run's timing on this"
            held.enter_context(
                device_lock.exclusive(alone[0], lambda device: progress(f"{message} {device}"))
            )
        yield


def _measures(cell: Cell, number: int) -> list[str]:
    """What a cell's child measures in this round."""
    return [m for m in cell.measures if number == 0 or m in TIMED]


def _round(one: Arm, cell: Cell, number: int) -> dict[str, Any]:
    """Measure -> its last event, from one child of one arm."""
    measures = _measures(cell, number)
    settings = {
        m: {**values, "processes": 1} if m in TIMED else values
        for m, values in cell.settings.items()
    }
    plain = cell.model_copy(update={"settings": settings, "measures": measures})
    job = {"cell": plain.model_dump(), "measures": measures, "threads": 1}
    with Child(
        "pks4.bench.worker", job, limit=cell.time_limit_seconds,
        environment=_environment(one.root), folder=one.root,
    ) as child:  # fmt: skip
        ended = {e["measure"]: e for e in child.events() if e["event"] in ("done", "failed")}
        code = child.wait()
    lost = {
        "event": "failed", "status": "failed", "seconds": 0.0,
        "reason": f"the worker of {one.name} ended with code {code}, or at its time limit",
    }  # fmt: skip
    return {m: ended.get(m, {**lost, "measure": m}) for m in measures}


def _write(path: Path, one: Arm, cell: Cell, ended: dict[str, dict[str, Any]]) -> None:
    """The records of one cell of one arm."""
    records = [
        r for event in ended.values() for r in records_of(event, cell, one.source, path.stem)
    ]
    writer = run_file.Writer(path)
    writer.append(*records)
    writer.close()


def _environment(root: Path) -> dict[str, str]:
    """This process's environment, with the arm's code before any other."""
    return {**os.environ, "PYTHONPATH": str(root)}


def _python(name: str, root: Path, *args: str) -> str:
    """What a Python of this arm prints; its last line of complaint as a UserError."""
    done = subprocess.run(
        [sys.executable, *args], cwd=root, env=_environment(root), capture_output=True, text=True
    )
    if done.returncode:
        reason = " ".join(done.stderr.split())[-300:] or f"exit code {done.returncode}"
        raise UserError(f"{name} cannot do this: {reason}")
    return done.stdout


def _git(top: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=top, capture_output=True, text=True)
    if done.returncode:
        reason = " ".join(done.stderr.split()) or f"{args[-1]!r} is no revision here"
        raise UserError(f"git {args[0]}: {reason}")
    return done.stdout.strip()
