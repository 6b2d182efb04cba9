"""Official annotation formats of real data sets, each read into one listing of clips.

A format is a file of this folder and is its own registration: `DATASETS` maps the names it serves
to their published number of classes, `SPLITS` names the splits that must not be empty, `EXPECTS`
says what it looks for, and

    read(annotations, fold) -> Listing

reads the annotations without opening a video.  A line that cannot be used raises ManifestError
with file:line or file:key.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Protocol, cast

from pks4.data.errors import DataError
from pks4.data.index.parts.listing import Listing
from pks4.errors import unknown_name


class Format(Protocol):
    """What a file of this folder offers."""

    DATASETS: dict[str, int]
    SPLITS: tuple[str, ...]
    EXPECTS: str

    def read(self, annotations: Path, fold: int) -> Listing: ...


def formats() -> Iterator[Format]:
    """Every format, by the names of their files."""
    for module in iter_modules(__path__):
        if not module.ispkg:
            yield cast(Format, import_module(f"pks4.data.index.{module.name}"))


def datasets() -> dict[str, Format]:
    """The data sets that can be indexed, with their formats."""
    return {name: format_ for format_ in formats() for name in format_.DATASETS}


def find_format(name: str) -> Format:
    """The format of a data set.  Raises DataError, with a near name, for an unknown one."""
    known = datasets()
    if name not in known:
        raise DataError(unknown_name("data set", name, known))
    return known[name]
