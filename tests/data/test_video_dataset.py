"""Clips through workers: the same whatever their number, bad ones counted and never replaced."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from pks4.data.errors import BadClipsError, DataError
from pks4.data.kinetic_digits.encode import encode
from pks4.data.manifest import Entry
from pks4.data.sampling import Sampling
from pks4.data.video_dataset import BadClipCounter, Videos, collate
from pks4.train.batches import ByEpochAndIndex

FRAMES, SIZE = 12, 32
SAMPLING = Sampling(rule="segments", frames=4, size=16, short_side=(16, 24))


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    found = []
    for k in range(6):
        random = np.random.default_rng(k)
        frames = np.repeat(random.integers(0, 256, (FRAMES, 4, 4, 3), np.uint8), 8, axis=1)
        path = folder / f"{k}.mp4"
        path.write_bytes(encode(np.repeat(frames, 8, axis=2), 16))
        found.append(Entry(path=path, label=k % 2, class_name=str(k % 2), num_frames=FRAMES))
    return found


def epoch(videos, number=0, **options):
    keys = [[(number, k), (number, k + 1)] for k in range(0, len(videos), 2)]
    loader = DataLoader(ByEpochAndIndex(videos), batch_sampler=keys, collate_fn=collate, **options)
    return list(loader)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reader", "start"), [("pyav", "fork"), ("decord", "fork"), ("decord", "spawn")]
)
def test_workers_give_what_one_process_gives(entries, reader, start):
    videos = Videos(entries, SAMPLING, training=True, seed=3, reader=reader)
    alone = epoch(videos, 1)
    workers = epoch(videos, 1, num_workers=2, multiprocessing_context=start, timeout=120)
    assert torch.cat([batch.index for batch in workers]).tolist() == list(range(6))
    for one, other in zip(alone, workers, strict=True):
        assert one.video.shape == (2, 4, 3, 16, 16)
        assert torch.equal(one.video, other.video)
        assert torch.equal(one.label, other.label)


def test_draws_depend_on_seed_epoch_and_index(entries):
    videos = Videos(entries, SAMPLING, training=True, seed=3)
    first, second = videos.at(0, 0)[0], epoch(videos, 1)[0].video[0]
    other = Videos(entries, SAMPLING, training=True, seed=4).at(0, 0)[0]
    assert not torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(videos.at(0, 0)[0], first)


def test_an_evaluation_gives_all_views(entries):
    sampling = SAMPLING.model_copy(update={"clips": 2, "crops": 3})
    video, label, index = Videos(entries, sampling, training=False).at(0, 1)
    assert video.shape == (6, 4, 3, 16, 16)
    assert (label, index) == (1, 1)


@pytest.fixture
def damaged(entries, tmp_path):
    lost = entries[2].model_copy(update={"path": tmp_path / "lost.mp4"})
    longer = entries[3].model_copy(update={"num_frames": FRAMES + 1})
    return [*entries[:2], lost, longer, *entries[4:]]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_bad_clips_are_left_out_and_handed_over(damaged, workers):
    batches = epoch(Videos(damaged, SAMPLING, training=False), num_workers=workers)
    assert torch.cat([batch.index for batch in batches]).tolist() == [0, 1, 4, 5]
    assert batches[1].video is None  # both of its clips are bad
    bad = [bad for batch in batches for bad in batch.bad]
    assert [(item.index, item.error.kind) for item in bad] == [(2, "missing"), (3, "truncated")]


def test_a_tally_stops_above_the_share(damaged):
    batches = epoch(Videos(damaged, SAMPLING, training=False))
    half = BadClipCounter(total=6, max_bad=0.5)
    for batch in batches:
        half.add(batch.bad)
    assert len(half.bad) == 2
    strict = BadClipCounter(total=6)
    with pytest.raises(BadClipsError, match=r"2 of 6 clips.*lost\.mp4") as caught:
        strict.add([bad for batch in batches for bad in batch.bad])
    assert len(caught.value.errors) == 2


def test_an_empty_split_is_refused():
    with pytest.raises(DataError, match="no clip in this split"):
        Videos([], SAMPLING, training=True)


def test_a_record_gets_reader_and_sampling(entries):
    told = Videos(entries, SAMPLING, training=True, reader="decord").describe()
    assert told["reader"]["name"] == "decord"
    assert told["sampling"] == SAMPLING.describe()


@pytest.mark.parametrize("sides", [(16, 24), (20, 20)], ids=["a drawn side", "one side"])
@pytest.mark.parametrize("room", [10**9, 4 * FRAMES * 3 * 16**2, 0])
def test_clips_that_were_decoded_once_are_the_same_to_the_bit(entries, sides, room):
    sampling = SAMPLING.model_copy(update={"short_side": sides, "flip": 0.5})
    on_use, once = (Videos(entries, sampling, training=True, seed=3) for _ in range(2))
    kept = once.keep(room)
    assert kept == sum(video.nbytes for video in once.kept.values()) <= room
    assert (len(once.kept) == len(entries)) == (room == 10**9)
    for number in range(3):
        for index in range(len(entries)):
            assert torch.equal(on_use.at(number, index)[0], once.at(number, index)[0])


def test_frames_are_kept_at_the_side_that_all_epochs_need(entries):
    sampling = SAMPLING.model_copy(update={"short_side": (20, 20)})
    once = Videos(entries, sampling, training=True)
    assert once.keep(10**9) == len(entries) * FRAMES * 3 * 20 * 20


def test_a_clip_that_cannot_be_read_whole_is_left_to_its_use(entries, tmp_path):
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(b"no video")
    once = Videos(
        [entries[0], entries[1].model_copy(update={"path": cut})], SAMPLING, training=True
    )
    once.keep(10**9)
    assert list(once.kept) == [0]
    assert once.at(0, 1).error.kind == "open"
