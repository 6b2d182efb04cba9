"""Official lists and folders as people have them: no labels, strays, other suffixes, links."""

import pytest

from pks4.data.errors import DataError, ManifestError
from pks4.data.index.parts.build import build
from tests.factories.index_trees import TREES, video, videos, write


def index(root, name, **options):
    return build(name, root / "a", root / "v", root / "out", workers=2, **options)


@pytest.mark.parametrize(
    "content",
    [
        "youtube_id,time_start,time_end,split\nDDD,1,11,test\n",
        "label,youtube_id,time_start,time_end,split\n,DDD,1,11,test\n",
    ],
)
def test_a_test_list_without_labels_is_left_out_and_told(tmp_path, content):
    TREES["kinetics400"](tmp_path)
    write(tmp_path / "a/test.csv", content)
    done = index(tmp_path, "kinetics400")
    assert done.counts == {"train": 2, "val": 1}
    assert done.left_out == (f"{tmp_path}/a/test.csv has no labels",)


def test_a_single_line_without_a_label_is_a_fault(tmp_path):
    TREES["kinetics400"](tmp_path)
    path = tmp_path / "a/train.csv"
    write(path, path.read_text().replace("archery,", ","))
    with pytest.raises(ManifestError, match=r"train\.csv:2: no label"):
        index(tmp_path, "kinetics400")


def test_a_training_list_without_labels_is_named_where_the_split_is_empty(tmp_path):
    TREES["kinetics400"](tmp_path)
    write(tmp_path / "a/train.csv", "youtube_id,time_start,time_end,split\nAAA,1,11,train\n")
    write(tmp_path / "a/validate.csv", "youtube_id,time_start,time_end,split\n")
    with pytest.raises(ManifestError, match=r"'train' is empty.*train\.csv has no labels"):
        index(tmp_path, "kinetics400")


@pytest.mark.parametrize("name", ["ssv1", "jester", "ssv2"])
def test_the_test_list_of_twentybn_is_told(tmp_path, name):
    TREES[name](tmp_path)
    if name == "ssv2":
        write(tmp_path / "a/test.json", '[{"id": "4"}]')
    (line,) = index(tmp_path, name).left_out
    assert line.endswith("has no labels")


def test_classes_of_jester_that_a_mirror_changes_are_not_flipped(tmp_path):
    TREES["jester"](tmp_path)
    assert index(tmp_path, "jester").no_flip == ("Turning Hand Clockwise",)


def test_pictures_are_counted_from_the_folder_and_holes_are_bad_clips(tmp_path):
    TREES["jester"](tmp_path)
    (tmp_path / "v/20/00002.jpg").unlink()
    done = index(tmp_path, "jester", max_bad=0.5)
    assert done.reader["name"] == "images"
    assert [entry.num_frames for entry in done.entries("train")] == [5]
    assert "00002.jpg is missing" in (tmp_path / "out/bad.csv").read_text()


