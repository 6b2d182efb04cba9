"""Data of one's own, as lists: lines of `path label`, or a CSV with a header path,label[,split].

Paths are relative to `--videos`.  A label is a name or a number.  Splits come from the lists' names
(a folder with train.txt, val.csv, my_test_list.txt), from a column `split`, or from `--split
80/10/10`, by a hash of each path; with `--group COLUMN` by a hash of that column, so that the clips
of one group stay together.  A list without labels is left out.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pks4.data.errors import ManifestError
from pks4.data.index.parts.files import SUFFIXES, without_suffix
from pks4.data.index.parts.listing import Asked, Clip, Listing
from pks4.data.index.parts.splits import split_named
from pks4.data.index.parts.text import csv_rows, lines, named_lines, visible

DATASETS = {"list": 0}
SPLITS = ("train",)
EXPECTS = (
    "a file of lines `path label`, or a CSV with a header path,label[,split], or a folder of such "
    "files named train, val and test; paths from --videos on; where no splits are named, --split "
    "80/10/10, with --group COLUMN to keep the clips of one source together"
)

_COMMA = re.compile(rf"({'|'.join(map(re.escape, SUFFIXES))}),", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class _Row:
    where: str
    path: str
    label: str
    split: str | None = None
    group: str | None = None


def read(asked: Asked) -> Listing:
    """Every labelled line of the lists, in their order."""
    lists, left_out = _lists(asked.annotations)
    clips = []
    for source, split in lists:
        rows = list(_rows(source, asked.group))
        if not any(row.label for row in rows):
            left_out.append(f"{source} has no labels")
            continue
        for row in rows:
            if not row.label:
                raise ManifestError(f"{row.where}: no label after {row.path!r}; give it")
        clips += [_clip(asked, source, row, split) for row in rows]
    return Listing(
        clips=tuple(clips), classes=_in_order({clip.class_name for clip in clips}),
        left_out=tuple(left_out),
    )  # fmt: skip


def _lists(annotations: Path) -> tuple[list[tuple[Path, str | None]], list[str]]:
    """The lists with the splits that their names say, and what was left out."""
    if annotations.is_file():
        return [(annotations, None)], []
    files = [p for p in visible(annotations, "*") if p.suffix.lower() in (".txt", ".csv", ".tsv")]
    if len(files) == 1:
        return [(files[0], None)], []
    lists, left_out = [], []
    for path in files:
        named = {split_named(word) for word in re.split(r"[^a-z]+", path.stem.lower())} - {None}
        if len(named) == 1:
            lists.append((path, named.pop()))
        else:
            left_out.append(f"the name of {path} says no split")
    if not lists:
        raise ManifestError(
            f"{annotations}: no list train.txt, val.csv, … here; name them so, or give one file"
        )
    return lists, left_out


def _rows(source: Path, group: str | None) -> Iterator[_Row]:
    first = next(lines(source), None)
    if first is None:
        return
    for delimiter in ",;\t":
        header = [cell.strip() for cell in next(csv.reader([first[1]], delimiter=delimiter))]
        if "path" in header and (len(header) > 1 or header == ["path"]):
            yield from _table(source, delimiter, group)
            return
    if group:
        raise ManifestError(
            f"{first[0]}: no header path,label,{group}, which --group needs; add it"
        )
    for where, name, words in named_lines(source):
        if _COMMA.search(name):
            raise ManifestError(f"{where}: a CSV needs the header path,label; add it")
        if len(words) > 1 and all(word.isdigit() for word in words):
            raise ManifestError(f"{where}: two numbers after the path; give path and label alone")
        yield _Row(where=where, path=name, label=" ".join(words))


def _table(source: Path, delimiter: str, group: str | None) -> Iterator[_Row]:
    for where, row in csv_rows(source, ("path", *([group] if group else [])), delimiter):
        if group and not row[group].strip():
            raise ManifestError(f"{where}: no {group}, by which --group splits; give it")
        yield _Row(
            where=where, path=row["path"].replace("\\", "/"), label=row.get("label", "").strip(),
            split=row.get("split"), group=row[group] if group else None,
        )  # fmt: skip


def _clip(asked: Asked, source: Path, row: _Row, listed: str | None) -> Clip:
    path = _below(asked.videos.root, row)
    stem = without_suffix(path)
    named = listed
    if row.split is not None:
        named = split_named(row.split)
        if named is None or (listed and named != listed):
            wanted = listed or "train, val or test"
            raise ManifestError(f"{row.where}: split {row.split!r}; it must be {wanted}")
    if named and asked.shares:
        raise ManifestError(f"{row.where}: is in split {named} already; leave --split out")
    if not named and not asked.shares:
        raise ManifestError(
            f"{source}: names no splits; add --split 80/10/10, a column split, or give a folder "
            "with train.txt and test.txt"
        )
    split = named or asked.shares.split_of(row.group or stem)
    return Clip(where=row.where, split=split, class_name=row.label, stems=(stem,), path=path)


def _below(root: Path, row: _Row) -> str:
    """The path from the folder of videos. Raises ManifestError for one that leads out of it."""
    from pks4.data.manifest import leaves_folder  # not at import: it loads readers

    path = Path(row.path)
    for top in (root, root.resolve()):
        if path.is_absolute() and path.is_relative_to(top):
            path = path.relative_to(top)
    if not row.path or leaves_folder(str(path)):
        raise ManifestError(
            f"{row.where}: {row.path!r} is no path below {root}; give it relative to --videos"
        )
    return str(PurePosixPath(path))


def _in_order(labels: set[str]) -> tuple[str, ...]:
    """Labels by number if all are numbers, else by name."""
    numbers = all(label.isdecimal() for label in labels)
    return tuple(sorted(labels, key=(lambda label: int(label)) if numbers else None))
