"""Seeds that a comparison with PKS4 takes, by the answers that a run recorded."""

from pks4.bench.view.power import comparisons
from pks4.bench.view.view import View
from tests.factories.records import clip_records, frame, header, planted


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
