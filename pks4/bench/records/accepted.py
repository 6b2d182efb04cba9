"""Accepted runs: the run that later runs of a suite on a kind of machine are compared with.

`accepted.jsonl` is a ledger with one acceptance a line: which run, by whom, when and why. Lines are
only appended; the last one of a suite and an environment class counts. A run that turns out wrong
is withdrawn, in a line of its own, and counts no more. The runs are in `reference/`, compressed,
and never change: the ledger has a hash of each.

An environment class is what whole runs must share to be compared: the system, the name of the CPU,
its cores, a GPU if there is one, and the version of PyTorch. Exact numbers need only PyTorch and
the path in their evidence (`same_case.py`). So where a class has no accepted run, one of another
machine with the same PyTorch serves for those.
"""

import getpass
import gzip
import hashlib
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, RootModel

from pks4.bench import units
from pks4.bench.plan.settings import Settings
from pks4.bench.records import run_file
from pks4.bench.records.record import Provenance, stamp
from pks4.bench.records.run_file import RunFile
from pks4.bench.records.same_case import LIBRARIES, MACHINE
from pks4.errors import UserError, unknown_name

LEDGER = "accepted.jsonl"


class Acceptance(Settings):
    """One line of the ledger."""

    type: Literal["accepted"] = "accepted"
    schema_version: Literal[1] = 1
    suite: str
    environment_class: str
    run: str
    sha256: str  # of the run's file as it was accepted, uncompressed
    who: str
    when: str
    reason: str
    replaces: str | None  # the accepted run before


class Withdrawal(Settings):
    """A line of the ledger: an accepted run that is wrong, and why."""

    type: Literal["withdrawn"] = "withdrawn"
    schema_version: Literal[1] = 1
    suite: str
    run: str
    who: str
    when: str
    reason: str


class _Entry(RootModel[Annotated[Acceptance | Withdrawal, Field(discriminator="type")]]):
    """A line of the ledger."""


def environment_class(source: Provenance) -> str:
    """Machine and PyTorch in one line, such as `Linux x86_64, AMD EPYC, 2 cores, torch 2.15.0`."""
    facts = {name: source.environment.get(name) for name in MACHINE}
    facts["cores"] = f"{facts['cores']} cores" if facts["cores"] else None
    libraries = [f"{name} {source.versions[name]}" for name in LIBRARIES if name in source.versions]
    return ", ".join([*(str(fact) for fact in facts.values() if fact), *libraries]) or "unknown"


def ledger(results: Path) -> tuple[list[Acceptance], list[str]]:
    """The acceptances that stand, in order, and what could not be read; none without a ledger."""
    lines, torn = _lines(results)
    known: list[Acceptance] = []
    for line in lines:
        if isinstance(line, Acceptance):
            known.append(line)
        else:
            known = [entry for entry in known if entry.run != line.run]
    return known, torn


def withdrawals(suite: str, results: Path) -> list[Withdrawal]:
    """The runs of a suite that were withdrawn, in order."""
    return [w for w in _lines(results)[0] if isinstance(w, Withdrawal) and w.suite == suite]


def _lines(results: Path) -> tuple[list[Acceptance | Withdrawal], list[str]]:
    lines, torn = run_file.entries(results / LEDGER, _Entry)
    return [line.root for line in lines], torn


def gaps(run: RunFile) -> list[str]:
    """Where a run has no number to compare with: failed measures, times of void sessions."""
    failed = [f"{r.cell} {r.measure}: {r.status}" for r in run.records if r.status != "ok"]
    void = [f"{r.cell} {r.metric}: void" for r in run.records if r.void]
    return [*failed, *void]


def accept(
    run: RunFile, reason: str, results: Path, who: str = "", *, with_gaps: bool = False
) -> Acceptance:
    """Accept a run for its suite and class: keep its file, add a line to the ledger.

    Raises UserError without a reason, for a run that is not whole or that nobody could repeat, and
    for a run with `gaps` unless `with_gaps`.
    """
    reason = _stated(reason, "the numbers may change")
    _check_sound(run)
    known, _ = ledger(results)
    where = environment_class(run.header)
    content = run_file.content(run.path)
    digest = hashlib.sha256(content).hexdigest()
    before = current(known, run.header.suite, where)
    if before and (before.run, before.sha256) == (run.header.run, digest):
        raise UserError(f"{run.header.run}: is the reference of {run.header.suite!r} already")
    missing = gaps(run)
    if missing and not with_gaps:
        raise UserError(
            f"{run.header.run}: has {units.some(missing, 'gap')}, to which no later run can be "
            "held; measure it again, or add --with-gaps"
        )
    _keep(content, results / "reference" / f"{run.header.run}.jsonl.gz")
    entry = Acceptance(
        suite=run.header.suite,
        environment_class=where,
        run=run.header.run,
        sha256=digest,
        who=who or _who(),
        when=stamp(datetime.now(UTC)),
        reason=reason,
        replaces=before.run if before else None,
    )
    _append(entry, results)
    return entry


