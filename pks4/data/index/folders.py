"""Data of one's own, a folder a class: `<class>/clip.mp4`, or `<split>/<class>/clip.mp4`.

Splits come from the folders `train`, `val` and `test` (or `validation`, `testing` and the like) at
the top, or else from `--split 80/10/10`, by a hash of each clip's path.  A class is the name of the
first folder below; clips may lie in further folders.
"""

from pathlib import PurePosixPath

from pks4.data.errors import ManifestError
from pks4.data.index.parts.files import without_suffix
from pks4.data.index.parts.listing import Asked, Clip, Listing
from pks4.data.index.parts.splits import split_named

DATASETS = {"folders": 0}
SPLITS = ("train",)
EXPECTS = (
    "no --annotations; videos <class>/<clip>.mp4 with --split 80/10/10, or "
    "train/<class>/<clip>.mp4 beside val/ and test/"
)


def read(asked: Asked) -> Listing:
    """Every video of the folder, in the order of the paths."""
    root, videos = asked.videos.root, list(asked.videos)
    if asked.annotations != root:
        raise ManifestError(f"{asked.annotations}: 'folders' reads no lists; give --videos alone")
    if asked.group:
        raise ManifestError(f"--group {asked.group}: 'folders' has no columns; use 'list'")
    depth = 1 if _has_split_folders(asked, videos) else 0
    clips = []
    for path in videos:
        if len(path.parts) < depth + 2:
            place = root / path.parent
            raise ManifestError(f"{root / path}: is in no class; move it into {place}/<class>/")
        named = split_named(path.parts[0]) if depth else None
        stem = without_suffix(str(path))
        assert named or asked.shares
        split = named or asked.shares.split_of(stem)
        clips.append(Clip(where=str(root / path), split=split, class_name=path.parts[depth],
                          stems=(stem,), path=str(path)))  # fmt: skip
    classes = tuple(sorted({clip.class_name for clip in clips}))
    return Listing(clips=tuple(clips), classes=classes, left_out=_empty(asked, videos, depth))


def _has_split_folders(asked: Asked, videos: list[PurePosixPath]) -> bool:
    """Whether the folders at the top are splits. Raises ManifestError where that is in doubt."""
    root, tops = asked.videos.root, {path.parts[0] for path in videos}
    splits = sorted(top for top in tops if split_named(top))
    others = sorted(tops.difference(splits))
    if splits and not others:
        if asked.shares:
            raise ManifestError(
                f"{root}: {splits[0]} is a split already; leave --split out, or move its classes up"
            )
        return True
    if not asked.shares:
        what = f"{splits[0]} and {others[0]} lie side by side" if splits else "no folder train"
        raise ManifestError(
            f"{root}: {what}; add --split 80/10/10 if each folder is a class, or move the classes "
            "into train/ and test/"
        )
    return False


def _empty(asked: Asked, videos: list[PurePosixPath], depth: int) -> tuple[str, ...]:
    """The folders of a class that hold no video."""
    used = {path.parts[: depth + 1] for path in videos}
    folders = sorted(p for p in asked.videos.root.glob("/".join("*" * (depth + 1))) if p.is_dir())
    below = ((folder, folder.relative_to(asked.videos.root).parts) for folder in folders)
    return tuple(
        f"{folder} holds no video"
        for folder, parts in below
        if parts not in used and not parts[-1].startswith(".")
    )
