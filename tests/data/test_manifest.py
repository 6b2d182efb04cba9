"""A manifest is read strictly: each bad line is one error that starts with file:line."""

import hashlib

import pytest

from pks4.data.errors import DataError, ManifestError, VideoError
from pks4.data.kinetic_digits.encode import encode
from pks4.data.kinetic_digits.render import render
from pks4.data.kinetic_digits.tasks import FPS
from pks4.data.manifest import COLUMNS, Entry, manifest_text, read_manifest, verify

HEADER = "path,label,class,num_frames"
CLASSES = ("cat", "dog")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"a")
    (tmp_path / "b.mp4").write_bytes(b"b")
    return tmp_path


def manifest(folder, *lines, header=HEADER):
    path = folder / "train.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_a_good_manifest_gives_its_entries_in_order(folder):
    path = manifest(folder, "b.mp4,1,dog,4,9,f,e", "a.mp4,0,cat,8,,,", header=",".join(COLUMNS))
    first, second = read_manifest(path, classes=CLASSES)
    assert first == Entry(path=folder / "b.mp4", label=1, class_name="dog", num_frames=4, sprite=9,
                          frames_sha256="f", file_sha256="e")  # fmt: skip
    assert second == Entry(path=folder / "a.mp4", label=0, class_name="cat", num_frames=8)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("c.mp4,0,cat,4", "no such file 'c.mp4'"),
        ("a.mp4,0,cat", "3 columns where the header has 4"),
        ("a.mp4,0,cat,4,5", "5 columns where the header has 4"),
        ("a.mp4,x,cat,4", "label 'x' is not a whole number"),
        ("a.mp4,2,cat,4", r"label 2 is outside the map of 2 classes; use 0\.\.1"),
        ("a.mp4,-1,cat,4", "outside the map"),
        ("a.mp4,1,cat,4", "label 1 is class 'dog', not 'cat'"),
        ("a.mp4,0,cat,4.0", r"num_frames '4\.0' is not a whole number"),
        ("a.mp4,0,cat,0", "at least one frame"),
        (",0,cat,4", "empty path"),
        ("/etc/hosts,0,cat,4", "leaves the manifest's folder"),
        ("../a.mp4,0,cat,4", "leaves the manifest's folder"),
        ("x/../../a.mp4,0,cat,4", "leaves the manifest's folder"),
        (r"C:\a.mp4,0,cat,4", "leaves the manifest's folder"),
    ],
)
def test_a_bad_line_is_named_with_its_remedy(line, message, folder):
    path = manifest(folder, "b.mp4,1,dog,4", line)
    with pytest.raises(ManifestError, match=message) as caught:
        read_manifest(path, classes=CLASSES)
    assert str(caught.value).startswith(f"{path}:3: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("path,label,class", "no column 'num_frames'"),
        ("path,label,class,num_frame", "did you mean 'num_frames'"),
        ("path,label,class,num_frames,path", "a column twice"),
        ("", "no column 'path'"),
    ],
)
def test_a_bad_header_is_line_one(header, message, folder):
    path = manifest(folder, "a.mp4,0,cat,4", header=header)
    with pytest.raises(ManifestError, match=message) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(f"{path}:1: ")


def test_without_a_map_a_label_keeps_one_name(folder):
    path = manifest(folder, "a.mp4,5,cat,4", "b.mp4,5,dog,4")
    with pytest.raises(ManifestError, match=":3: label 5 is class 'cat', not 'dog'"):
        read_manifest(path)


def test_outside_paths_are_read_when_allowed(folder):
    (folder / "deep").mkdir()
    path = manifest(folder / "deep", "../a.mp4,0,cat,4", f"{folder}/b.mp4,1,dog,4")
    entries = read_manifest(path, allow_outside=True)
    assert [entry.path.name for entry in entries] == ["a.mp4", "b.mp4"]


def test_a_missing_or_empty_manifest_says_so(folder):
    with pytest.raises(ManifestError, match="no such manifest"):
        read_manifest(folder / "nothing.csv")
    with pytest.raises(ManifestError, match=":1: no clip"):
        read_manifest(manifest(folder))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b'a.mp4,0,"cat'])
def test_what_is_not_csv_text_says_so(folder, content):
    path = folder / "train.csv"
    path.write_bytes(HEADER.encode() + b"\n" + content)
    with pytest.raises(ManifestError, match=r"train\.csv:\d: not CSV text in UTF-8"):
        read_manifest(path)


def test_written_rows_are_read_back_even_with_a_comma(folder):
    row = dict.fromkeys(COLUMNS, "") | {"path": "a.mp4", "label": 0, "class": "cat, big",
                                        "num_frames": 4}  # fmt: skip
    path = folder / "own.csv"
    path.write_text(manifest_text([row]))
    assert read_manifest(path)[0].class_name == "cat, big"


@pytest.fixture
def entry(tmp_path):
    clip = render("temporal", "train", 0, size=32, frames=6, seed=0)
    content = encode(clip.frames, FPS)
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return Entry(path=path, label=0, class_name="left", num_frames=6, file_sha256=digest)


@pytest.mark.parametrize("reader", ["pyav", "decord"])
def test_a_sound_clip_verifies(entry, reader):
    verify(entry, reader=reader, check_hash=True)


@pytest.mark.parametrize("reader", ["pyav", "decord"])
@pytest.mark.parametrize(("declared", "kind"), [(7, "truncated"), (5, "inexact")])
def test_another_number_of_frames_does_not_verify(entry, reader, declared, kind):
    with pytest.raises(VideoError, match=f"6 frames where {declared} were declared") as caught:
        verify(entry.model_copy(update={"num_frames": declared}), reader=reader)
    assert caught.value.kind == kind


def test_other_bytes_do_not_verify(entry):
    other = entry.model_copy(update={"file_sha256": "0" * 64})
    verify(other)
    with pytest.raises(DataError, match="restore the file"):
        verify(other, check_hash=True)
