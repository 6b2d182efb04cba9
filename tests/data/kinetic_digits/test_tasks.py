"""The law of the motions: pairs are time reversals, and single frames do not tell them apart."""

import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
from scipy.stats import ks_2samp

from pks4.data.errors import DataError
from pks4.data.kinetic_digits.tasks import (
    OSCILLATIONS,
    PAIRS,
    TASKS,
    class_names,
    pair_of,
    pairs_of,
)
from pks4.data.kinetic_digits.trajectory import drift, trajectory

FRAMES = 16
PAIR_NAMES = [f"{pair.first}/{pair.second}" for pair in PAIRS]


def draw(name, count, frames=FRAMES):
    return [trajectory(name, frames, np.random.default_rng([7, i])) for i in range(count)]


def states(trajectories, name, t):
    return np.array([getattr(each, name)[t] for each in trajectories], dtype=float)


def displacement(trajectories, t):
    return np.stack([
        (states(trajectories, axis, t + 1) - states(trajectories, axis, t) + 0.5) % 1 - 0.5
        for axis in ("x", "y")
    ])  # fmt: skip


def test_temporal_has_seven_pairs_and_four_oscillations():
    assert len(class_names("temporal")) == 18
    assert len(class_names("spatial")) == 10
    assert len(set(class_names("long"))) == 12
    assert [pair.kind for pair in PAIRS] == ["motion"] * 4 + ["order"] * 3
    for label, pair in enumerate(PAIRS):
        assert class_names("temporal")[2 * label : 2 * label + 2] == (pair.first, pair.second)
        assert pair_of(pair.first) is pair_of(pair.second) is pair
    assert all(pair_of(name) is None for name in OSCILLATIONS)


def test_an_unknown_task_or_class_is_refused_with_a_near_name():
    with pytest.raises(DataError, match="did you mean 'temporal'"):
        class_names("temporel")
    with pytest.raises(DataError, match="did you mean 'left'"):
        pair_of("lefft")
    assert issubclass(DataError, ValueError)


@pytest.mark.parametrize("pair", PAIRS, ids=PAIR_NAMES)
@pytest.mark.parametrize("frames", [2, 5, 16, 64])
def test_the_second_class_of_a_pair_is_the_first_played_backwards(pair, frames):
    for first, second in zip(draw(pair.first, 5, frames), draw(pair.second, 5, frames),
                             strict=True):  # fmt: skip
        for field in fields(first):
            forward = getattr(first, field.name)
            assert forward.shape == (frames,)
            assert np.array_equal(forward, getattr(second, field.name)[::-1])


@pytest.mark.parametrize("pair", PAIRS, ids=PAIR_NAMES)
def test_a_single_frame_has_one_law_in_both_classes(pair):
    first = draw(pair.first, 1500)
    second = [trajectory(pair.second, FRAMES, np.random.default_rng([8, i])) for i in range(1500)]
    for t in (0, 5, 15):
        for field in ("x", "y", "scale", "angle", "visible"):
            test = ks_2samp(states(first, field, t), states(second, field, t))
            assert test.pvalue > 1e-4, (field, t)


@pytest.mark.parametrize("name", ["accelerate", "blink_hop"])
def test_neighbouring_frames_have_one_law_in_the_cyclic_order_pairs(name):
    first = draw(name, 1500)
    second = [trajectory(pair_of(name).second, FRAMES, np.random.default_rng([9, i]))
              for i in range(1500)]  # fmt: skip
    for t in (0, 7, 14):
        for one, other in zip(displacement(first, t), displacement(second, t), strict=True):
            assert ks_2samp(one, other).pvalue > 1e-4


def test_motion_pairs_go_the_way_their_name_says():
    assert all(displacement(draw("left", 20), 3)[0] < -0.03)
    assert all(displacement(draw("right", 20), 3)[0] > 0.03)
    assert all(displacement(draw("up", 20), 3)[1] < -0.03)
    grows = [np.median(np.diff(each.scale)) for each in draw("approach", 20)]
    assert min(grows) > 0
    turns = [np.median(np.diff(each.angle)) for each in draw("rotate_cw", 20)]
    assert min(turns) > 0


def test_oscillations_pass_their_centre_twice_a_cycle():
    for cycles, name in enumerate(OSCILLATIONS, start=1):
        path = trajectory(name, 400, np.random.default_rng(0))
        wave = (path.x - path.x[0] + 0.5) % 1 - 0.5
        spectrum = np.abs(np.fft.rfft(wave - wave.mean()))
        assert int(spectrum.argmax()) == cycles


def test_the_nuisance_drift_keeps_a_digit_upright():
    tilts = [drift(8, np.random.default_rng(i)).angle for i in range(50)]
    assert np.abs(tilts).max() <= np.pi / 12


@pytest.mark.slow
def test_the_package_imports_nothing_heavy():
    heavy = ["torch", "av", "decord", "sklearn", "scipy", "numpy"]
    code = f"import sys, pks4.data; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_tasks_are_named():
    assert TASKS == ("temporal", "motion", "shapes", "spatial", "long")


def test_motion_has_the_motion_pairs_of_temporal():
    assert class_names("motion") == class_names("temporal")[:8]
    assert pairs_of("motion") == pairs_of("shapes") == PAIRS[:4]
    assert pairs_of("temporal") == PAIRS
    assert pairs_of("spatial") == ()
