"""The kinds of files that a user may be handed: real ones, and what the project does with each.

A kind's `seeds` writes real files into a folder; its `take` uses a file as the project would, and
raises what the project raises. Files called `refused*` must be refused as they are.
"""

import gzip
import json
import os
import shutil
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECIPE_SUITE = """
name = "any"
title = "Any"
contestants = [CONTESTANTS]
grids = [{ name = "g", scale = "tiny", frames = [4], task = "temporal", measures = ["accuracy"] }]
"""
LINES, LONGEST_LINE = 30, 20_000  # of a run's file; bytes of a record
CLIPS = 20


@dataclass(frozen=True)
class Kind:
    """A kind of file: cases of a whole campaign, where its files come from, what takes them."""

    cases: int
    seeds: Callable[[Path], None]
    take: Callable[[Path], None]
    refuses: tuple[type[Exception], ...] = ()  # besides UserError


def copied(*patterns: str) -> Callable[[Path], None]:
    """Seeds that are files of this repository."""

    def seeds(folder: Path) -> None:
        for path in (path for pattern in patterns for path in ROOT.glob(pattern)):
            shutil.copy(path, folder / path.name)

    return seeds


def suites(folder: Path) -> None:
    """Every suite but the two that ask for data, and one with everything in it."""
    copied("suites/*.toml")(folder)
    for name in ("claims", "kinetics400", "ssv2"):
        (folder / f"{name}.toml").unlink()


def take_suite(path: Path) -> None:
    """As `pks4-bench plan` does it, in the short form too."""
    from pks4.bench.plan.plan import plan
    from pks4.bench.plan.suite import fast_text, parse_suite, read_suite

    suite, text = read_suite(path)
    plan(suite)
    if suite.fast:
        plan(parse_suite(fast_text(text), str(path)))


def take_claims(path: Path) -> None:
    """As `pks4-bench claims` does it, on a real run."""
    from pks4.bench.claims.claims import read_claims
    from pks4.bench.claims.judge import judge

    for claim in read_claims(path).claims:
        judge(claim, _real_runs())


def take_recipes(path: Path) -> None:
    """All recipes of a file in one plan."""
    from pks4.bench.plan import recipes
    from pks4.bench.plan.plan import plan
    from pks4.bench.plan.suite import parse_suite

    recipes.folder = lambda: path.parent  # where named recipes are looked for
    named = ", ".join(
        f'{{ label = "a{n}", model = "frame_mean", recipe = {json.dumps(f"{path.stem}/{table}")} }}'
        for n, table in enumerate(recipes.read(path))
    )
    plan(parse_suite(RECIPE_SUITE.replace("CONTESTANTS", named), "any"))


def manifests(folder: Path) -> None:
    """One with every column and one with the least."""
    from pks4.data.manifest import manifest_text

    rows = [
        {"path": f"{'class, a' if k % 2 else 'b'}/{k}.mp4", "label": k % 2, "num_frames": 16,
         "class": "class, a" if k % 2 else "b", "sprite": k, "frames_sha256": "ab" * 32,
         "file_sha256": "cd" * 32}
        for k in range(CLIPS)
    ]  # fmt: skip
    (folder / "full.csv").write_text(manifest_text(rows))
    least = [f"{r['path']},{r['label']},{r['class']},16" for r in rows if not r["label"]]
    (folder / "least.csv").write_text("\n".join(["path,label,class,num_frames", *least]) + "\n")


def take_manifest(path: Path) -> None:
    """With and without a map of classes; nothing it names may lie outside its folder."""
    from pks4.data.manifest import read_manifest

    for k in range(CLIPS):
        clip = path.parent / ("class, a" if k % 2 else "b") / f"{k}.mp4"
        if not clip.exists():
            clip.parent.mkdir(exist_ok=True)
            clip.touch()
    for classes in (None, ("b", "class, a")):
        for entry in read_manifest(path, classes=classes):
            inside = os.path.normpath(entry.path).startswith(f"{path.parent}{os.sep}")
            assert inside, f"{entry.path} lies outside"


def indexes(folder: Path) -> None:
    """Descriptions of an indexed and of a rendered data set."""
    indexed = {
        "schema_version": 1, "name": "ssv2", "fold": 1, "videos": "/videos", "no_flip": ["b"],
        "classes": ["a", "b"], "published_classes": 174, "counts": {"train": 2, "val": 1},
        "bad": {"train": 0, "val": 0}, "counted_by": "packets", "annotations_sha256": "ab" * 32,
        "reader": {"name": "pyav", "version": "18"},
    }  # fmt: skip
    rendered = {
        "schema_version": 1, "task": "temporal", "classes": ["a", "b"], "size": 64, "frames": 16,
        "fps": 12, "seed": 0, "generator_version": 1, "counts": {"train": 2}, "digest": "ab" * 32,
        "splits": {"train": "train.csv"}, "versions": {"numpy": "2"},
    }  # fmt: skip
    (folder / "index.json").write_text(json.dumps(indexed, indent=1))
    (folder / "dataset.json").write_text(json.dumps(rendered, indent=1))


def take_index(path: Path) -> None:
    """The description, and each manifest that it names, which must lie beside it."""
    from pks4.data.dataset import Dataset
    from pks4.data.index_folder import Indexed

    found = (Indexed if path.name == "index.json" else Dataset).read(path.parent)
    for split in found.counts:
        named = found.splits.get(split, path) if isinstance(found, Dataset) else path.parent / split
        inside = os.path.normpath(named).startswith(f"{path.parent}{os.sep}")
        assert inside, f"{named} lies outside"


