"""From a listing to an index on disk: find each file, count its frames, list the bad clips."""

import csv
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pks4.data.dataset import write_whole
from pks4.data.errors import BadClipsError, DataError, ManifestError, VideoError
from pks4.data.index import find_format
from pks4.data.index.parts.files import VideoFiles
from pks4.data.index.parts.listing import (
    Asked,
    Clip,
    Listing,
    check_listing,
    check_trained,
)
from pks4.data.index.parts.splits import Shares
from pks4.data.index_folder import BAD, INDEX, Indexed
from pks4.data.manifest import manifest_text
from pks4.data.readers import count_frames, images, reader_for
from pks4.data.readers.packets import are_numbered, index, opened

OPENED = "opened.jsonl"
_SHOWN = 3  # bad clips named in the error


@dataclass(frozen=True, kw_only=True)
class LocatedClip:
    """A clip with its file, and its number of frames or the error."""

    clip: Clip
    path: PurePosixPath
    num_frames: int = 0
    error: VideoError | None = None


def build(
    name: str,
    annotations: Path | None,
    videos: Path,
    out: Path,
    *,
    fold: int = 1,
    split: str | None = None,
    group: str | None = None,
    exact: bool = False,
    max_bad: float = 0.01,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Indexed:
    """Index a data set into folder `out`.

    Without `annotations` the lists are looked for in the folder of videos. `split`, as in 80/10/10,
    and `group`, a column, split data of one's own that has no splits.

    num_frames counts the packets of shown frames; `exact` decodes every frame instead, many times
    slower.  Bad clips are left out, counted, and listed in bad.csv; above a share of
    `max_bad` the index is not finished.  A resumed index opens no file again that an earlier call
    opened and that is unchanged.
    Raises DataError, ManifestError for annotations, BadClipsError above the share.
    """
    if not 0 <= max_bad <= 1:
        raise DataError(f"max_bad is {max_bad}; give a share from 0 to 1")
    format_ = find_format(name)
    annotations = annotations or videos
    own = not format_.DATASETS[name]
    if not (annotations.is_dir() or (own and annotations.is_file())):
        raise ManifestError(f"{annotations}: no such folder; {name} needs {format_.EXPECTS}")
    if (split or group) and not own:
        raise DataError(f"{name} has official splits; leave --split and --group out")
    if group and not split:
        raise DataError(f"--group {group} is of a split by share; add --split 80/10/10")
    shares = Shares.parse(split) if split else None
    files = VideoFiles(videos)
    asked = Asked(annotations=annotations, fold=fold, videos=files, shares=shares, group=group)
    listing = check_listing(format_.read(asked), str(annotations), format_.SPLITS)
    if own:
        check_trained(listing, str(annotations))
    (out / INDEX).unlink(missing_ok=True)  # the earlier index is no longer valid
    located = _locate(listing, files)
    clips = _open_all(located, videos, out / OPENED, exact, workers, progress)
    bad = [item for item in clips if item.error]
    write_whole(out / BAD, _bad_text(bad).encode())
    if len(bad) > max_bad * len(clips):
        raise _too_many(bad, len(clips), max_bad, out)
    counts = _write_manifests(clips, listing, format_.SPLITS, out)
    done = Indexed(
        root=out, name=name, fold=fold, videos=videos.resolve(), classes=listing.classes,
        published_classes=format_.DATASETS[name] or len(listing.classes), no_flip=listing.no_flip,
        counts=counts, split_by=_split_by(split, group),
        left_out=(*listing.left_out, *filter(None, [files.note()])),
        bad=dict(Counter(item.clip.split for item in bad)),
        counted_by="frames" if exact else "packets",
        annotations_sha256=_digest(listing), reader=_readers(clips, videos),
    )  # fmt: skip
    write_whole(out / INDEX, done.text().encode())
    return done


def _locate(listing: Listing, files: VideoFiles) -> list[LocatedClip]:
    """Every clip with its file; two clips never share one."""
    taken, located = dict[Path, str](), []
    for clip in listing.clips:
        named = [files.at(clip.path)] if clip.path else map(files.find, clip.stems)
        paths = next(filter(None, named), [])
        if len(paths) > 1:
            raise DataError(
                f"{clip.where}: {clip.name!r} could be {paths[0]} or {paths[1]} "
                f"in {files.root}; keep one"
            )
        path = paths[0] if paths else PurePosixPath(clip.name)
        real = files.real(path)
        if real in taken:
            raise ManifestError(
                f"{clip.where}: file {path} is taken by {taken[real]} already; remove one"
            )
        if paths:
            taken[real] = clip.where
        missing = f"no such video in {files.root}; restore it, or correct {clip.where}"
        error = None if paths else VideoError(path, "missing", missing)
        located.append(LocatedClip(clip=clip, path=path, error=error))
    return located


def _open_all(located: list[LocatedClip], videos: Path, log: Path, exact: bool, workers: int | None,
              progress: Callable[[int, int], None] | None) -> list[LocatedClip]:  # fmt: skip
    """Count the frames of every file, in threads; each call opens a reader."""
    known = _counted_before(log)

    def count(item: LocatedClip) -> tuple[LocatedClip, str]:
        if item.error:
            return item, ""
        path = videos / item.path
        try:
            state = path.stat()
            key = f"{item.path} {state.st_size} {state.st_mtime_ns} {exact}"
            frames = known.get(key) or (count_frames(path) if exact else count_packets(path))
        except VideoError as error:
            return LocatedClip(clip=item.clip, path=item.path, error=error), ""
        return LocatedClip(clip=item.clip, path=item.path, num_frames=frames), key

    clips = []
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool,
        closing(pool.map(count, located)) as counted,  # if closed early, it drops the queue
        log.open("a", encoding="utf-8") as file,
    ):
        for done, (item, key) in enumerate(counted, 1):
            clips.append(item)
            if key and key not in known:
                file.write(json.dumps([key, item.num_frames]) + "\n")
            if progress is not None:
                progress(done, len(located))
    return clips


