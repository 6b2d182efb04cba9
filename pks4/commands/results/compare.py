"""`pks4-bench compare`: what changed between two runs, or two revisions."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pks4.bench.records.folders import results_folder, run_folders, runs_folder, suite_file
from pks4.commands.parts.terminal import (
    JSON_OR_MARKDOWN,
    AsJson,
    note,
    print_table,
    say,
    tell_notes,
)
from pks4.errors import UserError

COMPARED = "compared"  # folder below the runs: parts of suites, which 'latest' must not find


Base = Annotated[
    str, typer.Argument(help="A run, its file, or 'reference'; with --worktree: the suite.")
]
Head = Annotated[str, typer.Argument(help="The run to judge, its file, or 'latest'.")]
Worktree = Annotated[
    str, typer.Option(metavar="REV", help="Measure REV and the code here in one session.")
]
Confirm = Annotated[
    bool, typer.Option("--confirm", help="Measure alarms again; keep those that repeat.")
]
Rounds = Annotated[int, typer.Option(min=2, help="With --worktree: processes an arm.")]
Every = Annotated[bool, typer.Option("--all", help="Show what is the same too.")]
AsMarkdown = Annotated[bool, typer.Option("--markdown", help="Print a comment for a pull request.")]
Junit = Annotated[Path | None, typer.Option(help="Also write JUnit XML to this file.")]


def compare(
    base: Base,
    head: Head = "",
    worktree: Worktree = "",
    confirm: Confirm = False,
    rounds: Rounds = 3,
    every: Every = False,
    as_json: AsJson = False,
    as_markdown: AsMarkdown = False,
    junit: Junit = None,
) -> None:
    """Say what is the same, better, worse, changed or missing in HEAD, number by number.

    Exit codes:

    0: no regression.

    1: a number is worse, changed without an accepted reason, or missing.

    2: nothing was compared, numbers that should compare do not, or wrong use.

    Exact numbers must be equal; times are set against the reference contestant of their session;
    accuracies clip by clip. A change on purpose: pks4-bench accept RUN --reason "why".
    """
    from pks4.bench.compare import compare as comparing
    from pks4.bench.compare import named, printing, remeasure

    if as_json and as_markdown:
        raise UserError(JSON_OR_MARKDOWN)
    if worktree and head:
        raise UserError(f"--worktree REV takes one suite, got {base!r} and {head!r}")
    *runs, known = _measured(worktree, base, rounds) if worktree else _read(base, head)
    found = comparing.compare(*runs, paired=bool(worktree))
    since = named.references(found.suite, known, results_folder())
    found = comparing.accepted(found, runs[1], since)
    if confirm and found.of(*comparing.ALARMS):
        if worktree:
            *again, _ = _measured(worktree, base, rounds, found)
        else:
            again = [runs[0], _again(found, runs[1])]
        second = comparing.compare(*again, paired=bool(worktree))
        found = remeasure.confirmed(found, second)
    if junit:
        _write(junit, printing.junit(found))
    if as_json:
        print(json.dumps(printing.document(found), indent=1))
    elif as_markdown:
        say(printing.markdown(found).removesuffix("\n"))
    else:
        _show(found, every)
    sys.exit(found.exit_code)


def _show(found: Any, every: bool) -> None:
    """The comparison as a table with its summary."""
    from pks4.bench.compare import printing

    rows = printing.rows(found, every)
    if rows:
        print_table(printing.COLUMNS, rows)
        print()
    say(*printing.summary(found))


def _read(base: str, head: str) -> tuple[Any, Any, list[Any]]:
    """The two runs, and what was accepted before BASE was made."""
    from pks4.bench.compare import named

    if not head:
        raise UserError("compare takes BASE and HEAD, such as: pks4-bench compare reference latest")
    pair = named.read(base, head, results_folder(), run_folders())
    tell_notes(pair.notes)
    return pair.base, pair.head, pair.known


def _measured(
    revision: str, suite: str, rounds: int, alarms: Any = None
) -> tuple[Any, Any, list[Any]]:
    """Runs of both revisions, and what was accepted at the first; of alarms only, where given."""
    from pks4.bench.compare import worktree as two
    from pks4.bench.contestants import catalogue
    from pks4.bench.plan.suite import read_suite
    from pks4.bench.records import accepted as accepting

    path = suite_file(suite)
    parsed, text = read_suite(path)
    with two.worktree(revision) as place:
        arms = two.arm("BASE", place, path), two.arm("HEAD", catalogue.root(), path)
        if alarms is not None:
            arms = arms[0].only(alarms), arms[1].only(alarms)
        runs = two.measure(arms, (parsed.name, text), runs_folder() / COMPARED, _say, rounds)
        known = accepting.ledger(place / "results")[0]
    note.print(f"BASE in {runs[0].path}, HEAD in {runs[1].path}", soft_wrap=True)
    return (*runs, known)


def _again(found: Any, head: Any) -> Any:
    """A fresh run of what alarmed."""
    from pks4.bench.compare import remeasure
    from pks4.bench.records import run_file
    from pks4.bench.run import run as runner
    from pks4.commands.parts.progress import Watch, prepare_data

    session = remeasure.session(found, head, runs_folder() / COMPARED)
    note.print(f"confirming in run [bold]{session.header.run}[/]: {len(session.cells())} cells")
    prepare_data(session.cells(), note)
    with Watch(session, note) as watch:
        runner.execute(session, 1, watch)
    return run_file.read(session.path)


def _say(line: str) -> None:
    note.print(line, markup=False, highlight=False, soft_wrap=True)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
