"""Readers are exact: every frame that comes back carries its own number in its luminance."""

import json
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from pks4.cli import app
from pks4.data.errors import VIDEO_ERROR_KINDS, DataError, VideoError
from pks4.data.readers import (
    READERS,
    count_frames,
    open_reader,
    read_frames,
    reader_info,
    reader_speed,
)

ALWAYS = ("pyav", "decord")  # always installed; test_reader_files has all readers
FRAMES = 36
X264 = "keyint=12:min-keyint=12:scenecut=0:threads=1:log-level=none"
CLOSED = {"x264-params": f"{X264}:bframes=0"}
CLOSED_B = {"x264-params": f"{X264}:bframes=3:open-gop=0"}
OPEN = {"x264-params": f"{X264}:bframes=3:b-adapt=0:open-gop=1"}
REFRESH = {"x264-params": f"{X264}:bframes=0:intra-refresh=1"}
MPEG4 = {"g": "12", "b": "2000000"}

EXACT = {  # name: (codec, options, readers that read it exactly)
    "closed.mp4": ("libx264", CLOSED, ALWAYS),
    "closed_b.mp4": ("libx264", CLOSED_B, ALWAYS),
    "closed.mkv": ("libx264", CLOSED_B, ALWAYS),
    "plain.avi": ("mpeg4", MPEG4, ALWAYS),
    "open.mp4": ("libx264", OPEN, ("pyav",)),
    "refresh.mp4": ("libx264", REFRESH, ("pyav",)),
    "stream.ts": ("libx264", CLOSED_B, ("pyav",)),
    "b_frames.mp4": ("mpeg4", MPEG4 | {"bf": "2"}, ("pyav",)),
}
ORDERS = {
    "all": list(range(FRAMES)),
    "few": [1, 11, 12, 13, 30],
    "backwards": [35, 24, 23, 10, 9, 0],
    "repeated": [7, 7, 20, 7],
}


def write(
    path, codec, options, *, frames=FRAMES, size=(48, 64), rotation=0, pixels="yuv420p", muxer=None
):
    """A video whose frame k is grey level 20 + 6k, with a moving texture in its right half."""
    height, width = size
    texture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=16, options=options)
        stream.height, stream.width, stream.pix_fmt = height, width, pixels
        stream.codec_context.thread_count = 1
        if rotation:
            stream.set_display_rotation(rotation)
        for k in range(frames):
            picture = np.full((height, width, 3), 20 + 6 * k, np.uint8)
            picture[:, width // 2 :] = np.roll(texture, (k, 2 * k), axis=(0, 1))[:, width // 2 :]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def numbers(video):
    return [round((float(frame[:, :16].mean()) - 20) / 6) for frame in video]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    return {
        name: write(folder / name, codec, options) for name, (codec, options, _) in EXACT.items()
    }


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("name", "reader"), [(name, reader) for name, (*_, able) in EXACT.items() for reader in able]
)
def test_every_frame_is_the_one_asked_for(videos, name, reader, order):
    wanted = ORDERS[order]
    video = read_frames(videos[name], wanted, reader, num_frames=FRAMES)
    assert video.shape == (len(wanted), 48, 64, 3)
    assert video.dtype == np.uint8
    assert numbers(video) == wanted
    assert count_frames(videos[name], reader) == FRAMES


@pytest.mark.parametrize("name", [name for name, (*_, able) in EXACT.items() if able == ("pyav",)])
def test_decord_refuses_what_it_would_get_wrong(videos, name):
    for ask in (lambda: read_frames(videos[name], [3], "decord"),
                lambda: count_frames(videos[name], "decord")):  # fmt: skip
        with pytest.raises(VideoError, match="use reader 'pyav'") as caught:
            ask()
        assert caught.value.kind == "inexact"
        assert caught.value.path == videos[name]


def test_seeking_gives_the_pixels_of_a_pass_from_the_start(videos):
    for name, path in videos.items():
        with av.open(str(path)) as container:
            truth = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        for k in (0, 10, 11, 12, 23, 35):
            assert np.array_equal(read_frames(path, [k])[0], truth[k]), (name, k)


def test_the_readers_differ_by_few_grey_levels(videos):
    one, other = (read_frames(videos["closed.mp4"], [5, 30], reader) for reader in ALWAYS)
    assert np.abs(one.astype(int) - other.astype(int)).max() <= 4


@pytest.mark.parametrize("reader", ALWAYS)
def test_odd_sizes_are_read_in_full(tmp_path, reader):
    path = write(tmp_path / "odd.mkv", "libx264", CLOSED, frames=4, size=(51, 67),
                 pixels="yuv444p")  # fmt: skip
    assert read_frames(path, [0, 3], reader).shape == (2, 51, 67, 3)


@pytest.mark.skipif(not hasattr(av.VideoStream, "set_display_rotation"), reason="av too old")
def test_a_rotated_video_stands_upright_or_is_refused(tmp_path):
    flat = read_frames(write(tmp_path / "flat.mp4", "libx264", CLOSED, frames=3), [1])[0]
    path = write(tmp_path / "turned.mp4", "libx264", CLOSED, frames=3, rotation=90)
    turned = read_frames(path, [1])[0]
    assert turned.shape == (64, 48, 3)
    assert np.array_equal(turned, np.rot90(flat))
    with pytest.raises(
        VideoError, match=r"a turn or mirror noted in the file.*use reader 'pyav'"
    ) as caught:
        read_frames(path, [1], "decord")
    assert caught.value.kind == "inexact"


