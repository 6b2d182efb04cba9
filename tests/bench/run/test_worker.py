"""What a worker accepts of a measure: declared metrics, one number each, of a known kind."""

from pathlib import Path

import pytest

from pks4.bench.contestants import catalogue
from pks4.bench.records.record import Reading
from pks4.bench.run import worker

MEASURE = '''"""Counts what a test asks for."""

METRICS = ("depth", "width")
'''


@pytest.fixture
def entry(tmp_path) -> catalogue.Entry:
    path = tmp_path / "shape.py"
    path.write_text(MEASURE)
    return catalogue._read("shape", Path(path))


def reading(metric="depth", value=3, kind="exact"):
    return Reading(metric=metric, value=value, unit="1", kind=kind)


def test_declared_numbers_are_accepted(entry):
    worker._check([reading(), reading("width", 2.5, "noisy")], entry)


@pytest.mark.parametrize(
    ("readings", "said"),
    [
        ([], "each metric once and at least one"),
        ([reading(), reading()], "each metric once and at least one"),
        ([reading("height")], "measure 'shape' gave 'height', which its METRICS does not name"),
        ([reading(kind="exakt")], "kind 'exakt'; a kind is one of exact, noisy, sampled"),
        ([reading(value="six")], "depth is 'six'; a value is one number"),
        ([reading(value=True)], "depth is True; a value is one number"),
    ],
)
def test_a_reading_that_no_record_can_hold_is_told(entry, readings, said):
    with pytest.raises(ValueError, match=said):
        worker._check(readings, entry)
