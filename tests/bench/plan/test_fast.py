"""`--fast`: a suite's short form, under a name of its own."""

import pytest
from typer.testing import CliRunner

from pks4.bench.plan.plan import plan
from pks4.bench.plan.suite import fast_text, parse_suite
from pks4.bench.records.folders import suite_named
from pks4.cli import app
from pks4.errors import UserError

SUITE = """
name = "two"
title = "Two grids"
[[contestants]]
label = "floor"
model = "frame_mean"
[[grids]]
name = "costs"
scale = "tiny"
frames = [2, 4, 8]
measures = ["macs", "params"]
settings.macs = { check_frames = 1, check_up_to = 2 }
[[grids]]
name = "slow"
scale = "tiny"
frames = [8]
measures = ["params"]
"""


def hurried(fast):
    return parse_suite(fast_text(SUITE + fast), "two.toml")


def test_what_fast_says_replaces_and_settings_are_merged():
    suite = hurried("[fast.costs]\nframes = [2]\nsettings.macs = { check_up_to = 0 }")
    costs, slow = suite.grids
    assert (suite.name, suite.title) == ("two-fast", "Two grids (fast)")
    assert costs.frames == [2]
    assert costs.settings == {"macs": {"check_frames": 1, "check_up_to": 0}}
    assert slow.frames == [8]


def test_a_grid_can_be_skipped_but_not_all_of_them():
    assert [g.name for g in hurried("[fast.slow]\nskip = true").grids] == ["costs"]
    with pytest.raises(UserError, match="fast skips every grid"):
        hurried("[fast.slow]\nskip = true\n[fast.costs]\nskip = true")


def test_the_plain_suite_does_not_see_it():
    assert parse_suite(SUITE + "[fast.slow]\nskip = true", "two.toml").name == "two"


@pytest.mark.parametrize(
    ("fast", "said"),
    [
        ("[fast.slwo]\nskip = true", "two.toml: fast: unknown grid 'slwo'; did you mean 'slow'"),
        ("[fast.slow]\nframe = [1]", "fast.slow: unknown key 'frame'; did you mean 'frames'"),
        ("[fast.slow]\nframes = []", "fast.slow: frames: must be a list of 1 or more"),
        ('[fast.slow]\nskip = "no"', "fast.slow: skip: must be true or false, got 'no'"),
        ("[fast.slow]\nsettings = 3", "fast.slow: settings: must be a table, got 3"),
    ],
)
def test_a_mistake_is_named_even_if_the_run_is_not_fast(fast, said):
    with pytest.raises(UserError) as error:
        parse_suite(SUITE + fast, "two.toml")
    assert said in str(error.value)


def test_a_suite_without_it_names_those_that_have_it():
    found = CliRunner().invoke(app, ["plan", "scaling", "--fast"])
    assert isinstance(found.exception, UserError)
    assert "accuracy" in str(found.exception)


def test_every_short_form_has_fewer_cells():
    for name in ("ablation", "accuracy", "convergence", "frames", "latency"):
        assert 0 < len(plan(suite_named(name, (), True)[0])) < len(plan(suite_named(name)[0])) / 3
