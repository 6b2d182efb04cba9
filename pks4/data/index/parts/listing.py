"""The clips of a data set with their classes and splits, as its annotations list them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from pks4.data.errors import ManifestError
from pks4.data.index.parts.files import VideoFiles
from pks4.data.index.parts.splits import Shares

_SIDE = re.compile(r"\b(left|right|(counter)?clockwise)\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One annotated clip.

    `stems` are possible names of its file, without suffix, in order of preference; a name with
    folders must be the end of the file's path.  `path` is its file from the folder of videos, where
    the annotation gives that.  `where` is the annotation's file:line or file:key.
    """

    where: str
    split: str
    class_name: str
    stems: tuple[str, ...]
    path: str = ""

    @property
    def name(self) -> str:
        """What the annotation calls it."""
        return self.path or self.stems[0]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All clips; `classes` in the order of labels; `no_flip` the classes that a mirror changes.

    `left_out` says in words which lists or folders hold no usable clip.
    """

    clips: tuple[Clip, ...]
    classes: tuple[str, ...]
    no_flip: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a format reads: annotations, the fold, the videos that are there.

    `shares` and `group`, a column, split data of one's own that has no splits.
    """

    annotations: Path
    fold: int
    videos: VideoFiles
    shares: Shares | None = None
    group: str | None = None


def naming_a_side(classes: Iterable[str]) -> tuple[str, ...]:
    """Classes that a mirror turns into others, by the words left, right and (counter)clockwise."""
    return tuple(name for name in classes if _SIDE.search(name))


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
        name = clip.name
        if name in seen:
            raise ManifestError(
                f"{clip.where}: clip {name!r} is listed at {seen[name]} already; remove one"
            )
        seen[name] = clip.where
    for split in splits:
        if not any(clip.split == split for clip in listing.clips):
            left_out = "".join(f" (left out: {note})" for note in listing.left_out)
            raise ManifestError(
                f"{source}: split {split!r} is empty; give its annotations too{left_out}"
            )
    return listing


def check_trained(listing: Listing, source: str) -> None:
    """Raise ManifestError for a class that is tested and never trained."""
    trained = {clip.class_name for clip in listing.clips if clip.split == "train"}
    for clip in listing.clips:
        if clip.class_name not in trained:
            raise ManifestError(
                f"{source}: class {clip.class_name!r} has clips in {clip.split} and none in train; "
                "give it some, leave it out, or split in other shares"
            )


def _unique(source: str, classes: Iterable[str]) -> None:
    seen = set[str]()
    for name in classes:
        if name in seen:
            raise ManifestError(f"{source}: class {name!r} is in the map twice; remove one")
        seen.add(name)
