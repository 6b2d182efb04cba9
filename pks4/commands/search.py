"""`pks4-bench search`: run a suite that searches recipes, and write each contestant's best."""

from pathlib import Path
from typing import Annotated

import typer

from pks4.bench.plan.suite import Suite
from pks4.bench.plan.user_inputs import NO_INPUTS, UserInputs
from pks4.bench.records.environment import cores
from pks4.bench.records.folders import run_folders, runs_folder, suite_named
from pks4.commands.parts.terminal import Data, Weights, escaped, note, print_table, tell_notes


def search(
    suite: Annotated[str, typer.Argument(help="A suite whose grid has `search`, or its file.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Recipes; default: suites/recipes/SUITE.toml.")
    ] = None,
    run: Annotated[
        str, typer.Option("--run", help="Choose from this run (or latest), and run nothing.")
    ] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with its latest run.")] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="Cells at once.")] = None,
    data: Data = None,
    weights: Weights = None,
) -> None:
    """Search recipes on the validation split; write the best of each contestant as TOML."""
    from pks4.bench.plan import recipes
    from pks4.bench.records import recipe_search as searching
    from pks4.bench.records import run_file

    parsed, text = suite_named(suite)
    path = out or recipes.folder() / f"{parsed.name}.toml"
    if run:
        source = run_file.find_run(run, run_folders())
    else:
        searching.searched(parsed, f"suite {suite}")  # before anything is measured
        inputs = UserInputs.parse(parsed, data, weights or [])
        source = _run(parsed, text, resume, jobs or cores(), inputs)
    found = run_file.read(source)
    chosen = searching.choose(found)
    searching.write(path, searching.as_toml(chosen, found.header.run))
    rows = [
        (label, ", ".join(f"{k} {v}" for k, v in best["recipe"].items()), "; ".join(best["tried"]))
        for label, best in chosen.items()
    ]
    print_table(("contestant", "chosen", "tried: top-1, loss"), rows)
    for label, best in chosen.items():
        if best["guessing"]:
            tell_notes([f"{label}: no better than guessing, whatever was tried; chosen by its "
                        "training loss"])  # fmt: skip
        tell_notes(
            f"{label}: {best['recipe'][key]} is at an end of what was tried; its best {key} may "
            "lie beyond, so search further for all"
            for key in best["at_end"]
        )
    note.print(f"written: {escaped(str(path))}", soft_wrap=True)


def _run(suite: Suite, text: str, resume: bool, jobs: int, inputs: UserInputs) -> Path:
    from pks4.bench.run import run as runner
    from pks4.commands.parts.progress import Watch, prepare_data

    if resume:  # with the data and weights that it began with
        session = runner.resume(suite, text, runs_folder(), NO_INPUTS)
    else:
        session = runner.start(suite, text, runs_folder(), inputs)
    prepare_data(session.cells(), note)
    with Watch(session, note) as watch:
        runner.execute(session, jobs, watch)
    return session.path
