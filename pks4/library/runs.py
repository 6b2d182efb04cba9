"""Runs as Python calls: measure a suite, read what was measured, compare two runs."""

import shlex
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pks4.bench import units
from pks4.bench.compare.compare import Comparison
from pks4.bench.contestants import catalogue
from pks4.bench.contestants.entry import is_importing
from pks4.bench.plan.cell import Cell, split_seed
from pks4.bench.plan.user_inputs import UserInputs
from pks4.bench.process.child import Children
from pks4.bench.records import run_file
from pks4.bench.records.environment import cores
from pks4.bench.records.folders import (
    results_folder,
    run_folders,
    runs_folder,
    suite_file,
    suite_named,
)
from pks4.bench.records.record import Record
from pks4.errors import UserError
from pks4.library.results import Lines, Result

if TYPE_CHECKING:
    import pandas as pd

WHERE = ("grid", "label", "model", "scale", "frames", "batch", "task")
WHAT = ("measure", "metric", "value", "unit", "kind", "status", "reason")
Listener = Callable[[Cell, dict[str, Any]], None]


@dataclass(frozen=True, repr=False)
class Run(Result):
    """A run as it is on the disk; records are in the order in which they were measured."""

    name: str
    suite: str
    path: Path
    records: tuple[Record, ...]

    def frame(self) -> "pd.DataFrame":
        """One number a row, in base units, with the contestant and the setting that it is of.

        A measure that failed is a row with its status and reason, and without a value.
        """
        import pandas as pd

        rows = [
            {name: getattr(r, name) for name in WHERE}
            | {"seed": split_seed(r.cell)[1]}
            | {name: getattr(r, name) for name in WHAT}
            for r in self.records
        ]
        return pd.DataFrame(rows, columns=[*WHERE, "seed", *WHAT]).astype({"seed": "Int64"})

    def lines(self) -> Lines:
        """See Result."""
        failed = [r for r in self.records if r.status != "ok"]
        labels = list(dict.fromkeys(r.label for r in self.records))
        numbers = len(self.records) - len(failed)
        return [
            ("run", self.name),
            ("contestants", units.listed(labels)),
            ("numbers", f"{numbers:,}"),
            *((f"  {r.status}", f"{r.cell} {r.measure}: {r.reason or ''}") for r in failed),
            ("file", str(self.path)),
        ]

    def to_dict(self) -> dict[str, Any]:
        """Name, suite, file and every record."""
        return {
            "name": self.name,
            "suite": self.suite,
            "path": str(self.path),
            "records": [r.model_dump() for r in self.records],
        }


@dataclass(frozen=True, repr=False)
class Compared(Result):
    """What changed between two runs of a suite; `notes` are what the user should know of them."""

    comparison: Comparison
    notes: tuple[str, ...]

    def frame(self) -> "pd.DataFrame":
        """One number a row: its value in both runs, its state, and why."""
        import pandas as pd

        columns = ["cell", "measure", "metric", "base", "head", "unit", "kind", "state", "why",
                   "effect", "p", "reason"]  # fmt: skip
        return pd.DataFrame([asdict(e) for e in self.comparison.entries], columns=columns)

    def lines(self) -> Lines:
        """See Result."""
        found = self.comparison
        return [
            ("compared", f"{found.base} (base), {found.head} (head)"),
            *((f"  {state}", f"{count:,}") for state, count in found.counts.items()),
            *(("note", note) for note in (*self.notes, *found.notes)),
        ]


def read_run(run: str | Path) -> Run:
    """A run by name, by file, or "latest". Raises UserError where there is none."""
    read = run_file.read(run_file.find_run(str(run), run_folders()))
    return Run(read.header.run, read.header.suite, read.path, tuple(read.records))


def compare_runs(base: str | Path, head: str | Path) -> Compared:
    """HEAD against BASE, number by number; BASE may be "reference", the accepted run.

    Raises UserError for unknown runs, for runs of two suites, and for one run twice.
    """
    from pks4.bench.compare import named

    pair = named.read(str(base), str(head), results_folder(), run_folders())
    return Compared(named.compared(pair, results_folder()), tuple(pair.notes))


def run(
    suite: str | Path,
    *,
    models: Iterable[Callable[..., Any] | Path | str] = (),
    modules: Iterable[str] = (),
    fast: bool = False,
    out: Path | str | None = None,
    jobs: int | None = None,
    listen: Listener | None = None,
) -> Run:
    """Measure a suite, by name or TOML file, in child processes; returns the run that it wrote.

    `models` are contestants beside those of the suite: classes or functions as `register_model`
    takes them, which must be in a file, names of registered ones, or files for `--model`. `modules`
    stand where PKS4 stands (FILE or FILE:CLASS). `out`: the folder of the run, else `results/runs`.
    `jobs`: cells at once, else one a core. `listen` gets each event of a cell, from several
    threads. Raises UserError where something cannot be planned or built; what fails later is in
    the run.
    """
    if is_importing():
        raise UserError(
            "pks4.run stands where an import of the file starts it again; put it under "
            'if __name__ == "__main__":'
        )
    from pks4.bench.plan.plan import plan
    from pks4.bench.run import run as runner
    from pks4.bench.run.build_check import check_in_child
    from pks4.data.kinetic_digits.make_dataset import make as make_data

    added = [model if isinstance(model, str | Path) else _registered(model) for model in models]
    own = [Path(m) if str(m).endswith(".py") else m for m in added]
    parsed, text = suite_named(str(suite), own, fast, [*modules])
    inputs, children = UserInputs.parse(parsed, None, ()), Children()
    try:
        cells = plan(parsed, inputs)
        check_in_child(cells, str(suite_file(str(suite))), children)
        for need in runner.data_needed(cells):
            make_data(**need)
        session = runner.start(parsed, text, Path(out) if out else runs_folder(), inputs)
        runner.execute(session, jobs or cores(), listen or _silent, children=children)
    finally:
        children.close()
    return read_run(session.path)


def _registered(model: Callable[..., Any]) -> str:
    """The name of a class or function in the catalogue; it must be where a child can find it."""
    entry = catalogue.register(model)
    if not isinstance(entry.maker, str):
        raise UserError(
            f"{entry.name} is in no file that a process can import; write it in one, and name it: "
            f"models=[{shlex.quote('mine.py')}]"
        )
    return entry.name


def _silent(cell: Cell, event: dict[str, Any]) -> None:
    """A listener that says nothing."""
