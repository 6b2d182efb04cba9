"""Official annotations become manifests: every clip opened, every doubt one clear line."""

import csv
import json

import pytest
from typer.testing import CliRunner

from pks4.cli import app
from pks4.data.errors import BadClipsError, DataError, ManifestError
from pks4.data.index import datasets
from pks4.data.index.parts.build import build, count_packets
from pks4.data.index_folder import Indexed
from tests.factories.index_trees import FRAMES, TREES, videos, write

LABELS = {  # the labels of each split, by hand
    "kinetics400": {"train": [0, 1], "val": [0]},
    "kinetics600": {"train": [0, 1], "val": [0]},
    "kinetics700": {"train": [0, 1], "val": [0]},
    "ssv2": {"train": [0, 1], "val": [0]},
    "jester": {"train": [0, 1], "val": [0]},
    "ssv1": {"train": [0, 1], "val": [0]},
    "ucf101": {"train": [0, 1], "test": [1]},
    "hmdb51": {"train": [0, 1], "test": [1]},
    "diving48": {"train": [0, 1], "test": [0]},
    "breakfast": {"train": [9, 6], "test": [0]},
    "coin": {"train": [1, 0], "test": [0]},
}


def index(root, name, **options):
    return build(name, root / "a", root / "v", root / "out", workers=2, **options)


def test_eleven_data_sets_can_be_indexed_and_data_of_ones_own():
    assert set(datasets()) - {"folders", "list"} == set(TREES) == set(LABELS)
    assert len(TREES) == 11


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", TREES)
def test_a_tree_in_the_official_layout_becomes_manifests(tmp_path, name, exact):
    TREES[name](tmp_path)
    index(tmp_path, name, exact=exact)
    done = Indexed.read(tmp_path / "out")
    assert done.counted_by == ("frames" if exact else "packets")
    assert done.counts == {split: len(labels) for split, labels in LABELS[name].items()}
    for split, labels in LABELS[name].items():
        entries = done.entries(split)
        assert [entry.label for entry in entries] == labels
        assert {entry.num_frames for entry in entries} == {FRAMES}


def test_clips_of_one_name_in_two_classes_keep_their_own_files(tmp_path):
    TREES["hmdb51"](tmp_path)
    one, other = index(tmp_path, "hmdb51").entries("train")
    assert (one.path.parent.name, other.path.parent.name) == ("brush_hair", "wave")


def test_classes_that_name_a_side_are_not_flipped(tmp_path):
    TREES["ssv2"](tmp_path)
    done = index(tmp_path, "ssv2")
    assert done.no_flip == ("Pushing something from left to right",)
    assert [done.may_flip(label) for label in (0, 1)] == [True, False]


def test_breakfast_is_split_by_person(tmp_path):
    TREES["breakfast"](tmp_path)
    tested = [index(tmp_path, "breakfast", fold=fold).entries("test") for fold in (1, 2, 4)]
    assert [[e.class_name for e in entries] for entries in tested] == [["cereals"], ["tea"],
                                                                      ["salat"]]  # fmt: skip


def test_breakfast_in_folders_of_persons_is_read_too(tmp_path):
    for name in ("P03/cam01/P03_tea", "P20/cam02/P20_milk"):
        write(tmp_path / f"a/{name}.txt", "")
    videos(tmp_path / "v", ["P03/cam01/P03_tea.avi", "P20/cam02/P20_milk.avi"])
    assert index(tmp_path, "breakfast").counts == {"test": 1, "train": 1}


def test_bad_videos_are_listed_and_left_out(tmp_path):
    TREES["coin"](tmp_path)
    write(tmp_path / "v/0/k1.mp4", "not a video")
    done = index(tmp_path, "coin", max_bad=0.5)
    assert done.bad == {"train": 1}
    assert done.counts == {"train": 1, "test": 1}
    rows = list(csv.DictReader((tmp_path / "out/bad.csv").read_text().splitlines()))
    assert [(row["path"], row["split"], row["kind"]) for row in rows] == [
        ("0/k1.mp4", "train", "open")
    ]


def test_too_many_bad_videos_stop_the_index(tmp_path):
    TREES["coin"](tmp_path)
    index(tmp_path, "coin")
    (tmp_path / "v/0/k1.mp4").unlink()
    with pytest.raises(BadClipsError, match=r"1 of 3 clips.*k1.*\[missing\]") as caught:
        index(tmp_path, "coin")
    assert [error.kind for error in caught.value.errors] == ["missing"]
    assert "k1" in (tmp_path / "out/bad.csv").read_text()
    with pytest.raises(DataError, match="no finished index"):  # the old one no longer holds
        Indexed.read(tmp_path / "out")