def count_packets(path: Path) -> int:
    """The number of packets of shown frames, or of pictures, without decoding.

    Where packets do not tell which frames are shown, all are decoded. Raises VideoError.
    """
    if path.is_dir():
        return len(images.pictures(path))
    with opened(path) as (container, stream):
        packets = index(path, container, stream)
        if are_numbered(packets, container, stream):
            return len(packets)
    return count_frames(path)


def _counted_before(log: Path) -> dict[str, int]:
    """The counts of an earlier call by file; a truncated last line is skipped."""
    known = dict[str, int]()
    for line in log.read_text().splitlines() if log.is_file() else []:
        try:
            key, frames = json.loads(line)
        except ValueError:
            continue
        known[key] = frames
    return known


def _split_by(split: str | None, group: str | None) -> str | None:
    return split and f"{split} by hash of {f'column {group}' if group else 'path'}"


def _readers(clips: list[LocatedClip], videos: Path) -> dict[str, str]:
    """The reader of the usable clips, or of both kinds, joined."""
    used = dict.fromkeys(reader_for(videos / c.path, "pyav") for c in clips if not c.error)
    infos = sorted((reader.info() for reader in used), key=lambda info: info["name"])
    keys = dict.fromkeys(key for info in infos for key in info)
    return {key: " and ".join(info[key] for info in infos if key in info) for key in keys}


def _bad_text(bad: list[LocatedClip]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "split", "kind", "message"))
    for item in bad:
        assert item.error is not None
        writer.writerow((item.path, item.clip.split, item.error.kind, item.error))
    return text.getvalue()


def _too_many(bad: list[LocatedClip], total: int, max_bad: float, out: Path) -> BadClipsError:
    shown = "; ".join(str(item.error) for item in bad[:_SHOWN])
    return BadClipsError(
        f"{len(bad)} of {total} clips cannot be used, more than {max_bad:.3g} of them "
        f"(all in {out / BAD}): {shown}; restore them, or raise --max-bad",
        [item.error for item in bad if item.error],
    )


def _write_manifests(clips: list[LocatedClip], listing: Listing, required: tuple[str, ...],
                     out: Path) -> dict[str, int]:  # fmt: skip
    """One manifest a split, in the order of the annotations; the number of clips in each."""
    labels = {name: label for label, name in enumerate(listing.classes)}
    counts = dict[str, int]()
    for split in sorted({item.clip.split for item in clips} | set(required)):
        rows = [
            {"path": item.path, "label": labels[item.clip.class_name],
             "class": item.clip.class_name, "num_frames": item.num_frames}
            for item in clips if item.clip.split == split and not item.error
        ]  # fmt: skip
        if not rows:
            raise DataError(f"{out}: no usable clip in split {split!r}; see {out / BAD}")
        write_whole(out / f"{split}.csv", manifest_text(rows).encode())
        counts[split] = len(rows)
    return counts


def _digest(listing: Listing) -> str:
    """A hash of the annotations: classes, and each clip's names, class and split."""
    lines = [*listing.classes, *(f"{c.split} {c.class_name} {c.stems}" for c in listing.clips)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