@pytest.mark.parametrize("name", TREES)
def test_strays_marks_and_line_ends_change_nothing(tmp_path, name):
    TREES[name](tmp_path)
    want = index(tmp_path, name)
    for path in [p for p in (tmp_path / "a").rglob("*") if p.is_file()]:
        text = path.read_text()
        path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    for path in [p for p in (tmp_path / "v").rglob("*") if p.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    assert index(tmp_path, name) == want


@pytest.mark.parametrize("name", [n for n in TREES if n not in ("jester", "ssv1")])
@pytest.mark.parametrize("suffix", [".MP4", ".AVI", ".mkv"])
def test_files_of_another_suffix_than_listed_are_found(tmp_path, name, suffix):
    TREES[name](tmp_path)
    want = index(tmp_path, name).counts
    for path in [p for p in (tmp_path / "v").rglob("*") if p.is_file()]:
        path.rename(path.with_suffix(suffix))
    assert index(tmp_path, name).counts == want


@pytest.mark.parametrize("suffix", [".mp4", ".MP4", ".AVI", ""])
@pytest.mark.parametrize("name", ["ucf101", "hmdb51"])
def test_lists_of_another_suffix_than_the_files_name_them(tmp_path, name, suffix):
    TREES[name](tmp_path)
    want = index(tmp_path, name).counts
    for path in (tmp_path / "a").iterdir():
        write(path, path.read_text().replace(".avi", suffix))
    assert index(tmp_path, name).counts == want


def test_more_columns_than_official_are_not_looked_at(tmp_path):
    TREES["ucf101"](tmp_path)
    for name, label in (("trainlist01", ""), ("testlist01", " 2")):
        path = tmp_path / f"a/{name}.txt"
        write(path, "".join(f"{line}{label} 120\n" for line in path.read_text().splitlines()))
    assert index(tmp_path, "ucf101").counts == {"test": 1, "train": 2}


def test_a_list_that_is_not_utf_8_names_the_line(tmp_path):
    TREES["ucf101"](tmp_path)
    (tmp_path / "a/testlist01.txt").write_bytes(b"Archery/v_a.avi\nArch\xe9ry/v_b.avi\n")
    with pytest.raises(ManifestError, match=r"testlist01\.txt:2: not text in UTF-8; save"):
        index(tmp_path, "ucf101")


def test_accents_are_one_name_however_they_are_written(tmp_path):
    TREES["coin"](tmp_path)
    path = tmp_path / "a/COIN.json"
    write(path, path.read_text().replace("k1", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"))
    (tmp_path / "v/0/k1.mp4").rename(tmp_path / "v/0/cafe\N{COMBINING ACUTE ACCENT}.mp4")
    assert index(tmp_path, "coin").bad == {}


# links


def test_links_within_the_tree_are_followed_and_loops_end(tmp_path):
    TREES["hmdb51"](tmp_path)
    tree = tmp_path / "v"
    (tree / "store").mkdir()
    (tree / "wave").rename(tree / "store/other")
    (tree / "wave").symlink_to("store/other")
    (tree / "brush_hair/April#1(x)_h_cm.avi").rename(tree / "store/x.avi")
    (tree / "brush_hair/April#1(x)_h_cm.avi").symlink_to("../store/x.avi")
    (tree / "store/loop").symlink_to("..")
    (tree / "store/self").symlink_to("self")
    done = index(tmp_path, "hmdb51")
    assert done.counts == {"test": 1, "train": 2}
    assert done.left_out == ()


def test_breakfast_is_found_through_links_too(tmp_path):
    names = [f"P{k:02d}_cam01_P{k:02d}_tea" for k in (3, 20)]
    videos(tmp_path / "v", [f"{names[0]}.avi", f".store/{names[1]}.avi"])
    (tmp_path / "v/linked").symlink_to(".store")
    done = build("breakfast", None, tmp_path / "v", tmp_path / "out")
    assert done.counts == {"test": 1, "train": 1}


def test_a_folder_of_videos_may_be_a_link_itself(tmp_path):
    TREES["coin"](tmp_path)
    (tmp_path / "v").rename(tmp_path / "elsewhere")
    (tmp_path / "v").symlink_to("elsewhere")
    assert index(tmp_path, "coin").counts == {"test": 1, "train": 2}


def test_links_out_of_the_tree_are_left_out_and_told(tmp_path):
    TREES["coin"](tmp_path)
    video(tmp_path / "elsewhere/k1.mp4")
    (tmp_path / "v/0/k1.mp4").unlink()
    (tmp_path / "v/0/k1.mp4").symlink_to(tmp_path / "elsewhere/k1.mp4")
    (tmp_path / "v/all").symlink_to(tmp_path / "elsewhere")
    done = index(tmp_path, "coin", max_bad=0.5)
    assert done.bad == {"train": 1}
    (line,) = done.left_out
    assert line.startswith("2 links that lead out of")
    assert "0/k1.mp4 first" in line


def test_one_file_under_two_names_is_one_clip(tmp_path):
    TREES["coin"](tmp_path)
    (tmp_path / "v/again").symlink_to("0")
    assert index(tmp_path, "coin").counts == {"test": 1, "train": 2}
    (tmp_path / "v/1/k3.mp4").unlink()
    (tmp_path / "v/1/k3.mp4").symlink_to("k2.mp4")
    with pytest.raises(ManifestError, match=r"k3: file 1/k3\.mp4 is taken by .*k2 already"):
        index(tmp_path, "coin")


def test_nothing_but_links_out_of_the_tree_is_said(tmp_path):
    TREES["coin"](tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/v").symlink_to(tmp_path / "v")
    with pytest.raises(DataError, match=r"no video .*1 links that lead out"):
        build("coin", tmp_path / "a", tmp_path / "empty", tmp_path / "out")


def test_a_clip_of_every_name_that_people_give_is_read(tmp_path):
    names = ["a b.mp4", "-x.mp4", "_y.mp4", "it's [1].mp4", "caf\u00e9.mp4", "a:b.mp4", "c,d.mp4"]
    videos(tmp_path / "v", [f"{split}/class one/{n}" for split in ("train", "test") for n in names])
    done = build("folders", None, tmp_path / "v", tmp_path / "out")
    assert sorted(entry.path.name for entry in done.entries("train")) == sorted(names)
