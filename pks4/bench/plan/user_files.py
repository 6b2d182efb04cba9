"""The files that a user named on the command line, and whether two runs had the same.

A run's header keeps a hash of each: image weights, the index and the manifests of a data set, and
the Python files of models and modules with what these import from their folder. `run --resume`
and `merge` refuse another file, `compare` tells it.
"""

from collections.abc import Mapping
from pathlib import Path

from pks4.bench.contestants import catalogue, own
from pks4.bench.contestants.neighbours import imported_from_folder


def hashes(weights: Mapping[str, Path], data: Path | None) -> dict[str, str]:
    """The SHA-256 of each file by what names it; a file that is not there has none."""
    from pks4.data.index_folder import BAD, INDEX
    from pks4.data.integrity import file_sha256

    files = {f"--weights {twin}": path for twin, path in weights.items()}
    code = {f"--model {path.name}": path for path in catalogue.added_models()}
    named = {"--module": catalogue.added_modules(), "model": own.in_files()}
    code |= {f"{k} {path.name}:{name}": path for k, v in named.items() for path, name in v}
    for option, path in code.items():
        files[option] = path
        for other in imported_from_folder(real := path.resolve()):
            files[f"{option}, its module {other.relative_to(real.parent).as_posix()}"] = other
    if data:
        files["--data"] = data / INDEX
        manifests = (path for path in sorted(data.glob("*.csv")) if path.name != BAD)
        files |= {f"--data, its {path.name}": path for path in manifests}
    return {name: file_sha256(path) for name, path in files.items() if path.is_file()}


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The names of files that both have and that are not the same."""
    return [name for name, value in one.items() if other.get(name, value) != value]
