"""A rendered data set: its folder, and the cache of such folders.

A folder `<task>-<size>px-<frames>f-seed<seed>-v<generator>-train<n>-val<n>-test<n>` holds
`<split>/<index>.mp4`, one manifest `<split>.csv` a split, and `dataset.json`.  `dataset.json` is
written last: a folder without it is not finished.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pks4.data.errors import CacheError, DataError
from pks4.data.manifest import leaves_folder

SCHEMA_VERSION = 1  # of dataset.json and of index.json
DESCRIPTION = "dataset.json"


class Dataset(BaseModel):
    """A finished data set on disk.

    `splits` maps each split to its manifest, `counts` to its number of clips; `size` is the side in
    pixels, `frames` the length of a clip, `fps` its rate.  `digest` is the sha256 over the clips'
    frames_sha256 in order of splits and lines: equal digests mean equal frames before encoding.
    `versions` holds the versions of the packages that rendered it.
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

        Raises DataError if the folder holds none, or its description is invalid.
        """
        root = Path(root)
        remedy = "make the data set again (delete the folder if that does not help)"
        dataset = read_description(cls, root, DESCRIPTION, "data set", remedy)
        for split, name in dataset.splits.items():
            if leaves_folder(str(name)):
                fault = f"splits.{split}: {str(name)!r} leaves the folder"
                raise DataError(f"{root / DESCRIPTION}: {fault}; {remedy}")
        manifests = {split: root / name for split, name in dataset.splits.items()}
        return dataset.model_copy(update={"splits": manifests})

    def description(self) -> dict[str, Any]:
        """The content of `dataset.json`: every field but the root, with paths relative to it."""
        fields = self.model_dump(mode="json", exclude={"root"})
        fields["splits"] = {split: path.name for split, path in self.splits.items()}
        return {"schema_version": SCHEMA_VERSION, **fields}


Described = TypeVar("Described", bound=BaseModel)


def read_description(
    model: type[Described], root: Path, name: str, noun: str, remedy: str
) -> Described:
    """The model that the JSON file `name` in folder `root` describes.

    Raises DataError, with the remedy, if the file is missing, is not JSON, has another schema
    version, or does not fit the model. `noun` names what a missing file means is not finished.
    """
    path = root / name
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise DataError(f"{root}: no finished {noun} here; {remedy}") from None
    except (ValueError, RecursionError):
        raise DataError(f"{path}: not JSON; {remedy}") from None
    if not isinstance(fields, dict) or fields.pop("schema_version", None) != SCHEMA_VERSION:
        raise DataError(f"{path}: schema_version is not {SCHEMA_VERSION}; {remedy}")
    try:
        return model(root=root, **fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise DataError(f"{path}: {field}: {first['msg']}; {remedy}") from None


def cache_root(cache: Path | str | None = None) -> Path:
    """The folder of data sets: `cache`, else $PKS4_CACHE, else the user's cache folder."""
    chosen = cache or os.environ.get("PKS4_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("pks4-bench"))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file atomically, through a temporary file.

    Raises CacheError, with the remedy, if the folder cannot be written to.
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
    """One sha256 over a list of sha256 hashes."""
    return hashlib.sha256("".join(hashes).encode()).hexdigest()
