"""Seeds that a difference takes: a textbook's t-test, a simulation, and the parts of the spread."""

import numpy as np
import pytest

from pks4.bench.stats.power import POWER, Spread, least_difference, power, seeds_for
from pks4.bench.view.power import comparisons
from pks4.bench.view.view import View
from tests.factories.records import clip_records, frame, header, planted


def test_ten_pairs_find_a_difference_of_one_standard_deviation_as_textbooks_say():
    spread = Spread(between_seeds=0.05**2, between_clips=0.0, clips=720)
    assert power(spread, 0.05, 10) == pytest.approx(0.803, abs=1e-3)  # Cohen 1988, G*Power
    assert seeds_for(spread, 0.05) == 10
    assert least_difference(spread, 10) == pytest.approx(0.0498, abs=1e-4)


def test_the_power_is_what_a_simulation_finds():
    spread, random = Spread(0.04**2, 0.0, 720), np.random.default_rng(0)
    drawn = random.normal(0.06, 0.04, (20_000, 4))
    error = drawn.std(1, ddof=1) / 2
    found = (np.abs(drawn.mean(1)) / error > 3.182).mean()  # t of 3 degrees of freedom, 95 %
    assert power(spread, 0.06, 4) == pytest.approx(found, abs=0.01)


def test_no_number_of_seeds_finds_less_than_the_clips_vary_by():
    spread = Spread(between_seeds=0.05**2, between_clips=0.02**2, clips=300)
    assert seeds_for(spread, 0.03) is None
    assert seeds_for(spread, 0.10) is not None


def test_without_spread_three_seeds_find_anything():
    spread = Spread(0.0, 0.0, 100)
    assert (seeds_for(spread, 0.01), least_difference(spread, 3)) == (3, 0.0)


def test_the_least_difference_is_found_as_often_as_stated():
    spread = Spread(0.05**2, 0.01**2, 300)
    assert power(spread, least_difference(spread, 5), 5) == pytest.approx(POWER, abs=1e-4)


def test_the_spread_tells_seeds_from_clips():
    random = np.random.default_rng(0)
    by_seed, by_clip = random.normal(0, 0.05, (200, 1)), random.normal(0, 0.5, (1, 400))
    spread = Spread.of(by_seed + by_clip)
    assert spread.between_seeds == pytest.approx(0.05**2, rel=0.2)
    assert spread.between_clips == pytest.approx(0.5**2 / 400, rel=0.2)


def view_of(ours, theirs):
    records = [*clip_records("pks4", ours), *clip_records("joint", theirs)]
    return View(frame(records), header(records))


def test_every_rival_of_two_seeds_is_compared_with_pks4():
    ours = {seed: planted(0.5, shift=seed) for seed in (0, 1, 2)}
    theirs = {seed: planted(0.7, shift=3 * seed) for seed in (0, 1, 2)}
    (found,) = comparisons(view_of(ours, theirs), [0.02, 0.5])
    assert (found.row.label, found.seeds) == ("joint", 3)
    assert found.seeds_for[0.5] <= (found.seeds_for[0.02] or 10**6)
    assert 0 <= found.least_difference < 1


def test_one_seed_shows_no_spread_over_seeds():
    assert comparisons(view_of({0: planted(0.5)}, {0: planted(0.7)}), [0.05]) == []


def test_a_stricter_level_takes_no_fewer_seeds():
    ours = {seed: planted(0.5, shift=seed) for seed in (0, 1, 2)}
    theirs = {seed: planted(0.6, shift=7 * seed) for seed in (0, 1, 2)}
    view = view_of(ours, theirs)
    (loose,), (strict,) = (comparisons(view, [0.5], level=level) for level in (0.9, 0.999))
    assert loose.seeds_for[0.5] <= strict.seeds_for[0.5]
    assert loose.least_difference < strict.least_difference
