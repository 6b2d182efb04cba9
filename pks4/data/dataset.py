"""A rendered data set: what its folder holds, and where such folders are kept.

A folder `<task>-<size>px-<frames>f-seed<seed>-v<generator>-train<n>-val<n>-test<n>` holds
`<split>/<index>.mp4`, one manifest `<split>.csv` a split, and `dataset.json`.  That last file is
written when everything else is in place: a folder without it is not finished.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pks4.data.errors import CacheError, DataError
from pks4.data.manifest import leaves

SCHEMA_VERSION = 1
DESCRIPTION = "dataset.json"


class Dataset(BaseModel):
    """A finished data set on disk.

    `splits` maps each split to its manifest, `counts` to its number of clips; `size` is the side in
    pixels, `frames` the length of a clip, `fps` its rate.  `digest` is the sha256 over the clips'
    frames_sha256 in order of splits and lines: equal digests mean equal frames before encoding.
    `versions` names the packages that rendered it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path
    task: str
    classes: tuple[str, ...]
    size: int
    frames: int
    fps: int
    seed: int
    generator_version: int
    counts: dict[str, int]
    splits: dict[str, Path]
    digest: str
    versions: dict[str, str]

    @classmethod
    def read(cls, root: Path | str) -> "Dataset":
        """The finished data set in folder `root`.

        Raises DataError if the folder holds none, or one that cannot be understood.
        """
        root = Path(root)
        path = root / DESCRIPTION
        remedy = "make the data set again (delete the folder if that does not help)"
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
        except OSError:
            raise DataError(f"{root}: no finished data set here; {remedy}") from None
        except (ValueError, RecursionError):
            raise DataError(f"{path}: not JSON; {remedy}") from None
        if not isinstance(fields, dict) or fields.pop("schema_version", None) != SCHEMA_VERSION:
            raise DataError(f"{path}: schema_version is not {SCHEMA_VERSION}; {remedy}")
        try:
            dataset = cls(root=root, **fields)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise DataError(f"{path}: {place}: {first['msg']}; {remedy}") from None
        for split, name in dataset.splits.items():
            if leaves(str(name)):
                said = f"splits.{split}: {str(name)!r} leaves the folder"
                raise DataError(f"{path}: {said}; {remedy}")
        manifests = {split: root / name for split, name in dataset.splits.items()}
        return dataset.model_copy(update={"splits": manifests})

    def description(self) -> dict[str, Any]:
        """What `dataset.json` holds: every field but the root, manifests relative to it."""
        fields = self.model_dump(mode="json", exclude={"root"})
        fields["splits"] = {split: path.name for split, path in self.splits.items()}
        return {"schema_version": SCHEMA_VERSION, **fields}


def cache_root(cache: Path | str | None = None) -> Path:
    """The folder that data sets are kept in: `cache`, else $PKS4_CACHE, else the user's cache."""
    chosen = cache or os.environ.get("PKS4_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("pks4-bench"))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there in full or not at all.

    Raises CacheError, naming the remedy, where the folder cannot be written to.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(content)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise CacheError(
            f"cannot write {path}: {error.strerror}; free some space, "
            "or set PKS4_CACHE to a folder that can be written to"
        ) from error


def digest(hashes: list[str]) -> str:
    """One sha256 over a list of them."""
    return hashlib.sha256("".join(hashes).encode()).hexdigest()
