"""Data of one's own: a folder a class, and lists; split by file, by share or by group."""

import csv
import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from pks4.cli import app
from pks4.data.errors import DataError, ManifestError
from pks4.data.index.parts.build import build
from pks4.data.index.parts.splits import Shares
from tests.factories.index_trees import pictures, videos, write

CLASSES = ("archery", "surfing water")
CLIPS = [f"{name}/{k:02d}.mp4" for name in CLASSES for k in range(12)]


def folders(root, **options):
    return build("folders", None, root / "v", root / "out", workers=2, **options)


def listed(root, annotations="list.txt", **options):
    return build("list", root / annotations, root / "v", root / "out", workers=2, **options)


def splits(done):
    """The paths of each split, from the folder of videos."""
    return {split: [str(e.path.relative_to(done.videos)) for e in done.entries(split)]
            for split in done.counts}  # fmt: skip


# a folder a class


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "valid", "testing")])
def test_folders_of_splits_are_the_splits(tmp_path, names):
    videos(tmp_path / "v", [f"{split}/{name}/deep/er/a.mp4" for split in names for name in CLASSES])
    done = folders(tmp_path)
    assert done.counts == {"train": 2, "val": 2, "test": 2}
    assert done.classes == CLASSES
    assert [entry.class_name for entry in done.entries("test")] == list(CLASSES)
    assert (done.published_classes, done.split_by) == (2, None)


def test_shares_split_by_a_hash_that_other_clips_do_not_move(tmp_path):
    videos(tmp_path / "v", CLIPS)
    done = folders(tmp_path, split="60/20/20")
    assert sum(done.counts.values()) == len(CLIPS)
    assert set(done.counts) == {"train", "val", "test"}
    assert done.split_by == "60/20/20 by hash of path"
    before = splits(done)
    videos(tmp_path / "v", ["archery/more.mp4"])
    for path in (tmp_path / "v").rglob("*.mp4"):
        path.rename(path.with_suffix(".avi"))
    after = splits(folders(tmp_path, split="60/20/20"))
    for split, paths in before.items():
        assert {path.replace(".mp4", ".avi") for path in paths} <= set(after[split])


def test_shares_are_what_they_say():
    thousands = [Shares.parse("80/10/10").split_of(f"class/{k}") for k in range(20_000)]
    for split, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
        assert thousands.count(split) / 20_000 == pytest.approx(share, abs=0.01)
    assert Shares.parse("75/25").percents == (75, 0, 25)


@pytest.mark.parametrize(
    "text", ["80", "80/10", "80/10/10/0", "0/50/50", "a/b", "110/-10", "nan/0"]
)
def test_shares_that_make_no_hundred_are_refused(text):
    with pytest.raises(DataError, match=r"--split .* that make 100, as in 80/10/10"):
        Shares.parse(text)


def test_clips_may_be_folders_of_pictures_beside_videos(tmp_path):
    videos(tmp_path / "v", ["train/a/1.mp4", "test/a/1.mp4"])
    pictures(tmp_path / "v/train/b/clip")
    write(tmp_path / "v/train/a/1.jpg", "the thumbnail of a video")
    done = folders(tmp_path)
    assert splits(done)["train"] == ["train/a/1.mp4", "train/b/clip"]
    assert done.reader["name"] == "images and pyav"


def test_a_class_folder_without_a_video_is_told(tmp_path):
    videos(tmp_path / "v", ["train/a/1.mp4", "test/a/2.mp4"])
    write(tmp_path / "v/train/b/read me.txt", "")
    assert folders(tmp_path).left_out == (f"{tmp_path}/v/train/b holds no video",)


@pytest.mark.parametrize(
    ("names", "options", "line"),
    [
        (["a/1.mp4", "b/2.mp4"], {}, r"/v: no folder train; add --split 80/10/10"),
        (["train/a/1.mp4", "b/2.mp4"], {}, r"/v: train and b lie side by side; add --split"),
        (["train/a/1.mp4"], {"split": "80/20"}, r"/v: train is a split already; leave --split"),
        (["1.mp4"], {"split": "80/20"}, r"/v/1\.mp4: is in no class; move it into .*/v/<class>/"),
        (["train/1.mp4"], {}, r"/v/train/1\.mp4: is in no class; move it into .*train/<class>/"),
        (["train/a/1.mp4", "test/b/1.mp4"], {}, r"class 'b' has clips in test and none in train"),
        (["test/a/1.mp4"], {}, r"split 'train' is empty"),
        (["a/1.mp4"], {"split": "80/20", "group": "x"}, r"--group x: 'folders' has no columns"),
    ],
)
def test_a_fault_in_the_folders_is_one_line(tmp_path, names, options, line):
    videos(tmp_path / "v", names)
    with pytest.raises(DataError, match=line) as caught:
        folders(tmp_path, **options)
    assert "\n" not in str(caught.value)


