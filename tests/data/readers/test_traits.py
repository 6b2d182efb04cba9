"""Traits of videos that once gave wrong frames without a word; the files are in `clips/`."""

from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest

from pks4.data.errors import VideoError
from pks4.data.index.parts.build import count_packets
from pks4.data.readers import count_frames, read_frames
from pks4.data.readers.orientation import Orientation, SkewedError, orientation
from pks4.data.readers.packets import is_hidden

CLIPS = Path(__file__).parent / "clips"


def decoded(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_hidden_pictures_of_vp8_are_not_counted_and_move_no_frame():
    path = CLIPS / "vpxenc.webm"  # 150 frames in 160 packets
    frames = decoded(path)
    assert count_packets(path) == count_frames(path) == len(frames) == 150
    wanted = [0, 1, 2, 10, 30, 50, 149]
    assert np.array_equal(read_frames(path, wanted, "pyav"), [frames[i] for i in wanted])
    with pytest.raises(VideoError, match="codec vp8"):
        read_frames(path, wanted, "decord")


@pytest.mark.parametrize(
    ("codec", "content", "hidden"),
    [
        ("vp8", b"\x10rest", False),
        ("vp8", b"\x01rest", True),
        ("vp9", bytes([0b10000110, 0, 0]), False),  # profile 0, shown
        ("vp9", bytes([0b10000100, 0, 0]), True),  # profile 0, not shown
        ("vp9", bytes([0b10001000, 0, 0]), False),  # shows a picture that is there
        ("vp9", bytes([0b10110010, 0, 0]), True),  # profile 3 has one more bit
        ("vp9", bytes([0b10110011, 0, 0]), False),
        ("vp9", bytes([0b10000100, 0, 0b11000001]), False),  # a superframe shows its last
        ("h264", b"\x00", False),
    ],
)
def test_the_header_of_a_picture_says_whether_it_is_shown(codec, content, hidden):
    assert is_hidden(codec, content) is hidden


def test_a_matroska_file_that_ends_before_its_segment_does_is_cut():
    path = CLIPS / "cut_vp9.webm"  # the first 60 % of a file
    for read in (count_packets, count_frames, lambda path: read_frames(path, [0], "pyav")):
        with pytest.raises(VideoError, match=r"ends at byte 30712, where its segment needs 51188"):
            read(path)


def test_a_mirrored_display_matrix_mirrors():
    path = CLIPS / "mat_hflip.mp4"
    frames = decoded(path)
    assert np.array_equal(read_frames(path, [0, 40], "pyav"), [frames[i][:, ::-1] for i in (0, 40)])
    with pytest.raises(VideoError, match="a turn or mirror noted"):
        read_frames(path, [0], "decord")


class Turned:
    """A frame with a display matrix."""

    def __init__(self, *matrix):
        self.side_data = {"DISPLAYMATRIX": np.array(matrix, np.int32).tobytes()} if matrix else {}


def placed(image, a, b, c, d):
    """Each pixel put where the matrix says, the slow way."""
    height, width = image.shape[:2]
    where = {
        (a * x + c * y, b * x + d * y): image[y, x] for y, x in product(range(height), range(width))
    }
    left, top = (min(p[axis] for p in where) for axis in (0, 1))
    size = [max(p[axis] for p in where) - low + 1 for axis, low in ((1, top), (0, left))]
    result = np.zeros((*size, 3), np.uint8)
    for (x, y), pixel in where.items():
        result[y - top, x - left] = pixel
    return result


@pytest.mark.parametrize("signs", [*product((1, -1), repeat=2)])
@pytest.mark.parametrize("exchanged", [False, True])
def test_all_eight_matrices_place_each_pixel(exchanged, signs):
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    one, two = signs
    a, b, c, d = (0, one, two, 0) if exchanged else (one, 0, 0, two)
    scale = 1 << 16
    found = orientation(Turned(a * scale, b * scale, 0, c * scale, d * scale, 0, 0, 0, 1 << 30))
    assert np.array_equal(found.upright(image), placed(image, a, b, c, d))
    assert found.is_mirrored == (a * d - b * c < 0)


def test_without_a_matrix_nothing_turns_and_a_skewed_one_is_refused():
    assert orientation(Turned()) == Orientation()
    with pytest.raises(SkewedError):
        orientation(Turned(46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30))
