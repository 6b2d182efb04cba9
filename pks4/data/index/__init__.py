"""Annotation formats, official ones and plain ones, each read into one listing of clips.

Every file of this folder is a format and registers itself: `DATASETS` maps the names of its data
sets to their published number of classes (0: data of one's own, of any number), `SPLITS` names the
splits that must not be empty, `EXPECTS` describes the files, and

    read(asked) -> Listing

reads the annotations without opening a video.  An invalid line raises ManifestError with file:line
or file:key.  `parts/` holds the helpers: text (annotation files), listing (their clips), splits (of
data without any), files (the user's videos by name), build (from a listing to the manifests of an
index).
"""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Protocol, cast

from pks4.data.errors import DataError
from pks4.data.index.parts.listing import Asked, Listing
from pks4.errors import unknown_name


class Format(Protocol):
    """The names that a format's file defines."""

    DATASETS: dict[str, int]
    SPLITS: tuple[str, ...]
    EXPECTS: str

    def read(self, asked: Asked) -> Listing: ...


def formats() -> Iterator[Format]:
    """Every format, in the order of the file names."""
    for module in iter_modules(__path__):
        if not module.ispkg:
            yield cast(Format, import_module(f"pks4.data.index.{module.name}"))


def datasets() -> dict[str, Format]:
    """The format of every data set that can be indexed."""
    return {name: format_ for format_ in formats() for name in format_.DATASETS}


def find_format(name: str) -> Format:
    """The format of a data set.  Raises DataError, with near names, for an unknown one."""
    known = datasets()
    if name not in known:
        raise DataError(unknown_name("data set", name, known))
    return known[name]