# lists


def test_lists_by_file(tmp_path):
    videos(tmp_path / "v", CLIPS)
    write(tmp_path / "lists/my_train_list.txt", "archery/00.mp4 1\nsurfing water/01.mp4 0\n")
    write(tmp_path / "lists/val.csv", "label,path,note\n0,archery/02.mp4,\n")
    write(tmp_path / "lists/test.txt", "archery/03.mp4\n")
    write(tmp_path / "lists/label_map.txt", "surfing\narchery\n")
    done = listed(tmp_path, "lists")
    assert splits(done) == {
        "train": ["archery/00.mp4", "surfing water/01.mp4"], "val": ["archery/02.mp4"]
    }  # fmt: skip
    assert [entry.label for entry in done.entries("train")] == [1, 0]
    assert done.left_out == (
        f"the name of {tmp_path}/lists/label_map.txt says no split",
        f"{tmp_path}/lists/test.txt has no labels",
    )


@pytest.mark.parametrize(
    "text",
    [
        "path,label,split\narchery/00.mp4,a,train\narchery/01.mp4,a,validation\n",
        "\ufeffsplit;label;path;more\r\ntrain;a;archery/00.mp4;x\r\nVal;a;archery/01.mp4;\r\n\r\n",
        "path\tlabel\tsplit\narchery\\00.avi\ta\ttrain\n./archery/01.MP4\ta\tval\n",
    ],
)
def test_a_table_with_splits(tmp_path, text):
    videos(tmp_path / "v", CLIPS)
    write(tmp_path / "list.txt", text)
    assert splits(listed(tmp_path)) == {"train": ["archery/00.mp4"], "val": ["archery/01.mp4"]}


def test_lines_take_spaces_in_names_and_numbers_keep_their_order(tmp_path):
    videos(tmp_path / "v", CLIPS)
    write(tmp_path / "list.txt", "".join(f"{clip} {9 + (k % 3)}\n" for k, clip in enumerate(CLIPS)))
    done = listed(tmp_path, split="50/50")
    assert done.classes == ("9", "10", "11")
    write(tmp_path / "list.txt", "".join(f"{clip} {clip.split('/')[0]}\n" for clip in CLIPS))
    assert listed(tmp_path, split="50/50").classes == CLASSES


def test_a_list_may_lie_beside_the_videos_and_name_them_in_full(tmp_path):
    videos(tmp_path / "v", CLIPS)
    write(tmp_path / "v/train.txt", f"{tmp_path}/v/archery/00.mp4 0\n")
    write(tmp_path / "v/test.txt", "archery/01.mp4 0\n")
    done = build("list", None, tmp_path / "v", tmp_path / "out")
    assert splits(done) == {"train": ["archery/00.mp4"], "test": ["archery/01.mp4"]}


def test_a_path_is_from_the_root_and_never_a_file_of_that_name_below(tmp_path):
    videos(tmp_path / "v", ["a/1.mp4", "b/a/1.mp4", "b/a/2.mp4"])
    write(tmp_path / "list.txt", "path,label,split\na/1.mp4,x,train\na/2.mp4,x,train\n")
    done = listed(tmp_path, max_bad=0.5)
    assert splits(done)["train"] == ["a/1.mp4"]
    assert done.bad == {"train": 1}
    line = (tmp_path / "out/bad.csv").read_text().splitlines()[1]
    assert f"no such video in {tmp_path}/v; restore it, or correct {tmp_path}/list.txt:3" in line


def test_clips_of_one_group_stay_together(tmp_path):
    videos(tmp_path / "v", CLIPS)
    with (tmp_path / "list.txt").open("w", newline="") as file:
        rows = [(clip, clip.split("/")[0], f"person {k % 6}") for k, clip in enumerate(CLIPS)]
        csv.writer(file).writerows([("path", "label", "person"), *rows])
    done = listed(tmp_path, split="50/50", group="person")
    assert done.split_by == "50/50 by hash of column person"
    parts = [{CLIPS.index(path) % 6 for path in paths} for paths in splits(done).values()]
    assert all(parts)
    assert set.intersection(*parts) == set()