def test_files_opened_before_are_not_opened_again_unless_changed(tmp_path, monkeypatch):
    TREES["coin"](tmp_path)
    index(tmp_path, "coin")
    opened = []
    monkeypatch.setattr(
        "pks4.data.index.parts.build.count_packets",
        lambda path: opened.append(path.name) or count_packets(path),
    )
    with (tmp_path / "out/opened.jsonl").open("a") as file:
        file.write('["cut')
    (tmp_path / "v/1/k2.mp4").touch()
    assert index(tmp_path, "coin").counts == {"train": 2, "test": 1}
    assert opened == ["k2.mp4"]


def break_column(root):
    write(root / "a/train.csv", "label,youtube_id,time_start,split\n")


def break_class(root):
    text = (root / "a/validate.csv").read_text().replace("archery", "archry")
    write(root / "a/validate.csv", text)


def break_twice(root):
    lines = (root / "a/train.csv").read_text()
    write(root / "a/train.csv", lines + lines.splitlines()[1] + "\n")


def break_empty(root):
    (root / "a/validate.csv").unlink()


def break_path(root):
    text = (root / "a/train.csv").read_text().replace("AAA", "../AAA")
    write(root / "a/train.csv", text)


def break_time(root):
    text = (root / "a/train.csv").read_text().replace("AAA,1,", "AAA,one,")
    write(root / "a/train.csv", text)


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (break_column, r"train\.csv:1: no column 'time_end'"),
        (break_class, r"validate\.csv:2: class 'archry' is outside the map of 2"),
        (break_twice, r"train\.csv:4: clip 'AAA_000001_000011' is listed at .*train\.csv:2"),
        (break_empty, r"split 'val' is empty"),
        (break_path, r"train\.csv:2: '\.\./AAA' is not a plain file name"),
        (break_time, r"train\.csv:2: time_start 'one' is not a whole number"),
    ],
)
def test_a_fault_in_the_lists_is_one_line_with_its_place(tmp_path, damage, line):
    TREES["kinetics400"](tmp_path)
    damage(tmp_path)
    with pytest.raises(ManifestError, match=line) as caught:
        index(tmp_path, "kinetics400")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "line"),
    [
        ("ssv2", "train.json", "Holding [", "Hold [", r"train\.json:\[0\]: class 'Hold something'"),
        ("ssv2", "train.json", "74225", "a/b", r"train\.json:\[0\]: 'a/b' is not a plain"),
        ("ssv2", "labels.json", '"1"', '"7"', r"labels are not 0\.\.1"),
        ("ucf101", "trainlist01.txt", ".avi 2", ".avi 1", r"trainlist01\.txt:2: label 1"),
        ("ucf101", "testlist01.txt", "Archery/v", "../v", r"testlist01\.txt:1: '\.\.'"),
        ("hmdb51", "wave_test_split1.txt", "avi 2", "avi 3", r"split1\.txt:2: mark '3'"),
        ("diving48", "Diving48_V2_test.json", '"label": 0', '"label": 48', r"\[0\]: label 48 is"),
        ("coin", "COIN.json", '"testing"', '"tested"', r"COIN\.json:k3: subset 'tested'"),
        ("coin", "COIN.json", '"k2"', '"k1"', r"COIN\.json:k1: this key is there twice"),
        ("coin", "COIN.json", '"class"', '"klass"', r"COIN\.json:k1: no usable 'class'"),
        ("coin", "COIN.json", "}}}", "}}", r"COIN\.json:1: not JSON"),
    ],
)
def test_each_format_names_the_place_of_a_fault(tmp_path, name, file, old, new, line):
    TREES[name](tmp_path)
    path = tmp_path / "a" / file
    assert old in path.read_text()
    write(path, path.read_text().replace(old, new, 2 if old == '"class"' else -1))
    with pytest.raises(ManifestError, match=line):
        index(tmp_path, name)


def test_two_files_that_could_be_one_clip_are_not_guessed_between(tmp_path):
    TREES["coin"](tmp_path)
    (tmp_path / "v/2").mkdir()
    (tmp_path / "v/1/k2.mp4").rename(tmp_path / "v/2/k1.mp4")
    with pytest.raises(DataError, match="'k1' could be"):
        index(tmp_path, "coin")


def run(*arguments):
    return CliRunner().invoke(app, ["data", "index", *map(str, arguments)])


def test_the_command_prints_the_folder(tmp_path):
    TREES["ucf101"](tmp_path)
    options = ["--annotations", tmp_path / "a", "--videos", tmp_path / "v", "--out", tmp_path / "o"]
    assert run("ucf101", *options).stdout.split() == [str(tmp_path / "o")]
    assert json.loads(run("ucf101", *options, "--json").stdout)["counts"] == {"test": 1, "train": 2}


def test_the_command_ends_with_one_where_too_many_are_bad(tmp_path):
    TREES["ucf101"](tmp_path)
    write(tmp_path / "v/Archery/v_Archery_g01_c01.avi", "not a video")
    options = ["--annotations", tmp_path / "a", "--videos", tmp_path / "v", "--out", tmp_path / "o"]
    assert run("ucf101", *options).exit_code == 1


def test_help_names_every_data_set():
    text = run("--help").output
    assert all(name in text for name in TREES)
