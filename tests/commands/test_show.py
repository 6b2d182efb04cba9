"""`show measure` and `show model`: what is measured, units, settings, the real defaults."""

import json
from dataclasses import fields

import pytest

from pks4.bench.compare.compare import higher_is_better
from pks4.bench.contestants import catalogue
from pks4.method.options import Options
from tests.tools.commands import invoke

MEASURES = catalogue.measures()


def test_a_measure_is_printed_with_its_metrics_settings_and_suites():
    printed = invoke("show", "measure", "saved_bytes").stdout
    assert printed.startswith("Activation memory: bytes kept for backward")
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert "saved_bytes B less is better" in lines
    assert "check_whole false run the cell itself instead" in lines
    used = next(line for line in lines if line.startswith("Suites that use it: "))
    assert "scaling" in used


@pytest.mark.parametrize("name", sorted(MEASURES))
def test_every_measure_says_what_its_metrics_and_settings_are(name):
    facts = MEASURES[name].facts
    shown = json.loads(invoke("show", "measure", name, "--json").stdout)
    assert shown["text"]
    assert {m["metric"]: (m["unit"], m["direction"]) for m in shown["metrics"]} == facts["METRICS"]
    assert {s["setting"]: s["default"] for s in shown["settings"]} == facts.get("SETTINGS", {})
    assert facts.get("ABOUT", {}).keys() == facts.get("SETTINGS", {}).keys()


def test_directions_are_those_by_which_runs_are_compared():
    for metric, (_, direction) in MEASURES["accuracy"].facts["METRICS"].items():
        if metric != "data_wait_share":  # a share of seconds, which compare takes as noise
            assert higher_is_better(metric) == (direction == "more is better")


def test_an_unknown_measure_has_a_near_name():
    error = invoke("show", "measure", "saved_byte").exception
    assert "did you mean 'saved_bytes'" in str(error)


def test_a_measure_that_looks_at_another_says_so():
    assert "pks4-bench show measure accuracy" in invoke("show", "measure", "sees").stdout


@pytest.mark.parametrize("what", ["model", "measure"])
def test_a_list_says_how_to_see_one_in_full(what):
    assert f"show {what} NAME" in invoke("list", f"{what}s").stderr


def test_a_model_is_printed_with_the_defaults_that_its_module_holds():
    shown = json.loads(invoke("show", "model", "pks4", "--json").stdout)["options"]
    for field in fields(Options):
        default = field.default
        assert shown[field.name] == (list(default) if isinstance(default, tuple) else default)
    assert "none" not in [
        line.split()[-1] for line in invoke("show", "model", "pks4").stdout.splitlines()
        if line.startswith(("state ", "radius ", "modulate ", "direction "))
    ]  # fmt: skip
