"""Making a data set: balanced, reused, resumed, never half there."""

import csv
import json
import os

import pytest
import torch

from pks4.data import Dataset, integrity
from pks4.data.decoded_split import load_split
from pks4.data.errors import CacheError, DataError
from pks4.data.kinetic_digits import make_dataset
from pks4.data.kinetic_digits.tasks import DEFAULT_FRAMES, TASKS
from pks4.data.manifest import manifest_text, read_manifest, verify

COUNTS = {"train": 20, "test": 10}
SMALL = {"size": 32, "frames": 4, "counts": COUNTS, "workers": 1}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_dataset.make("spatial", cache=tmp_path_factory.mktemp("cache"), **SMALL)


def stamps(root):
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


def test_a_data_set_describes_itself(made):
    assert made == Dataset.read(made.root)
    assert made.counts == COUNTS
    assert made.root.name == "spatial-32px-4f-seed0-v1-train20-test10"
    assert {path.name for path in made.root.iterdir()} == {
        "dataset.json", "train", "test", "train.csv", "test.csv",
    }  # fmt: skip


def test_classes_are_balanced_and_clips_verify(made):
    entries = read_manifest(made.splits["train"], classes=made.classes)
    assert sorted(entry.label for entry in entries) == sorted([*range(10)] * 2)
    for entry in entries[:3]:
        verify(entry, check_hash=True)


def test_a_finished_data_set_is_reused_untouched(made):
    before = stamps(made.root)
    again = make_dataset.make("spatial", cache=made.root.parent, **SMALL)
    assert again == made
    assert stamps(made.root) == before


@pytest.mark.slow
def test_two_builds_are_equal_byte_by_byte_whatever_the_workers(made, tmp_path):
    calls = []
    other = make_dataset.make("spatial", cache=tmp_path, **SMALL | {"workers": 2},
                      progress=lambda *call: calls.append(call))  # fmt: skip
    assert other.digest == made.digest
    for path in stamps(made.root):
        assert path.read_bytes() == (other.root / path.relative_to(made.root)).read_bytes()
    assert calls == [(done, 30) for done in range(31)]


def test_an_interrupted_making_resumes_where_it_stopped(made, tmp_path):
    def interrupt(done, total):
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_dataset.make("spatial", cache=tmp_path, progress=interrupt, **SMALL)
    root = tmp_path / made.root.name
    assert not (root / "dataset.json").exists()
    with pytest.raises(DataError, match="no finished data set"):
        Dataset.read(root)
    kept = stamps(root / "train")
    assert len(kept) == 12
    spoilt = root / "train" / "000003.mp4"
    spoilt.write_bytes(b"spoilt")
    with (root / make_dataset.JOURNAL).open("a") as journal:
        journal.write('{"path": "train/0000')  # the line an interruption cut
    calls = []
    resumed = make_dataset.make(
        "spatial", cache=tmp_path, progress=lambda *c: calls.append(c), **SMALL
    )
    assert calls[0] == (11, 30)
    assert resumed.digest == made.digest
    after = stamps(root / "train")
    assert all(after[path] == kept[path] for path in kept if path != spoilt)
    assert spoilt.read_bytes() == (made.root / "train" / "000003.mp4").read_bytes()
    assert not list(root.rglob("*.part"))


def test_a_clip_lost_from_a_finished_data_set_is_rendered_again(made, tmp_path):
    mine = make_dataset.make("spatial", cache=tmp_path, **SMALL)
    (mine.root / "test" / "000005.mp4").unlink()
    calls = []
    make_dataset.make("spatial", cache=tmp_path, progress=lambda *c: calls.append(c), **SMALL)
    assert calls == [(29, 30), (30, 30)]
    assert load_split(mine, "test", 4).video.shape == (10, 4, 3, 32, 32)


