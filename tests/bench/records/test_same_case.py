"""Settings of a case: what an older run lacks is the default, and floors change no number."""

from pks4.bench.contestants import catalogue
from pks4.bench.records.same_case import case, differences
from tests.factories.runs import cell, record

DEFAULTS = catalogue.measures()["accuracy"].facts["SETTINGS"]
OLD = {k: v for k, v in DEFAULTS.items() if k not in ("image_floor", "sees_floor", "sharding")}


def of(settings):
    """The case of a top-1 in a cell with these settings of accuracy."""
    where = cell("learn/ours/t8", ["accuracy"], {"accuracy": settings})
    return case(record(where, "accuracy", "top1", 0.5, "sampled"), where)


def test_a_run_from_before_a_setting_is_of_the_same_case_as_one_with_its_default():
    assert differences(of(OLD), of(DEFAULTS)) == []


def test_a_floor_makes_no_other_case():
    stated = DEFAULTS | {"image_floor": 0.95, "sees_floor": 0.0}
    assert differences(of(OLD), of(stated)) == []


def test_another_setting_makes_another_case():
    assert differences(of(OLD), of(DEFAULTS | {"epochs": 9})) == ["settings.epochs: 5 → 9"]


def test_a_difference_says_what_was_and_what_is():
    before, after = {"options": {"depth": 4}, "rule": "a"}, {"options": {"depth": 6}, "rule": "a"}
    assert differences(before, after) == ["options.depth: 4 → 6"]
    assert differences(before, before) == []
