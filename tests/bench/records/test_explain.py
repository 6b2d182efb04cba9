"""`explain`: a record in sections, from the number to the machine; near names where it is not."""

import json
import re

import pytest

from pks4.bench.contestants import catalogue
from pks4.bench.records import run_file
from pks4.bench.records.explain import explain, find
from pks4.bench.records.run_file import RunFile
from pks4.errors import UserError
from tests.factories.records import header, synthetic_run


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFile:
    """A run with every kind of record, read from a file."""
    records = synthetic_run()
    path = tmp_path_factory.mktemp("runs") / "run.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in (header(records), *records)))
    return run_file.read(path)


def test_every_number_of_a_run_can_be_explained(run):
    for record in run.records:
        sections = explain(find(run, record.cell, record.metric))
        assert list(sections) == ["number", "of", "how", "made of", "code", "machine"]
        said = dict(sections["number"])
        if record.value is not None:
            assert f"{record.value:,}" in said["value"] or repr(record.value) in said["value"]
        else:
            assert said["reason"] == record.reason
        for name, fact in record.evidence.items():
            assert (name in dict(sections["how"])) is (fact is not None)
        assert (record.commit or "none") in dict(sections["code"])["commit"]


def test_long_parts_are_cut_and_say_so(run):
    record = run.records[0]
    many = {f"layer{i}": i for i in range(40)}
    told = dict(explain(record.model_copy(update={"detail": {"by_class": many}}))["made of"])
    assert "layer11 = 11 … 28 more (--json shows all)" in told["by_class"]


def test_a_row_without_content_is_left_out(run):
    record = run.records[0]
    detail = {"check": None, "materialised_by": [], "by_class": {}, "note": "", "copies": 0}
    evidence = {"rule": "macs/v1", "agreed": []}
    told = explain(record.model_copy(update={"detail": detail, "evidence": evidence}))
    assert told["made of"] == [("copies", "0")]
    assert [name for name, _ in told["how"]] == ["measure", "rule"]


def test_lists_in_a_list_are_set_in_brackets(run):
    detail = {"by_class": {"left": [32, 40], "right": [22, 40]}}
    told = explain(run.records[0].model_copy(update={"detail": detail}))["made of"]
    assert told == [("by_class", "left = (32, 40), right = (22, 40)")]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"value": 259_111_460, "unit": "B", "kind": "exact"}, "259,111,460 B (247 MiB)"),
        ({"value": 12, "unit": "B", "kind": "exact"}, "12 B"),
        ({"value": 87_150_753, "unit": "1", "kind": "exact"}, "87,150,753"),
        ({"value": 0.25, "unit": "1", "kind": "sampled"}, "0.25 (25.0 %)"),
        ({"value": 1.5, "unit": "1", "kind": "noisy"}, "1.5"),
    ],
)
def test_a_value_is_told_to_its_last_digit_and_as_it_is_read(run, fields, said):
    record = run.records[0].model_copy(update=fields)
    assert dict(explain(record)["number"])["value"] == said


def test_a_metric_of_a_measure_that_failed_is_told_with_the_reason(run):
    failed = next(r for r in run.records if r.status != "ok")
    metric = next(iter(catalogue.measures()[failed.measure].facts["METRICS"]))
    with pytest.raises(
        UserError, match=f"{failed.measure} {failed.status}: {re.escape(failed.reason)}"
    ):
        find(run, failed.cell, metric)
    with pytest.raises(UserError, match="unknown metric of"):
        find(run, failed.cell, f"{metric}_of_no_measure")


def test_unknown_cells_and_metrics_name_the_near_ones(run):
    record = run.records[0]
    listed = f"the nearest: {record.cell}, .*; pks4-bench status {run.header.run} lists all"
    with pytest.raises(UserError, match=listed):
        find(run, record.cell + "x", record.metric)
    with pytest.raises(UserError, match="unknown metric of"):
        find(run, record.cell, "nothing")
