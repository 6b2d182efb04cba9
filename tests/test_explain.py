"""`explain`: a record in sections, from the number to the machine; near names where it is not."""

import json

import pytest
from report_records import header, synthetic_run

from pks4.bench import store
from pks4.bench.explain import explain, find
from pks4.bench.store import RunFile
from pks4.errors import UserError


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFile:
    """A run with every kind of record, read from a file."""
    records = synthetic_run()
    path = tmp_path_factory.mktemp("runs") / "run.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in (header(records), *records)))
    return store.read(path)


def test_every_number_of_a_run_can_be_explained(run):
    for record in run.records:
        sections = explain(find(run, record.cell, record.metric))
        assert list(sections) == ["number", "of", "how", "made of", "code", "machine"]
        said = dict(sections["number"])
        if record.value is not None:
            assert f"{record.value:,}" in said["value"] or repr(record.value) in said["value"]
        else:
            assert said["reason"] == record.reason
        for name in record.evidence:
            assert name in dict(sections["how"])
        assert (record.commit or "none") in dict(sections["code"])["commit"]


def test_long_parts_are_cut_and_say_so(run):
    record = run.records[0]
    many = {f"layer{i}": i for i in range(40)}
    told = dict(explain(record.model_copy(update={"detail": {"by_class": many}}))["made of"])
    assert "layer11 = 11 … 28 more (--json shows all)" in told["by_class"]


def test_unknown_cells_and_metrics_name_the_near_ones(run):
    record = run.records[0]
    with pytest.raises(UserError, match="did you mean"):
        find(run, record.cell + "x", record.metric)
    with pytest.raises(UserError, match="unknown metric of"):
        find(run, record.cell, "nothing")
