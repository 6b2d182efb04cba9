"""The clips of a data set with their classes and splits, as its annotations list them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath

from pks4.data.errors import ManifestError


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One annotated clip.

    `stems` are possible names of its file, without suffix, in order of preference; a name with
    folders must be the end of the file's path.  `where` is the annotation's file:line or file:key.
    """

    where: str
    split: str
    class_name: str
    stems: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All clips; `classes` in the order of labels; `no_flip` the classes that a mirror changes."""

    clips: tuple[Clip, ...]
    classes: tuple[str, ...]
    no_flip: tuple[str, ...] = ()


def safe_name(where: str, name: str) -> str:
    """A file name from an annotation. Raises ManifestError for a path."""
    parts = {PurePosixPath(name).name, PureWindowsPath(name).name}
    if not name or name in {".", ".."} or parts != {name} or "\0" in name:
        raise ManifestError(
            f"{where}: {name!r} is not a plain file name; correct the annotation, "
            "it must not lead out of the folder of videos"
        )
    return name


def check_listing(listing: Listing, source: str, splits: Sequence[str]) -> Listing:
    """The listing. Raises ManifestError for a repeated or unknown class, or an empty split."""
    _unique(source, listing.classes)
    known, seen = set(listing.classes), dict[str, str]()
    for clip in listing.clips:
        if clip.class_name not in known:
            raise ManifestError(
                f"{clip.where}: class {clip.class_name!r} is outside the map of "
                f"{len(known)} classes; correct the annotation or the map"
            )
        name = clip.stems[0]
        if name in seen:
            raise ManifestError(
                f"{clip.where}: clip {name!r} is listed at {seen[name]} already; remove one"
            )
        seen[name] = clip.where
    for split in splits:
        if not any(clip.split == split for clip in listing.clips):
            raise ManifestError(f"{source}: split {split!r} is empty; give its annotations too")
    return listing


def _unique(source: str, classes: Iterable[str]) -> None:
    seen = set[str]()
    for name in classes:
        if name in seen:
            raise ManifestError(f"{source}: class {name!r} is in the map twice; remove one")
        seen.add(name)
