"""A run against the accepted run: counted by state, the largest change named."""

import gzip

import pytest

from pks4.bench.records import accepted, run_file
from pks4.bench.report.tables.accepted_run import against_accepted
from tests.factories.runs import made, written

WHERE = "Linux x86_64, CPU A, 2 cores, torch 2.15.0"


@pytest.fixture
def results(tmp_path):
    """A folder of results whose ledger accepts `base-1`."""
    folder = tmp_path / "results"
    path = written(made("base-1"), folder / "runs")
    accepted.accept(run_file.read(path), "first reference", folder, "me")
    return folder


def compared(run, results):
    return against_accepted(run_file.read(written(run, results / "runs")), results)


def lines(found):
    return {line["metric"].value: line for line in found.table.rows}


def test_equal_numbers_are_the_same(results):
    found = compared(made("head-1"), results)
    assert found.words == f"Against base-1, the accepted run for {WHERE}: 3 same."
    line = lines(found)["saved_bytes"]
    assert (line["same"].value, line["largest"].value) == (1, None)


def test_a_change_is_counted_marked_and_told_by_its_part(results):
    found = compared(made("head-1", saved=1012), results)
    line = lines(found)["saved_bytes"]
    assert (line["changed"].value, line["changed"].tone) == (1, "bad")
    assert "+12 (+1.2 %)" in line["largest"].text
    assert "by_class.Linear 600 → 612" in line["largest"].text
    assert "1 changed" in found.words
    assert r"by\_class.Linear 600 $\rightarrow$ 612" in found.table.latex()


def test_absolute_times_are_left_out_and_their_ratios_are_not(results):
    found = lines(compared(made("head-1", factor=2.0), results))
    assert "forward_seconds" not in found
    assert found["forward_ratio"]["worse"].value == 1


def test_what_is_not_there_any_more_is_missing(results):
    found = lines(compared(made("head-1", drop=["saved_bytes"]), results))
    assert found["saved_bytes"]["missing"].value == 1


def test_the_reference_itself_and_a_class_without_one_are_told(results):
    assert compared(made("base-1"), results).table is None
    itself = compared(made("base-1"), results).words
    assert itself == f"This run is the accepted run of suite made for {WHERE}: first reference"
    other = compared(made("head-1", environment={"cpu": "CPU B"}), results)
    assert other.table is None
    assert other.words == "No run of suite made is accepted for CPU B, torch 2.15.0."


def test_a_reference_that_was_changed_is_told_and_not_used(results):
    path = results / "reference" / "base-1.jsonl.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b"\n"))
    found = compared(made("head-1"), results)
    assert found.table is None
    assert "is not as it was when it was accepted" in found.words
