"""Frames and pictures as the published rules say, by hand."""

import pytest
import torch
from pydantic import ValidationError

from pks4.data.errors import DataError
from pks4.data.sampling import (
    Sampling,
    eval_frames,
    eval_pictures,
    mean_over_views,
    train_frames,
    train_picture,
)

SMALL = {"size": 4, "short_side": (4, 8)}


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def ramp(height, width):
    """Two frames whose red is the column and green the row."""
    video = torch.zeros(2, 3, height, width, dtype=torch.uint8)
    video[:, 0] = torch.arange(width, dtype=torch.uint8)
    video[:, 1] = torch.arange(height, dtype=torch.uint8)[:, None]
    return video


def test_segments_take_the_middle_of_each_in_testing():
    sampling = Sampling(rule="segments", frames=4)
    assert eval_frames(sampling, 16) == [[2, 6, 10, 14]]
    two = sampling.model_copy(update={"clips": 2})
    assert eval_frames(two, 16) == [[1, 5, 9, 13], [3, 7, 11, 15]]


def test_segments_draw_one_frame_of_each_in_training():
    sampling, random = Sampling(rule="segments", frames=4), chance()
    drawn = [train_frames(sampling, 16, random) for _ in range(200)]
    for k in range(4):
        assert {frames[k] for frames in drawn} == set(range(4 * k, 4 * k + 4))


def test_segments_of_a_short_video_repeat_frames_in_order():
    assert train_frames(Sampling(rule="segments", frames=4), 2, chance()) == [0, 0, 1, 1]


def test_dense_clips_are_centred_or_spread_from_end_to_end():
    sampling = Sampling(rule="dense", frames=4, stride=2)  # spans 7 frames
    assert eval_frames(sampling, 17) == [[5, 7, 9, 11]]
    spread = eval_frames(sampling.model_copy(update={"clips": 3}), 17)
    assert [clip[0] for clip in spread] == [0, 5, 10]
    assert spread[-1] == [10, 12, 14, 16]


def test_dense_training_starts_wherever_the_clip_fits():
    sampling, random = Sampling(rule="dense", frames=4, stride=2), chance()
    starts = {train_frames(sampling, 9, random)[0] for _ in range(100)}
    assert starts == {0, 1, 2}


def test_a_dense_clip_of_a_short_video_repeats_its_last_frame():
    assert eval_frames(Sampling(rule="dense", frames=4, stride=2), 4) == [[0, 2, 3, 3]]


@pytest.mark.parametrize("turned", [False, True])
def test_three_crops_lie_along_the_long_side(turned):
    video = ramp(8, 4) if turned else ramp(4, 8)
    crops = eval_pictures(Sampling(rule="dense", frames=2, crops=3, **SMALL), video)
    assert crops.shape == (3, 2, 3, 4, 4)
    assert crops[:, 0, 1 if turned else 0, 0, 0].tolist() == [0, 2, 4]


def test_one_crop_is_the_centre_of_the_resized_frame():
    crops = eval_pictures(Sampling(rule="dense", frames=2, size=4, short_side=(6, 6)), ramp(6, 10))
    assert crops.shape == (1, 2, 3, 4, 4)
    assert crops[0, 0, :2, 0, 0].tolist() == [3, 1]


@pytest.mark.parametrize("crop", ["jitter", "area"])
def test_a_training_cut_is_the_same_in_all_frames_and_given_by_its_generator(crop):
    sampling = Sampling(rule="dense", frames=2, crop=crop, **SMALL)
    cuts = [train_picture(sampling, ramp(9, 13), chance(k), may_flip=True) for k in (1, 1, 2)]
    assert cuts[0].shape == (2, 3, 4, 4)
    assert torch.equal(cuts[0][0], cuts[0][1])
    assert torch.equal(cuts[0], cuts[1])
    assert not torch.equal(cuts[0], cuts[2])


def test_drawing_a_part_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_picture(Sampling(rule="dense", frames=2, crop="area", **SMALL), ramp(9, 9), chance(),
                  may_flip=False)  # fmt: skip
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("may_flip", [False, True])
def test_a_mirror_only_where_the_class_allows_one(may_flip):
    sampling = Sampling(rule="dense", frames=2, size=4, short_side=(4, 4), flip=1.0)
    cut = train_picture(sampling, ramp(4, 4), chance(), may_flip=may_flip)
    assert cut[0, 0, 0].tolist() == ([3, 2, 1, 0] if may_flip else [0, 1, 2, 3])


def test_views_are_averaged_after_the_softmax():
    logits = torch.tensor([[[0.0, 0.0], [torch.inf, 0.0]]]).nan_to_num(posinf=100.0)
    assert torch.allclose(mean_over_views(logits), torch.tensor([[0.75, 0.25]]))
    with pytest.raises(DataError, match="give \\(b, v, classes\\)"):
        mean_over_views(torch.zeros(2, 3))


@pytest.mark.parametrize(
    "wrong", [{"size": 300}, {"short_side": (320, 256)}, {"area": (0, 1)}, {"crops": 2}, {"fps": 2}]
)
def test_settings_that_cannot_be_met_are_refused(wrong):
    with pytest.raises(ValidationError):
        Sampling(rule="dense", frames=4, **wrong)


def test_a_record_gets_every_setting():
    told = Sampling(rule="dense", frames=32, stride=2, clips=10, crops=3).describe()
    assert told["views"] == 30
    assert set(Sampling.model_fields) < set(told)
