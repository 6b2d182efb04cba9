"""A suite whose floor nobody meets ends in one clear line and exit code 1."""

import pytest

from pks4.commands.run import every_accuracy_void
from tests.factories.runs import COST, LEARN, failed, record, run_file
from tests.factories.trainings import learn
from tests.tools.commands import invoke


def void(where, floor):
    return failed(where, "accuracy", "below it", detail={"void": floor})


def test_every_floor_that_was_missed_is_counted():
    floors = ["image_floor", "sees_floor", "image_floor"]
    records = [void(c, floor) for c, floor in zip(LEARN, floors, strict=True)]
    line = every_accuracy_void(run_file(records, [COST, *LEARN]))
    assert (
        line
        == "no accuracy of made: 2 below image_floor and 1 below sees_floor; nothing was trained"
    )


def test_a_run_with_an_accuracy_or_without_trainings_has_no_such_line():
    trained = record(LEARN[0], "accuracy", "top1", 0.5, "sampled")
    rest = [void(c, "sees_floor") for c in LEARN[1:]]
    assert every_accuracy_void(run_file([trained, *rest], LEARN)) == ""
    assert every_accuracy_void(run_file([], [COST])) == ""
    assert every_accuracy_void(run_file([failed(LEARN[0], "accuracy", "x")], LEARN[:1])) == ""


@pytest.mark.slow
def test_a_suite_whose_floor_nobody_meets_ends_in_one_line(suite_file, tmp_path):
    floor = "image_floor = 0.95\nimages = 20"
    text = suite_file(more=learn().replace("images = 20", floor)).read_text()
    text = text.replace('measures = ["params", "macs", "saved_bytes"]', 'measures = ["params"]')
    path = suite_file(text=text)
    done = invoke("run", path, "--out", tmp_path / "runs", "--no-report", "--jobs", "1")
    assert done.exit_code == 1
    assert "no accuracy of small: 1 below image_floor; nothing was trained" in done.stderr
