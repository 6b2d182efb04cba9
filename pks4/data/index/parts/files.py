"""The videos of a folder by name: annotations select among existing files and never give paths."""

import os
from collections import defaultdict
from pathlib import Path, PurePosixPath

from pks4.data.errors import DataError

SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v")


class VideoFiles:
    """All videos below `root`; links to folders are not followed."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise DataError(f"{root}: no such folder of videos; correct --videos")
        self.root = root
        self._named: dict[str, list[PurePosixPath]] = defaultdict(list)
        for folder, _, names in os.walk(root):
            below = Path(folder).relative_to(root)
            for name in sorted(names):
                path = PurePosixPath((below / name).as_posix())
                if path.suffix.lower() in SUFFIXES:
                    self._named[path.stem].append(path)
        if not self._named:
            raise DataError(f"{root}: no video ({', '.join(SUFFIXES)}) here; correct --videos")

    def find(self, stem: str) -> list[PurePosixPath]:
        """The files, relative to the root, whose path without suffix is `stem` or ends in /`stem`.

        Dots in a stem are part of the name.
        """
        parts = PurePosixPath(stem).parts
        same_name = self._named.get(parts[-1], [])
        return [path for path in same_name if path.with_suffix("").parts[-len(parts) :] == parts]
