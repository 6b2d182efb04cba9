"""The table of rankings: which settings are compared, and which pairs turn over."""

from pks4.bench.report.tables.ranking import rankings
from pks4.bench.view.view import View
from tests.factories.records import clip_records, frame, header, planted

ORDER = {"pks4": 0.8, "joint": 0.6, "adapter": 0.4}


def made(second):
    """The same three contestants in two grids."""
    records = []
    for grid, shares in (("first", ORDER), ("second", second)):
        for label, share in shares.items():
            seeds = {seed: planted(share, shift=seed) for seed in (0, 1)}
            records += [
                one | {"grid": grid, "cell": one["cell"].replace("accuracy/", f"{grid}/")}
                for one in clip_records(label, seeds)
            ]
    return View(frame(records), header(records))


def test_the_same_order_in_both_settings():
    (row,) = rankings(made(ORDER)).rows
    assert row["tau"].text == "1.00 [1.00 to 1.00]"
    assert row["turned"].text == "no pair"


def test_a_pair_that_turns_over_is_named():
    (row,) = rankings(made({"pks4": 0.8, "joint": 0.4, "adapter": 0.6})).rows
    assert row["turned"].text == "Joint attention and ST-Adapter"


def test_two_shared_contestants_make_no_ranking():
    assert not rankings(made({"pks4": 0.8, "joint": 0.4})).rows
