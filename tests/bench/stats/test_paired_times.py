"""Paired times: a planted difference is found, none is not invented, a broken session is void."""

import numpy as np
import pytest

from pks4.bench.stats.paired_times import compare
from tests.campaigns import timing_trials


def session(effect=1.0, drift_of_again=1.0, noise=0.02, rounds=30, seed=0):
    """Times of reference, candidate and again: common drift, a few spikes, independent noise."""
    rng = np.random.default_rng(seed)
    drift = np.exp(np.cumsum(rng.normal(0, 0.05, rounds)))
    arms = np.exp(rng.normal(0, noise, (3, rounds))) * drift
    arms[rng.random((3, rounds)) < 0.05] *= 2
    return arms[1] * effect, arms[0], arms[2] * drift_of_again


@pytest.mark.parametrize(("effect", "verdict"), [(1.2, "slower"), (0.8, "faster")])
def test_a_planted_effect_is_found(effect, verdict):
    ratio = compare(*session(effect))
    assert ratio.verdict == verdict
    assert ratio.interval[0] < effect < ratio.interval[1]


def test_equal_arms_are_the_same():
    assert compare(*session(noise=0.005)).verdict == "same"


def test_noise_makes_nothing_the_same():
    ratio = compare(*session(noise=0.12))
    assert ratio.interval[0] < 0.97 or ratio.interval[1] > 1.03
    assert ratio.verdict == "inconclusive"


def test_too_much_noise_is_inconclusive():
    assert compare(*session(1.03, noise=0.3)).verdict == "inconclusive"


def test_a_reference_that_differs_from_itself_voids_the_session():
    assert compare(*session(1.2, drift_of_again=1.3)).verdict == "void"


def test_few_false_alarms_and_a_planted_tenth_is_found():
    alarms = [compare(*session(seed=s)).verdict for s in range(25)]
    found = [compare(*session(1.1, seed=s)).verdict for s in range(25)]
    assert sum(v in ("slower", "faster") for v in alarms) <= 1
    assert found.count("slower") >= 22


def test_equal_samples_have_an_interval_of_no_width():
    ones = np.ones(5)
    assert compare(ones, ones, ones).interval == (1.0, 1.0)


def test_the_campaign_of_trials_makes_a_session_as_the_measure_does():
    verdict, ratio = timing_trials.trial(1.5, 0)
    assert verdict in ("slower", "void")
    assert ratio > 1.1
