"""The check of `plan.builds` in a child of a run, so that its parent never imports PyTorch."""

from collections.abc import Iterable

from pks4.bench.plan.builds import check_builds
from pks4.bench.plan.cell import Cell
from pks4.bench.process import child
from pks4.bench.process.child import Children
from pks4.errors import UserError


def check_in_child(cells: Iterable[Cell], where: str, children: Children) -> list[str]:
    """What `check_builds` returns. Raises UserError as it does.

    A child that dies says nothing: its cells will.
    """
    job = {"cells": [cell.model_dump() for cell in cells], "where": where}
    with children.start("pks4.bench.run.build_check", job) as worker:
        notes = []
        for event in worker.events():
            if event["event"] == "refused":
                raise UserError(event["text"])
            notes.append(event["text"])
    return notes


def main() -> None:
    """In the child: check the cells of the job, and send the notes, or what is refused."""
    job, send = child.receive()
    try:
        for text in check_builds(map(Cell.model_validate, job["cells"]), job["where"]):
            send(event="note", text=text)
    except UserError as error:
        send(event="refused", text=str(error))


if __name__ == "__main__":
    main()
