"""Folders of numbered pictures: the frames asked for, and no guess where a picture is missing."""

import numpy as np
import pytest
from PIL import Image

from pks4.data.errors import VideoError
from pks4.data.readers import READERS, count_frames, images, read_frames
from tests.factories.index_trees import FRAMES, pictures


def levels(video):
    return [round(float(frame.mean()) / 40) for frame in video]


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("name", ["{:05d}.jpg", "img_{:05d}.JPG", "{}.jpeg", "frame{:03d}.png"])
def test_every_picture_is_the_one_asked_for(tmp_path, name, start):
    folder = pictures(tmp_path / "clip", name, start)
    (folder / "._00001.jpg").write_text("of macOS")
    (folder / "Thumbs.db").write_text("of Windows")
    video = read_frames(folder, [4, 0, 0, 2], num_frames=FRAMES)
    assert video.shape == (4, 24, 32, 3)
    assert video.dtype == np.uint8
    assert levels(video) == [4, 0, 0, 2]
    assert count_frames(folder) == FRAMES


def test_numbers_without_zeros_are_in_the_order_of_numbers(tmp_path):
    for k in range(1, 12):
        Image.new("L", (8, 8), 20 * k).save(tmp_path / f"{k}.png")
    video = read_frames(tmp_path, range(11))
    assert [int(frame[0, 0, 0]) for frame in video] == [20 * k for k in range(1, 12)]


@pytest.mark.parametrize("reader", READERS)
def test_any_chosen_reader_leaves_folders_to_this_one(tmp_path, reader):
    assert levels(read_frames(pictures(tmp_path / "clip"), [3], reader)) == [3]
    assert images.info()["name"] == "images"


def test_a_picture_is_turned_as_it_says(tmp_path):
    image = Image.fromarray(np.array([[[0] * 3, [250] * 3]], np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn
    image.save(tmp_path / "1.png", exif=turned)
    assert read_frames(tmp_path, [0]).shape == (1, 2, 1, 3)


def remove(folder):
    (folder / "00003.jpg").unlink()


def remove_first(folder):
    (folder / "00001.jpg").unlink()


def cut(folder):
    path = folder / "00003.jpg"
    path.write_bytes(path.read_bytes()[:-10])


def empty(folder):
    (folder / "00003.jpg").write_bytes(b"")


def double(folder):
    (folder / "3.jpg").write_bytes((folder / "00003.jpg").read_bytes())


def other_kind(folder):
    Image.new("RGB", (32, 24)).save(folder / "flow_00001.jpg")


def other_size(folder):
    Image.new("RGB", (24, 32)).save(folder / "00005.jpg")


def no_picture(folder):
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "kind", "line"),
    [
        (remove, "truncated", r"00003\.jpg is missing before 00004\.jpg; restore it"),
        (remove_first, "truncated", r"00001\.jpg is missing before 00002\.jpg"),
        (cut, "decode", r"00003\.jpg: not a readable picture \(image file is truncated"),
        (empty, "decode", r"00003\.jpg: not a readable picture"),
        (double, "inexact", r"has a number that another picture has too"),
        (other_kind, "inexact", r"flow_00001\.jpg .* of two kinds"),
        (other_size, "decode", r"the frame size changes"),
        (no_picture, "open", r"no numbered picture"),
    ],
)
def test_a_fault_is_refused_by_its_name(tmp_path, damage, kind, line):
    folder = pictures(tmp_path / "clip")
    damage(folder)
    with pytest.raises(VideoError, match=line) as caught:
        read_frames(folder, [2, 4])
    assert caught.value.kind == kind
    assert "\n" not in str(caught.value)


def test_another_number_of_frames_than_declared_is_refused(tmp_path):
    folder = pictures(tmp_path / "clip")
    with pytest.raises(VideoError, match="5 frames where 6 were declared"):
        read_frames(folder, [0], num_frames=6)
    with pytest.raises(VideoError, match="frame 5 was asked for but the file holds 5"):
        read_frames(folder, [5])