def test_a_frame_that_the_decoder_marks_as_damaged_is_an_error(tmp_path):
    """Bits in the middle of one packet are turned over; what is predicted from it is damaged."""
    path = write(tmp_path / "damaged.mp4", "libx264", CLOSED)
    with av.open(str(path)) as container:
        packet = list(container.demux(video=0))[15]
    content = bytearray(path.read_bytes())
    for position in range(packet.pos + packet.size // 3, packet.pos + packet.size * 2 // 3):
        content[position] ^= 0xFF
    path.write_bytes(content)
    assert numbers(read_frames(path, [0, 5, 14])) == [0, 5, 14]
    for wanted in (15, 16):
        with pytest.raises(VideoError, match="damaged") as caught:
            read_frames(path, [wanted])
        assert caught.value.kind == "decode"


def test_frames_hidden_by_an_edit_list_are_not_counted(videos, tmp_path):
    path = tmp_path / "trimmed.mp4"
    with av.open(str(videos["closed.mp4"])) as whole, av.open(str(path), "w") as trimmed:
        stream = trimmed.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None:
                packet.pts -= int(5 / 16 / packet.time_base)  # five frames start before zero
                packet.dts = packet.pts
                packet.stream = stream
                trimmed.mux(packet)
    assert count_frames(path) == FRAMES - 5
    assert numbers(read_frames(path, [0, 3, 30], num_frames=FRAMES - 5)) == [5, 8, 35]
    with pytest.raises(VideoError, match="use reader 'pyav'") as caught:
        read_frames(path, [0], "decord")
    assert caught.value.kind == "inexact"


def bad_file(folder, name):
    path = folder / f"{name}.mp4"
    if name == "zero_bytes":
        path.write_bytes(b"")
    elif name == "text":
        path.write_text("this is not a video\n" * 50)
    elif name == "folder":
        path.mkdir()
    elif name == "sound_only":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=8000)
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp",
                                               layout="mono")  # fmt: skip
            sound.sample_rate = 8000
            container.mux(stream.encode(sound))
            container.mux(stream.encode(None))
    elif name == "cut":
        content = write(path, "libx264", CLOSED).read_bytes()
        path.write_bytes(content[: len(content) // 2])  # the index at the end is lost
    elif name == "unknown_codec":
        path.write_bytes(write(path, "libx264", CLOSED).read_bytes().replace(b"avc1", b"xxxx"))
    elif name == "cut_with_index":
        muxer = {"movflags": "+faststart"}
        content = write(path, "libx264", CLOSED, muxer=muxer).read_bytes()
        assert content.index(b"moov") < content.index(b"mdat")
        path.write_bytes(content[: len(content) * 2 // 3])
    return path


@pytest.mark.parametrize("reader", ALWAYS)
@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("missing", {"missing"}),
        ("zero_bytes", {"open"}),
        ("text", {"open"}),
        ("folder", {"open"}),
        ("sound_only", {"no_video"}),
        ("cut", {"open"}),
        ("unknown_codec", {"open"}),
        ("cut_with_index", {"truncated", "decode"}),
    ],
)
def test_a_bad_file_raises_one_kind_of_error(tmp_path, reader, name, kinds):
    path = bad_file(tmp_path, name)
    for ask in (lambda: read_frames(path, [0], reader), lambda: count_frames(path, reader)):
        with pytest.raises(VideoError) as caught:
            ask()
        assert caught.value.kind in kinds
        assert caught.value.path == Path(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("reader", ALWAYS)
def test_a_frame_past_the_end_is_an_error_not_another_frame(videos, reader):
    with pytest.raises(VideoError, match=f"frame {FRAMES} was asked for") as caught:
        read_frames(videos["closed.mp4"], [0, FRAMES], reader)
    assert caught.value.kind == "truncated"


@pytest.mark.parametrize("indices", [[], [-1]])
def test_indices_count_from_zero(videos, indices):
    with pytest.raises(DataError, match="at least one"):
        read_frames(videos["closed.mp4"], indices)


def test_an_unknown_reader_is_refused_with_a_near_name():
    with pytest.raises(DataError, match="did you mean 'decord'"):
        open_reader("decrod")


def test_a_reader_names_its_version():
    assert reader_info("pyav")["version"] == av.__version__
    assert reader_info("decord")["name"] == "decord"


def test_a_reader_that_is_not_installed_says_what_to_install(videos, monkeypatch):
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(VideoError, match="pip install decord") as caught:
        read_frames(videos["closed.mp4"], [0], "decord")
    assert caught.value.kind == "backend"
    assert caught.value.kind in VIDEO_ERROR_KINDS


@pytest.mark.slow
def test_every_reader_is_timed_or_named_as_absent(monkeypatch):
    monkeypatch.setattr(reader_speed, "NUM_FRAMES", 40)
    done = CliRunner().invoke(app, ["data", "readers", "--rounds", "2", "--json"])
    found = json.loads(done.stdout)
    assert set(found["readers"]) | set(found["absent"]) == set(READERS)
    assert {"pyav", "decord"} <= set(found["readers"])
    cells = [(row["reader"], row["frames"]) for row in found["rows"]]
    assert sorted(cells) == sorted((r, n) for r in found["readers"] for n in (8, 16, 32))
    assert all(len(row["seconds"]) == 2 and min(row["seconds"]) > 0 for row in found["rows"])