def records(folder: Path) -> None:
    """The first lines of every reference run."""
    for path in ROOT.glob("results/reference/*.jsonl.gz"):
        header, *kept = gzip.decompress(path.read_bytes()).splitlines(keepends=True)[:LINES]
        short = [line for line in kept if len(line) < LONGEST_LINE]
        (folder / path.stem).write_bytes(b"".join([header, *short]))


def take_records(path: Path) -> None:
    """A run that is resumed, compared, judged and shown."""
    from pks4.bench.claims.claims import read_claims
    from pks4.bench.claims.judge import judge
    from pks4.bench.compare import compare, printing
    from pks4.bench.contestants import catalogue
    from pks4.bench.plan.user_inputs import inputs_of_old_run
    from pks4.bench.records import explain, run_file
    from pks4.bench.view.view import View

    run = run_file.read(path)
    run.missing()
    inputs_of_old_run(run.header.cells)
    View(run.records, run.header.model_dump(), run.missing())
    for record in run.records[:3]:
        explain.explain(record)
    printing.markdown(compare.compare(run, run))
    for claim in read_claims(catalogue.claims()).claims:
        judge(claim, [run])


def _net():
    from torch import nn

    return nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2))


def _trained():
    import torch

    net = _net()
    optimiser = torch.optim.AdamW(net.parameters())
    net(torch.ones(1, 4)).sum().backward()
    optimiser.step()
    return net, optimiser


KEY = {"model": "a", "recipe": "b", "data": "c"}


class Code:
    """What runs a command where it is unpickled without care."""

    def __reduce__(self):
        return os.system, ("true",)


def checkpoints(folder: Path) -> None:
    """A checkpoint of a training, and one that would run a command."""
    import torch

    from pks4.train import checkpoint

    history = checkpoint.History(losses=[1.0], epoch_clips=[4], seconds=[1.0], wait_seconds=[0.1])
    checkpoint.save(folder / "training.pt", KEY, *_trained(), history)
    torch.save({"version": 1, "key": KEY, "model": Code()}, folder / "refused.pt")


def take_checkpoint(path: Path) -> None:
    """As a resumed training does it."""
    from pks4.train import checkpoint

    checkpoint.load(path, KEY, *_trained())


def weights(folder: Path) -> None:
    """Weights in both formats, wrapped and plain, and three that must be refused."""
    import torch
    from safetensors.torch import save_file

    state = _net().state_dict()
    save_file(state, folder / "plain.safetensors")
    torch.save(state, folder / "plain.pth")
    wrapped = {"model": {f"module.{k}": v for k, v in state.items()}, "args": Namespace(lr=0.1)}
    torch.save(wrapped, folder / "wrapped.pth")
    torch.save(wrapped, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save({**state, "code": Code()}, folder / "refused_code.pth")
    torch.save(Code(), folder / "refused_old.pth", _use_new_zipfile_serialization=False)
    endless: dict = {}
    endless["model"] = endless
    torch.save(endless, folder / "refused_endless.pth")
    torch.save({1: torch.ones(1)}, folder / "refused_names.pth")


def take_weights(path: Path) -> None:
    """As a contestant loads its image twin's."""
    from pks4.weights.files import load_weights

    load_weights(_net(), path)


def videos(folder: Path) -> None:
    """The readers' test set: codecs, containers, open groups, variable rates."""
    from tests.data.readers.test_reader_files import FILES, write

    for name, (codec, options, extra) in FILES.items():
        write(folder / name, codec, options, **extra)


def take_video(path: Path) -> None:
    """Every reader that is here: the frames asked for, or a VideoError."""
    from pks4.data.errors import VideoError
    from pks4.data.readers import READERS, count_frames, read_frames

    refused = []
    for reader in READERS:
        for ask in (lambda r: read_frames(path, [0, 39, 17], r), lambda r: count_frames(path, r)):
            try:
                got = ask(reader)
            except VideoError as error:
                refused.append(error)
            else:
                assert isinstance(got, int) or got.shape[::3] == (3, 3), got.shape
    if len(refused) == 2 * len(READERS):
        raise refused[0]


_runs: list = []


def _real_runs() -> list:
    from pks4.bench.records import run_file

    if not _runs:
        names = ("latency", "plug_in", "streaming")
        paths = (p for name in names for p in ROOT.glob(f"results/reference/{name}-*.jsonl.gz"))
        _runs.extend(map(run_file.read, paths))
    return _runs


def seed_files(folder: Path) -> Iterator[Path]:
    """The files that a kind's `seeds` wrote, in order."""
    return iter(sorted(path for path in folder.iterdir() if path.is_file()))


KINDS = {
    "suites": Kind(400, suites, take_suite),
    "claims": Kind(250, copied("suites/claims.toml"), take_claims),
    "recipes": Kind(150, copied("suites/recipes/*.toml"), take_recipes),
    "manifests": Kind(300, manifests, take_manifest),
    "indexes": Kind(250, indexes, take_index),
    "records": Kind(300, records, take_records),
    "checkpoints": Kind(200, checkpoints, take_checkpoint),
    "weights": Kind(300, weights, take_weights, (ValueError,)),
    "videos": Kind(400, videos, take_video),
}
