"""Growth of noisy numbers: the power behind a constant is found, with an interval that holds it."""

import numpy as np
import pytest

from pks4.bench.stats import growth


def session(a, b, p, noise=0.02, rounds=21, seed=0):
    """Samples of a + b T^p with noise, by number of frames."""
    chance = np.random.default_rng(seed)
    return {t: (a + b * t**p) * np.exp(chance.normal(0, noise, rounds)) for t in (4, 8, 16, 32, 64)}


@pytest.mark.parametrize("p", [0.5, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("a", [0.0, 0.01])
def test_the_power_is_found_without_noise(a, p):
    found = growth.fit_power(session(a, 0.002, p, noise=0))
    assert found.p == pytest.approx(p, abs=0.011)
    assert found.a == pytest.approx(a, abs=2e-4)
    assert found.frames == (4, 8, 16, 32, 64)


def test_a_constant_does_not_bend_the_power_as_it_bends_a_slope():
    samples = session(0.05, 0.001, 1.0, noise=0)
    slope = np.polyfit(np.log(list(samples)), np.log([s[0] for s in samples.values()]), 1)[0]
    assert slope < 0.4
    assert growth.fit_power(samples).p == pytest.approx(1.0, abs=0.011)


@pytest.mark.slow
def test_intervals_hold_the_truth_about_as_often_as_they_say(monkeypatch):
    monkeypatch.setattr(growth, "RESAMPLES", 100)
    found = [growth.fit_power(session(0.002, 0.002, 1.3, seed=i)) for i in range(40)]
    held = sum(f.interval[0] <= 1.3 <= f.interval[1] for f in found)
    assert held >= 34


def test_a_number_that_does_not_grow_has_no_share_that_does():
    found = growth.fit_power(session(0.01, 0.0, 1.0, noise=0))
    assert found.a + found.b * 64**found.p == pytest.approx(0.01, rel=1e-3)


def test_three_numbers_of_frames_are_too_few():
    samples = session(0.0, 1.0, 1.0)
    assert growth.fit_power({t: samples[t] for t in (4, 8, 16)}) is None
