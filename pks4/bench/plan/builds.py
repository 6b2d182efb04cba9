"""Whether the models of a plan can be built, on meta, before any cell starts.

Each contestant is built once for its scale and options, without weights; one that takes only
certain numbers of frames is built for each number of them. That takes about a tenth of a second
each, and seconds for the first of those on transformers, which are imported. A module of --module
is also tried on a few small features.
"""

import json
from collections.abc import Iterable

from pks4.bench.contestants import catalogue, modules
from pks4.bench.contestants.build import build
from pks4.bench.plan.cell import Cell
from pks4.errors import UserError


def check_builds(cells: Iterable[Cell], where: str) -> list[str]:
    """Raise UserError, one line, for the first contestant that refuses its options.

    `where` is the suite's file. What fails for another reason, such as a package that is missing or
    a model that cannot be on meta, is a record of its cells. A module of the user's own must keep
    its contract. Returns what the user should know of it.
    """
    models = catalogue.models()
    built, notes = set(), dict[str, None]()
    for cell in cells:
        entry = models[cell.model]
        if entry.module and not modules.is_identity(entry):
            notes[modules.note(entry)] = None
        frames = 0 if entry.frames_step(cell.options) == 1 else cell.frames
        case = (cell.model, json.dumps(cell.options, sort_keys=True, default=str), frames)
        if case in built:
            continue
        built.add(case)
        try:
            build(entry, cell.options, frames=cell.frames, num_classes=cell.num_classes)
        except UserError as error:
            raise UserError(f"{where}: contestant {cell.label!r}: {error}") from error
        except Exception:
            continue
    return list(notes)
