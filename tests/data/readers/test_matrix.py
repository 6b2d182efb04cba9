"""The kinds of files of the readers' matrix that were once read wrong; one or two files of each.

`tests/campaigns/reader_matrix.py` tries all of them, in every codec and container.
"""

import pytest

from pks4.data.errors import VideoError
from pks4.data.readers import READERS, reader_info
from tests.campaigns.reader_files import bases
from tests.campaigns.reader_matrix import judge, truth
from tests.campaigns.reader_traits import make, traits

FILES = {  # file: what pyav makes of it; the other readers may refuse it
    "h264_plain.avi": "exact",
    "h264_B-frames.avi": "exact",  # their times say when to decode
    "h264_variable_rate.avi": "exact",  # places that hold nothing
    "h264_dropped.avi": "exact",
    "mpeg4_not_coded.avi": "exact",  # pictures that show nothing
    "h264_B-frames_edit_17.mp4": "exact",  # an edit list that hides a whole group
    "h264_plain_parts_20_6_3_6.mp4": "exact",  # and one that goes back
    "h264_plain_5_40.mkv": "exact",  # begins between keys
    "h264_open_GOP_12_40.mkv": "exact",
    "h264_plain_front_hole.mp4": "refused",
    "h264_open_GOP_24_33.mkv": "refused",
    "h264_sei_180.mkv": "exact",  # turned by the pictures, not by the container
    "h264_matrix_0_1_1_0.mp4": "exact",
    "h264_small_first.mp4": "exact",
    "h264_cover_first.mp4": "exact",
    "h264_cover_sound.mp4": "refused",
    "h264_sound.mkv": "refused",
    "h264_missing.ts": "exact",
    "h264_double.mkv": "exact",
    "h264_plain_front__cut60.mp4": "refused",
    "h264_plain_fragments_last_cut95.mp4": "refused",
    "h264_plain_fragments_hole.mp4": "refused",
    "h264_plain_live__cut60.mkv": "refused",
    "h264_plain__last_cut95.avi": "refused",
    "h264_plain__last_cut95.ts": "refused",
    "h264_plain_cut_between_packets.ts": "untold",  # the container cannot know
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return bases(tmp_path_factory.mktemp("bases"), ("h264", "mpeg4", "mjpeg"))


@pytest.fixture(scope="module")
def readers():
    def is_here(reader):
        try:
            return bool(reader_info(reader))
        except VideoError:
            return False

    return [reader for reader in READERS if is_here(reader)]


@pytest.mark.parametrize("name", FILES)
def test_every_reader_gives_the_frames_that_ffmpeg_shows_or_refuses(tmp_path, found, readers, name):
    stem, _, container = name.rpartition(".")
    codec, _, asked = stem.partition("_")
    trait, how = next((t, how) for t, n, how in traits(found, codec, container) if n == asked)
    file = make(tmp_path / name, trait, how)
    known = truth(file)
    verdicts = {reader: judge(file, reader, known) for reader in readers}
    assert verdicts.pop("pyav").verdict == FILES[name]
    assert {one.verdict for one in verdicts.values()} <= {FILES[name], "refused"}
