"""The law of task `long`: two cues that need each other, and nothing beside them."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from pks4.data.kinetic_digits.long_task import CUE_FRAMES, SPEED_PER_FRAME, wander
from pks4.data.kinetic_digits.render import render
from pks4.data.kinetic_digits.tasks import class_names

NAMES = class_names("long")
WAY = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


def draw(name, seed=0, frames=64):
    return wander(name, frames, np.random.default_rng([3, seed]))


def places(path):
    return np.stack([path.x, path.y], axis=1)


def cues(marked):
    """First frames of the runs of marked frames, and their lengths."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], marked, [0]]).astype(int)))
    return edges[::2].tolist(), (edges[1::2] - edges[::2]).tolist()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("frames", [32, 33, 128, 512])
def test_two_cues_of_eight_frames_go_the_ways_of_the_name(name, frames):
    path, marked = draw(name, frames=frames)
    starts, lengths = cues(marked)
    assert lengths == [CUE_FRAMES, CUE_FRAMES]
    for start, direction in zip(starts, name.split("_"), strict=True):
        shown = places(path)[start : start + CUE_FRAMES]
        steps = (np.diff(shown, axis=0) + 0.5) % 1 - 0.5
        along = steps @ np.array(WAY[direction])
        assert (along >= SPEED_PER_FRAME[0] - 1e-9).all()
        assert np.abs(steps - along[:, None] * np.array(WAY[direction])).max() < 1e-9


@pytest.mark.parametrize("frames", [32, 64, 512])
def test_cues_lie_near_the_ends_and_never_at_frame_0(frames):
    starts = np.array([cues(draw(NAMES[0], seed, frames)[1])[0] for seed in range(300)])
    assert starts[:, 0].min() == 1
    assert starts[:, 0].max() == frames // 8
    after = frames - starts[:, 1] - CUE_FRAMES
    assert (after.min(), after.max()) == (1, frames // 8)
    assert starts[:, 0].max() + CUE_FRAMES <= frames // 2 <= starts[:, 1].min()


def test_classes_differ_in_the_places_of_marked_frames_only():
    paths = [draw(name) for name in NAMES]
    first, marked = paths[0]
    for other, its in paths[1:]:
        assert np.array_equal(its, marked)
        assert np.array_equal(places(other)[~marked], places(first)[~marked])
        assert np.array_equal(other.scale, first.scale)


def test_no_two_frames_of_one_cue_lie_eight_apart():
    for seed in range(50):
        starts, _ = cues(draw(NAMES[0], seed, 512)[1])
        sampled = set(range(4, 512, 8))
        assert all(len(sampled & set(range(s, s + CUE_FRAMES))) == 1 for s in starts)


@pytest.mark.slow
def test_a_single_marked_frame_has_one_law_in_all_classes():
    def at(name, t, base):
        paths = (draw(name, base + seed, 32)[0] for seed in range(1500))
        return np.array([places(path)[t] for path in paths])

    for t in (3, 28):
        one, other = at("left_up", t, 0), at("right_down", t, 5000)
        for axis in (0, 1):
            assert ks_2samp(one[:, axis], other[:, axis]).pvalue > 1e-4


def test_marked_frames_show_the_digit_in_yellow():
    clip = render("long", "train", 0, size=64, frames=32, seed=0)
    yellow = (clip.frames[..., :2].min(axis=3) > 180) & (clip.frames[..., 2] < 110)
    assert (yellow.sum(axis=(1, 2)) > 10).sum() == 2 * CUE_FRAMES
