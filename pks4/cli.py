"""The command line: data on stdout, chatter and progress on stderr, errors in one line.

Exit codes: 0 done; 1 something in the run failed (it is recorded); 2 wrong use or bad input;
130 interrupted.
"""

import json
import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from pks4.bench.environment import cores
from pks4.bench.given import Given
from pks4.bench.units import bytes_of
from pks4.commands import answers, ask, judge, listing
from pks4.commands.data import data_app
from pks4.commands.places import base, results_folder, run_folders, runs_folder, suite_named
from pks4.commands.search import search
from pks4.commands.show import show_app
from pks4.commands.terminal import AsJson, Data, Weights, escaped, note, print_table
from pks4.errors import UserError, unknown_name

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Measure PKS4 against temporal attention, adapters, video Mamba and 2D floors: accuracy, "
    "MACs, activation memory and wall-clock, every number with its evidence.\n\n"
    "Start with: pks4-bench run quick",
)
app.add_typer(data_app, name="data")
app.add_typer(show_app, name="show")

Own = Annotated[
    list[Path] | None,
    typer.Option(
        "--model",
        help="A Python file of your own with build(*, frames, num_classes, image_size, …); "
        "it joins every grid that takes all contestants. Repeat for more.",
    ),
]
Fast = Annotated[bool, typer.Option("--fast", help="The suite's short form, as its file says.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder for results (or the report).")]


def main() -> None:
    """Run the command line; a UserError becomes one line and exit code 2."""
    try:
        app()
    except UserError as error:
        note.print(f"[bold red]error:[/] {escaped(str(error))}", soft_wrap=True)
        sys.exit(2)


@app.command()
def run(
    suite: Annotated[str, typer.Argument(help="A suite's name or a TOML file.")],
    out: Out = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with this suite's latest run.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Cells beside each other; default: one a core.")
    ] = None,
    report: Annotated[bool, typer.Option(help="Write the report when done.")] = True,
    model: Own = None,
    fast: Fast = False,
    memory_limit: Annotated[
        str, typer.Option(help="Of a cell that computes, such as 8GB; beyond it is a record.")
    ] = "",
    device: Annotated[
        str | None,
        typer.Option(help="cpu or cuda, for measures that compute; default: as the suite says."),
    ] = None,
    data: Data = None,
    weights: Weights = None,
) -> None:
    """Run a suite: plan, prepare data, measure every cell, write the report."""
    from pks4.bench import run as runner
    from pks4.bench import store
    from pks4.bench.devices import check_device
    from pks4.commands.progress import Watch, prepare_data

    parsed, text = suite_named(suite, model or [], fast)
    folder = out or runs_folder()
    if device:
        check_device(device)
    given = Given.parse(parsed, data, weights or [])
    if resume:  # with the device, data and weights that it began with
        session = runner.resume(parsed, text, folder)
    else:
        session = runner.start(parsed, text, folder, device, given)
    for line in session.notes:
        note.print(f"[yellow]note:[/] {escaped(line)}", soft_wrap=True)
    note.print(f"run [bold]{session.header.run}[/]: {len(session.cells())} of "
               f"{len(session.header.cells)} cells to do")  # fmt: skip
    try:
        prepare_data(session.cells(), note)
        with Watch(session, note) as watch:
            limit = bytes_of(memory_limit) if memory_limit else None
            runner.execute(session, jobs or cores(), watch, limit)
    except KeyboardInterrupt:
        again = f"pks4-bench run {suite}{' --fast' if fast else ''} --resume"
        note.print(f"interrupted; what was measured is kept in {session.path}. Go on with: {again}",
                   soft_wrap=True)  # fmt: skip
        sys.exit(130)
    records = store.read(session.path).records
    failures = [r for r in records if r.status != "ok"]
    for r in failures:
        note.print(f"[red]{r.status}[/] {r.cell} {r.measure}: {escaped(r.reason or '')}")
    if report:
        print(_write_report(session.path, None))
    else:
        print(session.path)
    sys.exit(1 if failures else 0)