@pytest.mark.parametrize(
    ("text", "options", "line"),
    [
        ("archery/00.mp4 0\n", {}, r"list\.txt: names no splits; add --split 80/10/10"),
        ("archery/00.mp4 0\narchery/01.mp4\n", {}, r"list\.txt:2: no label after '.*01\.mp4'"),
        ("archery/00.mp4,0\n", {}, r"list\.txt:1: a CSV needs the header path,label; add it"),
        ("archery/00 30 0\n", {}, r"list\.txt:1: two numbers after the path"),
        ("../00.mp4 0\n", {}, r"list\.txt:1: '\.\./00\.mp4' is no path below .*; give"),
        ("C:\\00.mp4 0\n", {}, r"list\.txt:1: 'C:/00\.mp4' is no path below"),
        ("/etc/00.mp4 0\n", {}, r"list\.txt:1: '/etc/00\.mp4' is no path below"),
        ("path,label,split\nx.mp4,0,tran\n", {}, r"list\.txt:2: split 'tran'; it must be train"),
        ("path,label,split\nx.mp4,0\n", {}, r"list\.txt:2: 2 columns, the header has 3"),
        ("path,label,split\nx.mp4,,train\ny.mp4,1,train\n", {}, r"list\.txt:2: no label"),
        ("path,label,split\nx.mp4,0,train\n", {"split": "80/20"}, r"list\.txt:2: is in split"),
        ("path,label\nx.mp4,0\n", {"split": "80/20", "group": "who"}, r"txt:1: no column 'who'"),
        ("path,label,who\nx.mp4,0,\n", {"split": "80/20", "group": "who"}, r"list\.txt:2: no who"),
        ("x.mp4 0\n", {"split": "80/20", "group": "who"}, r"list\.txt:1: no header path,label,who"),
        ("x.mp4 0\n", {"group": "who"}, r"--group who is of a split by share; add --split"),
        ("archery/00.mp4 0\n" * 2, {"split": "80/20"}, r"list\.txt:2: clip .* is listed at .*:1"),
        ("", {}, r"split 'train' is empty.*list\.txt has no labels"),
    ],
)  # fmt: skip
def test_a_fault_in_a_list_is_one_line_with_its_place(tmp_path, text, options, line):
    videos(tmp_path / "v", CLIPS[:2])
    write(tmp_path / "list.txt", text)
    with pytest.raises(DataError, match=line) as caught:
        listed(tmp_path, **options)
    assert "\n" not in str(caught.value)


def test_a_list_named_for_a_split_takes_no_line_of_another(tmp_path):
    videos(tmp_path / "v", CLIPS)
    for name in ("train", "test"):
        write(tmp_path / f"lists/{name}.csv", "path,label,split\narchery/00.mp4,0,train\n")
    with pytest.raises(ManifestError, match=r"test\.csv:2: split 'train'; it must be test"):
        listed(tmp_path, "lists")


def test_official_sets_have_their_splits(tmp_path):
    (tmp_path / "v").mkdir()
    with pytest.raises(DataError, match="ucf101 has official splits; leave --split"):
        build("ucf101", None, tmp_path / "v", tmp_path / "out", split="80/20")


def test_the_command_tells_what_was_left_out(tmp_path):
    videos(tmp_path / "v", CLIPS)
    write(tmp_path / "v/empty/read me.txt", "")
    place = ["--videos", str(tmp_path / "v"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["data", "index", "folders", *place, "--split", "50/50"])
    assert done.exit_code == 0, done.output
    assert "left out:" in done.stderr
    assert "/v/empty holds no video" in done.stderr
    assert "2 classes, " in done.stderr
    kept = json.loads((tmp_path / "out/index.json").read_text())
    assert (kept["name"], kept["split_by"]) == ("folders", "50/50 by hash of path")


def test_help_teaches_both_forms():
    text = " ".join(CliRunner().invoke(app, ["data", "index", "--help"]).output.split())
    for word in ("folders:", "list:", "--split", "--group", "path,label[,split]"):
        assert word in text


@pytest.mark.slow
def test_the_formats_load_no_reader():
    """`pks4-bench --help` lists them, and stays quick."""
    code = (
        "import sys; from pks4.data.index import formats; list(formats()); "
        "sys.exit(bool({'av', 'numpy', 'PIL', 'torch'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
