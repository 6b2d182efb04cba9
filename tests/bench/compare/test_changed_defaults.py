"""A default that changed makes another case: old numbers are never taken for those of today."""

from pks4.bench.compare.compare import compare
from pks4.bench.plan.plan import plan
from pks4.bench.plan.suite import parse_suite
from tests.factories.runs import record, run_file

PLACES = """
name = "made"
title = "Places"
[[contestants]]
label = "pks4"
model = "pks4"
[[contestants]]
label = "frame_mean"
model = "frame_mean"
[[grids]]
name = "cost"
scale = "paper"
frames = [8]
measures = ["saved_bytes"]
"""


def test_pks4_from_when_it_stood_on_top_by_default_is_another_case():
    """Its cells named no place then; those of its rivals are what they were."""

    def unplaced(c):
        options = {k: v for k, v in c.options.items() if k != "insert_after"}
        return c.model_copy(update={"options": options})

    cells = plan(parse_suite(PLACES, "test"))
    old = [unplaced(c) for c in cells]
    base, head = (
        run_file([record(c, "saved_bytes", "saved_bytes", 7, "exact") for c in each], each, name)
        for each, name in ((old, "base-1"), (cells, "head-1"))
    )
    pks4, frame_mean = compare(base, head).entries
    assert (pks4.state, pks4.why) == ("not comparable", "options.insert_after: none → middle")
    assert (frame_mean.state, frame_mean.base) == ("same", 7)
    assert compare(base, head).exit_code == 2
