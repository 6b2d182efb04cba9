"""`pks4-bench compare` and `pks4-bench accept`: what changed between runs. Part of the CLI room."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pks4.commands.places import results_folder, run_folders, runs_folder, suite_file
from pks4.commands.terminal import (
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
    from pks4.bench import compare as comparing
    from pks4.bench import compare_confirm, compare_print

    if as_json and as_markdown:
        raise UserError(JSON_OR_MARKDOWN)
    if worktree and head:
        raise UserError(f"--worktree REV takes one suite, got {base!r} and {head!r}")
    *runs, known = _measured(worktree, base, rounds) if worktree else _read(base, head)
    found = comparing.compare(*runs, paired=bool(worktree))
    found = comparing.accepted(found, runs[1], _references(found.suite, known))
    if confirm and found.of(*comparing.ALARMS):
        if worktree:
            *again, _ = _measured(worktree, base, rounds, found)
        else:
            again = [runs[0], _again(found, runs[1])]
        second = comparing.compare(*again, paired=bool(worktree))
        found = compare_confirm.confirmed(found, second)
    if junit:
        _write(junit, compare_print.junit(found))
    if as_json:
        print(json.dumps(compare_print.document(found), indent=1))
    elif as_markdown:
        say(compare_print.markdown(found).removesuffix("\n"))
    else:
        _show(found, every)
    sys.exit(found.exit_code)


def accept(
    run: Annotated[str, typer.Argument(help="A run's name, its .jsonl file, or 'latest'.")],
    reason: Annotated[str, typer.Option(help="Why its numbers are the ones to hold to.")],
    who: Annotated[str, typer.Option(help="Who says so; default: as git knows you.")] = "",
    with_gaps: Annotated[
        bool, typer.Option("--with-gaps", help="Though some measures failed or times are void.")
    ] = False,
) -> None:
    """Make a run the reference of its suite on this kind of machine; its changes are accepted."""
    from pks4.bench import accept as accepting
    from pks4.bench import store, units

    read = _run(store.find_run(run, run_folders()))
    entry = accepting.accept(read, reason, results_folder(), who, with_gaps=with_gaps)
    gaps = accepting.gaps(read)
    if gaps:
        tell_notes([f"no later run can be held to {units.some(gaps, 'gap')}"])
    replaced = f", in place of {entry.replaces}" if entry.replaces else ""
    say(f"{entry.run}: reference of {entry.suite!r} for {entry.environment_class}{replaced}")
    note.print(f"commit {results_folder() / accepting.LEDGER} and the run in results/reference")


def _show(found: Any, every: bool) -> None:
    """The comparison as a table with its summary."""
    from pks4.bench import compare_print

    rows = compare_print.rows(found, every)
    if rows:
        print_table(compare_print.COLUMNS, rows)
        print()
    say(*compare_print.summary(found))


def _read(base: str, head: str) -> tuple[Any, Any, list[Any]]:
    """The two runs, and what was accepted before BASE was made.

    BASE may be the accepted reference of HEAD's suite and machine.
    """
    from pks4.bench import accept as accepting
    from pks4.bench import store

    if not head:
        raise UserError("compare takes BASE and HEAD, such as: pks4-bench compare reference latest")
    second = _run(store.find_run(head, run_folders()))
    if base == "reference":
        first, told = accepting.reference(second, results_folder())
        tell_notes(filter(None, [told]))
    else:
        first = _run(store.find_run(base, run_folders()))
    if (first.header, first.records) == (second.header, second.records):
        itself = "the accepted reference itself" if base == "reference" else "BASE and HEAD in one"
        raise UserError(
            f"{second.header.run}: is {itself}, so nothing was compared; name another run as HEAD"
        )
    known, torn = accepting.ledger(results_folder())
    tell_notes(torn)
    return first, second, [a for a in known if a.when <= first.header.created]


def _run(path: Path) -> Any:
    from pks4.bench import store

    return store.read(path)


def _references(suite: str, known: list[Any]) -> list[tuple[Any, str]]:
    """Runs of a suite that were accepted since, the last first, with their reasons."""
    from pks4.bench import accept as accepting

    since = [
        a for a in accepting.ledger(results_folder())[0] if a.suite == suite and a not in known
    ]
    return [
        (accepting.accepted_run(a, results_folder()), f"{a.reason}, {a.who}, {a.when[:10]}")
        for a in reversed(since)
    ]


def _measured(
    revision: str, suite: str, rounds: int, alarms: Any = None
) -> tuple[Any, Any, list[Any]]:
    """Runs of both revisions, and what was accepted at the first; of alarms only, where given."""
    from pks4.bench import accept as accepting
    from pks4.bench import catalogue
    from pks4.bench import compare_worktree as two
    from pks4.bench.suite import read_suite

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
    from pks4.bench import compare_confirm, store
    from pks4.bench import run as runner
    from pks4.commands.progress import Watch, prepare_data

    session = compare_confirm.session(found, head, runs_folder() / COMPARED)
    note.print(f"confirming in run [bold]{session.header.run}[/]: {len(session.cells())} cells")
    prepare_data(session.cells(), note)
    with Watch(session, note) as watch:
        runner.execute(session, 1, watch)
    return store.read(session.path)


def _say(line: str) -> None:
    note.print(line, markup=False, highlight=False, soft_wrap=True)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error


def register(app: typer.Typer) -> None:
    """Give these commands to the command line."""
    for command in (compare, accept):
        app.command()(command)
