"""A split in memory: the right frames, the right labels, no clip substituted."""

import pickle

import numpy as np
import pytest
import torch

from pks4.data.decoded_split import load_entries, load_split, segment_centres
from pks4.data.errors import BadClipsError, DataError, VideoError
from pks4.data.kinetic_digits import make_dataset
from pks4.data.manifest import read_manifest
from pks4.data.readers import read_frames


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return make_dataset.make("temporal", cache=cache, counts={"test": 36}, workers=1)


@pytest.fixture
def damaged(tmp_path):
    counts = {"val": 18}
    made = make_dataset.make(
        "temporal", cache=tmp_path, counts=counts, size=32, frames=4, workers=1
    )
    (made.root / "val" / "000002.mp4").write_bytes(b"")
    whole = (made.root / "val" / "000003.mp4").read_bytes()
    (made.root / "val" / "000004.mp4").write_bytes(whole[: len(whole) // 2])
    return made


@pytest.mark.parametrize("reader", ["pyav", "decord"])
def test_a_split_becomes_one_tensor_with_its_labels(dataset, reader):
    calls = []
    clips = load_split(dataset, "test", 4, reader=reader, limit=20,
                       progress=lambda *call: calls.append(call))  # fmt: skip
    assert clips.video.shape == (20, 4, 3, 64, 64)
    assert clips.video.dtype == torch.uint8
    assert clips.label.tolist() == [*range(18), 0, 1]
    assert clips.reader["name"] == reader
    assert calls == [(done, 20) for done in range(1, 21)]
    frames = read_frames(clips.paths[5], [2, 6, 10, 14], reader)
    assert np.array_equal(clips.video[5].permute(0, 2, 3, 1).numpy(), frames)


def test_frames_are_the_centres_of_equal_segments():
    assert segment_centres(16, 4) == [2, 6, 10, 14]
    assert segment_centres(16, 16) == list(range(16))
    assert segment_centres(5, 2) == [1, 3]
    assert segment_centres(7, 1) == [3]


def test_bad_clips_are_raised_together_and_never_substituted(damaged):
    entries = read_manifest(damaged.splits["val"])
    with pytest.raises(BadClipsError, match="2 of 18 clips cannot be used") as caught:
        load_entries(entries, 4)
    assert [error.path.name for error in caught.value.errors] == ["000002.mp4", "000004.mp4"]
    assert all(isinstance(error, VideoError) for error in caught.value.errors)
    assert "\n" not in str(caught.value)


def test_a_file_that_was_changed_since_it_was_made_is_refused(damaged):
    with pytest.raises(DataError, match=r"000002\.mp4: this file was changed"):
        load_split(damaged, "val", 4)


def test_a_split_that_is_not_there_or_too_large_is_refused(dataset):
    with pytest.raises(DataError, match="did you mean 'test'"):
        load_split(dataset, "tests", 4)
    with pytest.raises(DataError, match="lower limit or frames"):
        load_split(dataset, "test", 4, max_bytes=10_000)
    with pytest.raises(DataError, match="has 16"):
        load_split(dataset, "test", 17)
    with pytest.raises(DataError, match="limit is 0"):
        load_split(dataset, "test", 4, limit=0)


def test_a_video_error_survives_the_way_between_processes():
    error = VideoError("clip.mp4", "truncated", "too short")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.path, copy.kind) == (str(error), error.path, error.kind)