def withdraw(run: str, reason: str, results: Path, who: str = "") -> Withdrawal:
    """Take back every acceptance of a run, in a new line; its file and its lines stay.

    The acceptance before it counts again, if there is one. Raises UserError without a reason, and
    for a run that is not accepted.
    """
    reason = _stated(reason, "its numbers are wrong")
    names = {entry.run: entry.suite for entry in ledger(results)[0]}
    if run not in names:
        raise UserError(f"{results / LEDGER}: {unknown_name('accepted run', run, names)}")
    entry = Withdrawal(
        suite=names[run], run=run, who=who or _who(), when=stamp(datetime.now(UTC)), reason=reason
    )
    _append(entry, results)
    return entry


def current(known: Iterable[Acceptance], suite: str, where: str) -> Acceptance | None:
    """The acceptance that holds for a suite and an environment class."""
    matching = [a for a in known if (a.suite, a.environment_class) == (suite, where)]
    return matching[-1] if matching else None


def in_tree(known: Sequence[Acceptance], results: Path) -> list[Acceptance]:
    """The acceptances whose runs are still here; of one that was rewritten, the last."""
    last = {entry.run: entry for entry in known}
    return [e for e in known if last[e.run] is e and _path(e, results).exists()]


def reference(run: RunFile, results: Path) -> tuple[RunFile, str]:
    """The accepted run to compare this run with, and a note if it is of another class."""
    known, _ = ledger(results)
    suite, where = run.header.suite, environment_class(run.header)
    entry, note = current(known, suite, where), ""
    if entry is None:
        torch = where.rpartition(", ")[2]
        of_suite = [a for a in known if a.suite == suite]
        near = [a for a in of_suite if a.environment_class.endswith(torch)]
        if not near:
            there = "; ".join(sorted({a.environment_class for a in of_suite})) or "none"
            gone = [f"; {w.run} was withdrawn: {w.reason}" for w in withdrawals(suite, results)]
            there += "".join(gone[-1:])
            raise UserError(
                f"no reference run of {suite!r} for {where}; there are: {there}. "
                'Make one: pks4-bench accept RUN --reason "…"'
            )
        entry = near[-1]
        note = f"no reference of this machine; {entry.run} is of {entry.environment_class}"
    return accepted_run(entry, results), note


def of_suite(suite: str, results: Path) -> list[Acceptance]:
    """The acceptances of a suite whose runs are still here, the newest last."""
    return [entry for entry in in_tree(ledger(results)[0], results) if entry.suite == suite]


def accepted_run(entry: Acceptance, results: Path) -> RunFile:
    """The run that an acceptance names. Raises UserError if its file is not as it was."""
    path = _path(entry, results)
    if hashlib.sha256(run_file.content(path)).hexdigest() != entry.sha256:
        raise UserError(f"{path}: is not as it was when it was accepted; restore it from git")
    return run_file.read(path)


def _path(entry: Acceptance, results: Path) -> Path:
    paths = [results / "reference" / f"{entry.run}{ending}" for ending in run_file.ENDINGS]
    return next((path for path in paths if path.exists()), paths[-1])


def _check_sound(run: RunFile) -> None:
    name = run.header.run
    if Path(name).name != name:
        raise UserError(f"{run.path}: run name {name!r} is no file name")
    if run.header.dirty or any(r.dirty for r in run.records):
        raise UserError(f"{name}: was made on code with changes; commit them and run again")
    if run.header.part:
        raise UserError(
            f"{name}: is {run.header.part}, not a whole run; join all shards first: "
            "pks4-bench merge RUN… --out FILE"
        )
    left = run.missing()
    if left:
        raise UserError(
            f"{name}: {len(left)} cells are not done, {next(iter(left))} among them; finish it: "
            f"pks4-bench run {run.header.suite} --resume"
        )


def _keep(content: bytes, path: Path) -> None:
    """Write a run's file, compressed; a file that exists must hold the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:
            file.write(gzip.compress(content, mtime=0))  # no time: equal runs give equal files
    except FileExistsError:
        if run_file.content(path) != content:
            raise UserError(f"{path}: is there with other content; it is not overwritten") from None


def _append(entry: Acceptance | Withdrawal, results: Path) -> None:
    writer = run_file.Writer(results / LEDGER)
    writer.append(entry)
    writer.close()


def _stated(reason: str, what: str) -> str:
    """The reason in one line; raises UserError if there is none."""
    if not reason.strip():
        raise UserError(f'--reason is empty; say why {what}: --reason "…"')
    return " ".join(reason.split())


def _who() -> str:
    """The user's name by git, else by the system."""
    try:
        done = subprocess.run(
            ["git", "var", "GIT_AUTHOR_IDENT"],
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return getpass.getuser()
    return done.stdout.rsplit(" ", 2)[0]
