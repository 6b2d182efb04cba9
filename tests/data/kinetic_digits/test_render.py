"""Frames and files: seeded, split without overlap, the same bytes twice."""

import numpy as np
import pytest

from pks4.data.kinetic_digits import render as render_module
from pks4.data.kinetic_digits import shapes
from pks4.data.kinetic_digits.encode import encode, frames_sha256, rgb_to_yuv420
from pks4.data.kinetic_digits.render import render
from pks4.data.kinetic_digits.sprites import backgrounds, sprite_indices, sprites
from pks4.data.kinetic_digits.tasks import FPS, GENERATOR_VERSION, SPLITS, TASKS

MEANS_OF_VERSION = {
    1: {
        "temporal": [119.740, 66.196, 40.767],
        "motion": [40.565, 35.260, 33.970],
        "shapes": [79.891, 82.66, 83.031],
        "spatial": [54.258, 45.448, 41.103],
        "long": [64.371, 60.713, 59.645],
    },
}  # mean red, green, blue of a clip


def clip(task="temporal", split="train", index=0, size=64, frames=8, seed=0):
    return render(task, split, index, size=size, frames=frames, seed=seed)


def rng():
    return np.random.default_rng(0)


def test_a_clip_is_the_same_every_time():
    first, second = clip(index=4), clip(index=4)
    assert np.array_equal(first.frames, second.frames)
    assert first[1:] == second[1:]
    assert first.frames.shape == (8, 64, 64, 3)
    assert first.frames.dtype == np.uint8


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"split": "val"}, {"index": 18}, {"task": "spatial"}], ids=str
)
def test_every_part_of_the_seed_changes_the_clip(other):
    assert not np.array_equal(clip().frames, clip(**other).frames)


@pytest.mark.parametrize("task", TASKS)
def test_frames_are_those_of_this_generator_version(task):
    means = clip(task, index=4, size=64, frames=32).frames.mean((0, 1, 2))
    golden = MEANS_OF_VERSION[GENERATOR_VERSION][task]  # another law of a frame, another version
    assert means == pytest.approx(golden, abs=2e-3)


def test_blocks_make_no_difference(monkeypatch):
    whole = [clip(task, frames=70).frames for task in ("temporal", "long")]
    monkeypatch.setattr(render_module, "BLOCK", 7)
    for task, frames in zip(("temporal", "long"), whole, strict=True):
        assert np.array_equal(clip(task, frames=70).frames, frames)


def test_a_clip_of_shapes_shows_no_digit_and_its_camera_shakes():
    one = clip("shapes", frames=4)
    assert one.sprite is None
    chance, wide = rng(), np.arange(68 * 68).reshape(1, 68, 68, 1).repeat(9, 0)
    still = shapes.shaken(wide, 64, chance)
    assert still.shape == (9, 64, 64, 1)
    assert len({int(frame[0, 0, 0]) for frame in still}) > 1
    assert not np.array_equal(shapes.shape(chance), shapes.shape(chance))


def test_shapes_differ_when_they_are_turned():
    """Otherwise rotation would not be seen."""
    one = shapes.shape(rng())
    for turned in (np.rot90(one, k) for k in (1, 2, 3)):
        assert np.abs(one - turned).mean() > 0.05


def test_labels_go_round_the_classes():
    assert [clip(index=i, frames=2).label for i in (0, 17, 18, 37)] == [0, 17, 0, 1]


def test_a_spatial_clip_shows_the_digit_it_is_labelled_with():
    for index in range(10):
        shown = clip("spatial", "test", index, frames=2)
        assert shown.label == index == sprites()[1][shown.sprite]


def test_splits_share_no_sprite():
    pools = [set(sprite_indices(split).tolist()) for split in SPLITS]
    assert [round(len(pool) / len(sprites()[0]), 1) for pool in pools] == [0.6, 0.2, 0.2]
    assert len(set.union(*pools)) == sum(map(len, pools)) == len(sprites()[0])


def test_splits_share_no_column_of_a_background():
    widths = [[band.shape[1] for band in backgrounds(split)] for split in SPLITS]
    assert np.sum(widths, axis=0).tolist() == [640, 640]


def test_the_sprite_moves_visibly_and_wraps():
    moving = clip(index=0, frames=16).frames.min(axis=3) > 175  # class left
    columns = np.arange(64) * 2 * np.pi / 64
    centre = np.angle((moving.sum(axis=1) * np.exp(1j * columns)).sum(axis=1))
    steps = np.angle(np.exp(1j * np.diff(centre))) * 64 / (2 * np.pi)
    assert -5 < np.median(steps) < -2  # pixels a frame, to the left


def test_grey_levels_map_to_limited_range_luma_and_neutral_chroma():
    frames = np.repeat(np.array([0, 128, 255], np.uint8), 4 * 4 * 3).reshape(3, 4, 4, 3)
    planes = rgb_to_yuv420(frames).reshape(3, -1)
    assert planes[:, :16].min(axis=1).tolist() == [16, 126, 235]
    assert (planes[:, 16:] == 128).all()


def test_pure_colours_map_to_the_table_of_bt601():
    red = np.zeros((1, 2, 2, 3), np.uint8)
    red[..., 0] = 255
    assert rgb_to_yuv420(red).ravel().tolist() == [82, 82, 82, 82, 90, 240]


def test_two_encodings_give_equal_bytes():
    frames = clip(index=6, frames=16).frames
    assert encode(frames, FPS) == encode(frames, FPS)


def test_the_hash_of_frames_depends_on_every_pixel():
    frames = clip(frames=2).frames
    changed = frames.copy()
    changed[1, 63, 63, 2] ^= 1
    assert frames_sha256(frames) == frames_sha256(frames.copy()) != frames_sha256(changed)