def changed(path):
    """The same file with one byte turned, at the same time and size."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_changed_clip_is_named_with_the_remedy_and_the_remedy_works(made, tmp_path):
    mine = make_dataset.make("spatial", cache=tmp_path, **SMALL)
    clip = mine.root / "test" / "000005.mp4"
    changed(clip)
    with pytest.raises(DataError, match=r"test/000005.mp4: this file was changed.*delete it"):
        make_dataset.make("spatial", cache=tmp_path, **SMALL)
    clip.unlink()
    assert make_dataset.make("spatial", cache=tmp_path, **SMALL).digest == made.digest


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("frames_sha256", "0" * 64, "do not give the digest in dataset.json"),
        ("num_frames", "5", r"5 frames of 000000.mp4 where dataset.json says 4"),
        (None, None, "9 clips where dataset.json says 10"),
    ],
)
def test_a_changed_manifest_is_found_by_the_description(tmp_path, column, value, message):
    root = make_dataset.make("spatial", cache=tmp_path, **SMALL).root
    with (root / "test.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    if column is None:
        rows.pop()
    else:
        rows[0][column] = value
    (root / "test.csv").write_text(manifest_text(rows))
    with pytest.raises(DataError, match=message):
        make_dataset.make("spatial", cache=tmp_path, **SMALL)


def test_files_are_hashed_once_in_a_process_unless_they_change(made, monkeypatch):
    hashed = []
    real = integrity.file_sha256
    monkeypatch.setattr(integrity, "file_sha256", lambda path: hashed.append(path) or real(path))
    monkeypatch.setattr(integrity, "_verified", set())
    for _ in range(2):
        integrity.check_unchanged(made)
    assert len(hashed) == 30
    os.utime(made.root / "test" / "000005.mp4")
    integrity.check_unchanged(made)
    assert hashed[30:] == [made.root / "test" / "000005.mp4"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "size", "frames"),
    [
        *((task, *each) for task in TASKS for each in ((64, 128), (112, 40), (224, 32))),
        ("long", 64, DEFAULT_FRAMES["long"]),
    ],
)
def test_every_task_renders_at_every_size_and_length(task, size, frames, tmp_path):
    dataset = make_dataset.make(task, size=size, frames=frames, counts={"test": 2}, cache=tmp_path,
                        workers=1)  # fmt: skip
    clips = load_split(dataset, "test", frames)
    assert clips.video.shape == (2, frames, 3, size, size)
    assert not torch.equal(clips.video[0], clips.video[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "temporall"}, "did you mean 'temporal'"),
        ({"size": 33}, "even number"),
        ({"size": 16}, "at least 32"),
        ({"size": 64.0}, "whole number"),
        ({"frames": 1}, "at least 2"),
        ({"task": "long"}, "'long' takes at least 32"),
        ({"seed": -1}, "0 or more"),
        ({"workers": 0}, "1 or more"),
        ({"counts": {}}, "at least one of"),
        ({"counts": {"trian": 10}}, "did you mean 'train'"),
        ({"counts": {"train": 0}}, "leave the split out"),
    ],
)
def test_a_setting_that_cannot_be_met_is_refused(change, message, tmp_path):
    settings = {"task": "spatial", **SMALL, **change}
    with pytest.raises(DataError, match=message):
        make_dataset.make(settings.pop("task"), cache=tmp_path, **settings)
    assert not list(tmp_path.iterdir())


def test_a_cache_that_cannot_be_written_names_the_remedy(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CacheError, match="PKS4_CACHE"):
        make_dataset.make("spatial", cache=tmp_path / "file", **SMALL)
    assert issubclass(CacheError, OSError)


def test_the_cache_folder_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("PKS4_CACHE", str(tmp_path))
    tiny = make_dataset.make("spatial", size=32, frames=2, counts={"val": 1})
    assert tiny.root.parent == tmp_path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "not JSON"),
        ('{"schema_version": 99}', "schema_version"),
        ('{"schema_version": 1, "tusk": "spatial"}', "dataset.json: "),
    ],
)
def test_a_description_that_cannot_be_understood_is_refused(text, message, tmp_path):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=message):
        Dataset.read(tmp_path)


def test_the_description_names_the_packages_that_rendered_it(made):
    fields = json.loads((made.root / "dataset.json").read_text())
    assert set(fields["versions"]) == {"numpy", "scipy", "scikit-learn", "av"}