@app.command()
def plan(
    suite: Annotated[str, typer.Argument(help="A suite's name or a TOML file.")],
    model: Own = None,
    fast: Fast = False,
    data: Data = None,
    weights: Weights = None,
    as_json: AsJson = False,
) -> None:
    """Print the cells of a suite, without running any."""
    from pks4.bench.plan import plan as make_plan

    parsed, _ = suite_named(suite, model or [], fast)
    cells = make_plan(parsed, given=Given.parse(parsed, data, weights or []))
    if as_json:
        print(json.dumps([c.model_dump() for c in cells], indent=1))
        return
    rows = [
        (c.id, c.model, c.scale, c.frames, c.batch, c.task or "", ", ".join(c.measures),
         "alone" if c.alone else "")
        for c in cells
    ]  # fmt: skip
    print_table(("cell", "model", "scale", "frames", "batch", "task", "measures", ""), rows)


@app.command()
def report(
    run: Annotated[
        str, typer.Argument(help="A run's name, its .jsonl file, or 'latest'.")
    ] = "latest",
    out: Out = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Write tables, figures and report.html of a run; print the path of the report."""
    from pks4.bench import store

    page = _write_report(store.find_run(run, run_folders()), out)
    print(page, flush=True)
    if show and not webbrowser.open(page.as_uri()):
        note.print(f"no browser could be opened here; open {escaped(page)} yourself",
                   soft_wrap=True)  # fmt: skip


app.command()(ask.explain)
app.command()(ask.fit)
judge.register(app)
answers.register(app)
app.command()(search)


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="suites, models, measures or runs.")],
    params: Annotated[
        bool, typer.Option("--params", help="Count the models' parameters at paper scale too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List what there is."""
    kinds = {
        "suites": listing.suites,
        "models": lambda: listing.models(params),
        "measures": listing.measures,
        "runs": lambda: listing.runs(run_folders()),
    }
    if what not in kinds:
        raise UserError(unknown_name("list", what, kinds))
    if params and what != "models":
        raise UserError(f"--params counts parameters of models; list {what} has none")
    with note.status("counting parameters on meta" if params else "looking"):
        columns, rows = kinds[what]()
    if as_json:
        print(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=1))
    else:
        print_table(*listing.in_millions(columns, rows))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what is here and works: versions, backends, kernels, readers, the counters' agreement."""
    from pks4.bench.doctor import examine

    with note.status("examining"):
        findings = examine()
    if as_json:
        print(json.dumps([vars(f) for f in findings], indent=1))
    else:
        colours = {"ok": "green", "absent": "yellow", "wrong": "red"}
        rows = [(f.what, Text(f.state, colours[f.state]), f.text) for f in findings]
        print_table(("what", "state", "finding"), rows)
    sys.exit(1 if any(f.state == "wrong" for f in findings) else 0)


@app.command()
def scan(
    quick: Annotated[bool, typer.Option("--quick", help="Three shapes, few rounds.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="Also time these many against one.")] = 1,
    out: Annotated[Path | None, typer.Option("--out", help="A new file for the JSON.")] = None,
    as_json: AsJson = False,
) -> None:
    """Time the selective scan against the algorithm of others and against this machine's floor."""
    from pks4.bench import scan_session
    from pks4.commands.progress import bar

    if out and out.exists():
        raise UserError(f"{out}: is there already; evidence is not overwritten, name a new file")
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
    with bar(note, "scan") as update:
        document = scan_session.run(
            scan_session.plan_for(quick, threads),
            update,
            lambda line: note.print(line, markup=False, highlight=False, soft_wrap=True),
        )
    text = document.model_dump_json(indent=1)
    if out:
        with out.open("x", encoding="utf-8") as file:
            file.write(text + "\n")
    if as_json:
        print(text)
        return
    print_table(*scan_session.speed_table(document))
    print()
    print_table(*scan_session.accuracy_table(document))
    print("", *scan_session.remarks(document), sep="\n")


def _write_report(run: Path, out: Path | None) -> Path:
    from pks4.bench.report import write
    from pks4.bench.store import read

    for line in read(run).torn:
        note.print(f"[yellow]note:[/] {escaped(line)}", soft_wrap=True)
    with note.status("writing the report"):
        return write(run, out or base() / "reports" / run.stem, results_folder())
