"""`pks4-bench scan`: the speed of the selective scan on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from pks4.commands.parts.terminal import AsJson, note, print_table
from pks4.errors import UserError


def scan(
    quick: Annotated[bool, typer.Option("--quick", help="Three shapes, few rounds.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="Also time these many against one.")] = 1,
    out: Annotated[Path | None, typer.Option("--out", help="A new file for the JSON.")] = None,
    as_json: AsJson = False,
) -> None:
    """Time the selective scan against the algorithm of others and against this machine's floor."""
    from pks4.bench.scan_speed import session
    from pks4.commands.parts.progress import bar

    if out and out.exists():
        raise UserError(f"{out}: is there already; evidence is not overwritten, name a new file")
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
    with bar(note, "scan") as update:
        document = session.run(
            session.plan_for(quick, threads),
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
    print_table(*session.speed_table(document))
    print()
    print_table(*session.accuracy_table(document))
    print("", *session.remarks(document), sep="\n")
