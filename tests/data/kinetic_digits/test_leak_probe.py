"""Probes: sound tasks stay within their bounds, a planted leak is found and named."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from pks4.cli import app
from pks4.commands import data as probe_command
from pks4.data.errors import DataError
from pks4.data.kinetic_digits import (
    leak_probe,
    leak_views,
    long_task,
    make_dataset,
    render,
    trajectory,
)
from pks4.data.kinetic_digits.leak_probe import probe
from pks4.data.kinetic_digits.render import render as render_clip

pytestmark = pytest.mark.slow

PAIRED = {"train": 216, "test": 108}


def made(task, folder, frames=16, counts=PAIRED):
    return make_dataset.make(task, size=32, frames=frames, counts=counts, cache=folder, workers=1)


def scores(findings, metric="all"):
    return {score.view: score for score in findings.scores if score.metric == metric}


@pytest.fixture(scope="module", autouse=True)
def cheap_probes():
    """A few trees will do for what is planted here, and each split is decoded once."""
    read, kept = leak_probe._read_views, {}

    def read_once(dataset, entries, *more):
        first = entries[0].path
        if first not in kept:
            kept[first] = read(dataset, entries, *more)
        return kept[first]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leak_probe, "TREES", 20)
        patch.setattr(leak_probe, "_read_views", read_once)
        yield


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return made("temporal", tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def temporal(sound):
    return probe(sound, only=["last", "bag", "ordered"], workers=1)


def test_only_the_order_of_the_frames_tells_a_pair(temporal):
    pairs = scores(temporal, "within_pair")
    assert not temporal.leaks
    assert pairs["ordered"].value > 0.7
    assert pairs["ordered"].interval[0] > pairs["bag"].interval[1]
    assert pairs["last"].bound == pairs["bag"].bound == 0.5
    assert pairs["ordered"].bound is None


def test_order_and_motion_add_up_to_all_pairs(temporal):
    kinds = [scores(temporal, f"within_pair{k}")["bag"] for k in ("", "_motion", "_order")]
    assert [score.clips for score in kinds] == [84, 48, 36]  # 14, 8 and 6 of 18 classes
    assert kinds[0].right == kinds[1].right + kinds[2].right


def test_a_bag_tells_which_pair_and_its_bound_says_so(temporal):
    bag = scores(temporal)["bag"]
    assert bag.interval[0] > bag.chance == pytest.approx(1 / 18)
    assert bag.bound == pytest.approx(11 / 18)


def test_a_start_that_is_not_uniform_is_a_leak_of_single_frames(tmp_path, monkeypatch):
    law = trajectory.still

    def central(tau, rng, **angle):
        rest = law(tau, rng, **angle)
        half = np.full_like(rest.x, 0.5)
        return trajectory.Trajectory(half, half, rest.scale, rest.angle, rest.visible)

    monkeypatch.setattr(trajectory, "still", central)
    found = probe(made("temporal", tmp_path), only=["first", "last"], workers=1)
    leaky = {(score.view, score.metric) for score in found.leaks}
    assert ("first", "within_pair_motion") in leaky
    assert ("last", "within_pair_motion") in leaky


LONG = {"train": 180, "test": 96}


def test_long_takes_both_ends_of_the_clip(tmp_path):
    seen = ["middle", "bag", "first_half", "second_half", "sampled_8", "sampled_16", "ordered"]
    found = probe(made("long", tmp_path, 64, LONG), only=seen, workers=1)
    views = scores(found)
    assert not found.leaks
    assert views["ordered"].interval[0] > 1 / 3
    assert views["first_half"].bound == views["second_half"].bound == 1 / 3
    assert views["bag"].bound == 1 / 4
    assert views["sampled_8"].bound == 1 / 12  # 8 frames apart, as long as a cue
    assert views["sampled_16"].bound is None  # 4 apart: two frames of each cue


def test_a_place_that_tells_the_first_cue_is_a_leak_of_single_frames(tmp_path, monkeypatch):
    def planted(name, frames, rng):
        path, marked = long_task.wander(name, frames, rng)
        column = {"left": 0.2, "right": 0.4, "up": 0.6, "down": 0.8}[name.split("_")[0]]
        fixed = np.full_like(path.x, column)
        rest = path.y, path.scale, path.angle, path.visible
        return trajectory.Trajectory(fixed, *rest), marked

    monkeypatch.setattr(render, "wander", planted)
    views = ["first", "middle", "last"]
    few = {"train": 120, "test": 60}
    found = probe(made("long", tmp_path, 64, few), only=views, workers=1)
    assert [score.view for score in found.leaks] == views


def test_the_motion_of_a_digit_does_not_tell_it(tmp_path):
    dataset = made("spatial", tmp_path, 8, {"train": 300, "test": 150})
    found = probe(dataset, only=["middle", "motion"], workers=1)
    views = scores(found)
    assert not found.leaks
    assert views["motion"].bound == 0.1
    assert views["middle"].interval[0] > 0.3  # one frame shows the digit, as it should


def test_shuffled_and_sampled_views_have_no_more_numbers_than_frames_allow():
    clip = render_clip("long", "train", 0, size=32, frames=64, seed=0)
    views = leak_views.views("long", leak_views.track(clip.frames), 0)
    assert len(views["shuffled"]) == len(views["ordered"])
    assert not np.array_equal(views["shuffled"], views["ordered"])
    assert all(np.isfinite(view).all() for view in views.values())


def test_the_tracker_finds_the_sprite_and_its_marks():
    size = 64
    path, marked = long_task.wander("left_up", 64, np.random.default_rng(3))
    digit = np.ones((8, 8), np.float32)
    background = render.photographed("train")
    frames = render.compose(background, digit, path, size, np.random.default_rng(4), marked)
    track = leak_views.track(frames)
    for found, true in ((track.x, path.x), (track.y, path.y)):
        error = leak_views.wrapped(found - 2 * np.pi * true) * size / (2 * np.pi)
        assert np.abs(error).max() < 1  # pixel
    assert np.array_equal(track.mark > 0.5, marked)


def test_too_few_clips_or_no_such_split_or_view_are_refused(sound):
    with pytest.raises(DataError, match="did you mean 'middle'"):
        probe(sound, only=["midle"])
    with pytest.raises(DataError, match="no split 'val'"):
        probe(sound, judge="val")
    few = sound.model_copy(update={"classes": sound.classes * 10})
    with pytest.raises(DataError, match="takes at least"):
        probe(few)


@pytest.fixture
def command(sound):
    """Runs the command on the clips that are there."""

    def run(*more, bag=True):
        counts = ["--train", "216", "--test", "108", "--size", "32", "--workers", "1"]
        counts += ["--view", "bag"] if bag else []
        where = ["--cache", str(sound.root.parent)]
        return CliRunner().invoke(app, ["data", "probe", "temporal", *counts, *where, *more])

    return run


def test_the_command_says_that_no_leak_was_found(command):
    done = command("--json")
    assert done.exit_code == 0
    assert "no leak found" in done.stderr
    found = json.loads(done.stdout)
    assert found["judge_clips"] == 108
    assert [score["leaks"] for score in found["scores"]] == [False] * 4


def test_the_command_does_not_call_sound_what_it_did_not_ask(command):
    done = command("--view", "ordered", bag=False)
    assert done.exit_code == 0
    assert "no view has a bound" in done.stderr


def test_the_command_ends_with_1_and_names_the_leak(command, monkeypatch):
    monkeypatch.setattr(probe_command, "_row", lambda score: [score.view] * 9)
    monkeypatch.setattr(
        "pks4.data.kinetic_digits.leak_probe.Score.leaks", property(lambda s: s.view == "bag")
    )
    done = command()
    assert done.exit_code == 1
    assert "LEAK: above what an honest data set allows: bag (all)" in done.stderr
