"""The check of `plan.builds` in a child of a run, so that its parent never imports PyTorch."""

from collections.abc import Iterable

from pks4.bench.plan.builds import check_builds
from pks4.bench.plan.cell import Cell
from pks4.bench.process import child
from pks4.bench.process.child import Children
from pks4.errors import UserError


def check_in_child(cells: Iterable[Cell], where: str, children: Children) -> None:
    """Raise UserError, one line, for the first contestant that refuses its options.

    `where` is the suite's file. A child that dies says nothing: its cells will.
    """
    job = {"cells": [cell.model_dump() for cell in cells], "where": where}
    with children.start("pks4.bench.run.build_check", job) as worker:
        for event in worker.events():
            raise UserError(event["refused"])


def main() -> None:
    """In the child: check the cells of the job, and send what is refused."""
    job, send = child.receive()
    try:
        check_builds(map(Cell.model_validate, job["cells"]), job["where"])
    except UserError as error:
        send(refused=str(error))


if __name__ == "__main__":
    main()
