"""Runs as Python calls: measured, read as one number a row, compared."""

import json

import pytest
from torch import nn

import pks4
from pks4.bench.contestants import entry, own
from pks4.errors import UserError
from pks4.library import runs
from tests.factories.runs import COST, failed, made, run_file, written


class Colours(nn.Module):
    """Colours (own): the mean pixel of a clip."""

    def __init__(self, num_classes):
        super().__init__()
        self.head = nn.Linear(3, num_classes)

    def forward(self, video):
        return self.head(video.mean((1, 3, 4)))


@pytest.mark.slow
def test_a_class_of_ones_own_is_measured_beside_the_others(suite_file, tmp_path, monkeypatch):
    monkeypatch.setenv(own.OWN, "")
    events = []
    run = pks4.run(
        suite_file(), models=[Colours], out=tmp_path / "runs", jobs=1,
        listen=lambda cell, event: events.append((cell.label, event["event"])),
    )  # fmt: skip
    numbers = run.frame().set_index(["label", "metric"])["value"]
    assert numbers["Colours", "params_total"] == 3 * 5 + 5
    assert numbers["Colours", "macs_forward"] == 15
    assert ("Colours", "done") in events
    assert run == pks4.read_run(run.path)


def test_a_frame_has_one_number_a_row_and_a_row_for_what_failed(tmp_path):
    lost = failed(COST, "params", "no <weights>")
    path = written(run_file([*made().records, lost], [COST]), tmp_path)
    run = pks4.read_run(path)
    frame = run.frame()
    assert list(frame.columns) == [*runs.WHERE, "seed", *runs.WHAT]
    assert list(frame["metric"]) == [r.metric for r in run.records]
    assert frame.set_index("metric").loc["saved_bytes", "value"] == 1000
    assert list(frame["seed"].dropna()) == [0, 1, 2]
    assert frame[frame["status"] == "failed"]["value"].isna().all()
    assert "cost/ours/t8 params: no <weights>" in str(run)
    assert "&lt;weights&gt;" in run._repr_html_()
    assert json.loads(json.dumps(run.to_dict()))["name"] == "base-1"


def test_two_runs_are_compared_number_by_number(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "results_folder", lambda: tmp_path / "results")
    paths = [written(run, tmp_path) for run in (made(), made("head-1", saved=1001))]
    found = pks4.compare_runs(*paths)
    frame = found.frame().set_index("metric")
    assert frame.loc["saved_bytes", ["base", "head", "state", "effect"]].tolist() == [
        1000, 1001, "changed", 1,
    ]  # fmt: skip
    assert "changed" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["comparison"]["base"] == "base-1"
    with pytest.raises(UserError, match="BASE and HEAD in one"):
        pks4.compare_runs(paths[0], paths[0])


def test_a_run_that_an_import_would_start_again_is_refused(monkeypatch):
    monkeypatch.setattr(entry, "_open_imports", [None])
    with pytest.raises(UserError, match="put it under if __name__"):
        pks4.run("smoke")


def test_a_run_that_is_not_there_is_named():
    with pytest.raises(UserError, match="unknown run 'nonne'"):
        pks4.read_run("nonne")
