"""The videos of a folder by name: annotations select among existing files and never give paths.

A folder of numbered pictures is a video too. Hidden files, such as the `._` files of macOS, are
none. Links to files and folders are followed inside the tree: a loop ends where it closes, and a
link that leads out of the tree is left out and told.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from pks4.data.errors import DataError

SUFFIXES = (
    ".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp",
)  # fmt: skip
_SUFFIX = re.compile(rf"(?:{'|'.join(map(re.escape, SUFFIXES))})\Z", re.IGNORECASE)


def without_suffix(name: str) -> str:
    """A video's name or path without its suffix; any other dot is part of the name."""
    return _SUFFIX.sub("", name)


def _comparable(path: PurePosixPath | str) -> PurePosixPath:
    """A path with accents written in one way, in which file systems and lists differ."""
    return PurePosixPath(normalize("NFC", str(path)))


def _stem(path: PurePosixPath | str) -> PurePosixPath:
    return PurePosixPath(without_suffix(str(_comparable(path))))


class VideoFiles:
    """All videos below `root`; `outside` are the links that were left out, relative to it."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise DataError(f"{root}: no such folder of videos; correct --videos")
        from pks4.data.readers.images import is_picture  # not at import: it loads readers

        self.root, self._is_picture = root, is_picture
        self.outside: list[PurePosixPath] = []
        self._top = root.resolve()
        self._real: dict[PurePosixPath, Path] = {}  # of what is reached through a link
        self._named: dict[str, list[PurePosixPath]] = defaultdict(list)
        for path in self._walk(PurePosixPath(), self._top, (self._top,), linked=False):
            self._named[_stem(path).name].append(path)
        if not self._named:
            hidden = f"; {self.note()}" if self.outside else ""
            raise DataError(
                f"{root}: no video ({', '.join(SUFFIXES)}, or a folder of 00001.jpg, …) here"
                f"{hidden}; correct --videos"
            )

    def __iter__(self) -> Iterator[PurePosixPath]:
        """Every video, in the order of the paths."""
        return iter(sorted(path for paths in self._named.values() for path in paths))

    def note(self) -> str:
        """What was left out, in words; empty if nothing was."""
        if not self.outside:
            return ""
        return (
            f"{len(self.outside)} links that lead out of {self.root} were left out, "
            f"{self.outside[0]} first; to use them, give the folder that holds both as --videos"
        )

    def real(self, path: PurePosixPath) -> Path:
        """Where a video lies on the disk; two names of one file have one place."""
        return self._real.get(path, self._top / path)

    def find(self, stem: str) -> list[PurePosixPath]:
        """The files, relative to the root, whose path without suffix is `stem` or ends in /`stem`.

        Dots in a stem are part of the name. Of several names of one file the first is given.
        """
        parts = _comparable(stem).parts
        found = dict[Path, PurePosixPath]()
        for path in self._named.get(parts[-1], []):
            if _stem(path).parts[-len(parts) :] == parts:
                found.setdefault(self.real(path), path)
        return list(found.values())

    def at(self, path: str) -> list[PurePosixPath]:
        """The file at this path from the root, else those that differ from it in their suffix."""
        stem = _stem(path)
        alike = [other for other in self._named.get(stem.name, []) if _stem(other) == stem]
        return [other for other in alike if _comparable(other) == _comparable(path)] or alike

    def _walk(self, below: PurePosixPath, real: Path, way: tuple[Path, ...],
              linked: bool) -> Iterator[PurePosixPath]:  # fmt: skip
        """The videos of a folder; `way` are the real folders that lead to it."""
        has_videos = has_pictures = False
        for entry in _entries(real):
            is_link = entry.is_symlink()
            if not is_link and self._is_picture(entry.name) and not entry.is_dir():
                has_pictures = True
                continue
            path = below / entry.name
            target = Path(os.path.realpath(entry.path)) if is_link else real / entry.name
            if is_link and not target.is_relative_to(self._top):
                self.outside.append(path)
            elif target.is_dir() if is_link else entry.is_dir():
                if target not in way:
                    yield from self._walk(path, target, (*way, target), linked or is_link)
            elif _SUFFIX.search(entry.name) and (target if is_link else entry).is_file():
                has_videos = True
                if linked or is_link:
                    self._real[path] = target
                yield path
        if has_pictures and not has_videos and below.parts:
            if linked:
                self._real[below] = real
            yield below


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds, by name, without hidden files."""
    try:
        with os.scandir(folder) as found:
            entries = [entry for entry in found if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror}); allow it") from error
    return sorted(entries, key=lambda entry: entry.name)
