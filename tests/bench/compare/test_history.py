"""History: a number over runs by kind of machine, in order of time; change points are advice."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from pks4 import cli
from pks4.bench.compare import history
from pks4.bench.compare import history as compare_history
from pks4.errors import UserError
from tests.factories.runs import cell, made, record, run_file, written


@pytest.fixture
def folder(tmp_path):
    """A function that writes runs of these bytes, a day after each other, the last first."""

    def write(*saved, **source):
        for day, value in reversed(list(enumerate(saved, 1))):
            name = f"made-{value}-{day}-{len(source)}"
            written(made(name, saved=value, created=f"2026-01-{day:02}T00:00:00Z", **source),
                    tmp_path)  # fmt: skip
            stamp(tmp_path / f"{name}.jsonl", day)
        return [tmp_path]

    return write


def stamp(path, day):
    """Records carry the day as well."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["created"] = f"2026-01-{day:02}T00:00:00Z"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def values(series):
    return [p.value for p in series.points]


def test_values_come_in_order_of_time_with_the_change(folder):
    ((one,), _) = history.collect(folder(1000, 1010, 1010), "saved_bytes")
    assert values(one) == [1000, 1010, 1010]
    _, _, rows = compare_history.run_by_run(one)
    assert [row[4] for row in rows] == ["", "+10 (+1.00 %)", ""]
    assert (one.suite, one.cell, one.unit) == ("made", "cost/ours/t8", "B")


def test_an_exact_number_that_all_seeds_share_stays_whole(tmp_path):
    cells = [cell(f"learn/ours/t8/seed{s}", ["accuracy"]) for s in range(3)]
    records = [record(c, "accuracy", "training_macs", 2**53 + 1, "exact", "MAC") for c in cells]
    written(run_file(records, cells), tmp_path)
    ((one,), _) = history.collect([tmp_path], "training_macs")
    assert values(one) == [2**53 + 1]


def test_seeds_are_one_point_and_cells_are_series_of_their_own(folder):
    ((one,), _) = history.collect(folder(1000), "top1")
    assert (one.cell, values(one)) == ("learn/ours/t8", [pytest.approx(0.6)])


@pytest.fixture
def two_machines(tmp_path):
    """The same run of two machines with a day and a version of PyTorch between them."""
    for day, (cpu, torch) in enumerate((("CPU A", "2.15.0"), ("CPU B", "2.16.0")), 1):
        where = {"environment": {"cpu": cpu, "cores": 2}, "versions": {"torch": torch}}
        run = made(f"of-{torch}", created=f"2026-01-{day:02}T00:00:00Z")
        records = [r.model_copy(update=where) for r in run.records]
        stamp(written(type(run)(run.path, run.header, records), tmp_path), day)
    return [tmp_path]


@pytest.mark.parametrize("metric", ["forward_ratio", "top1"])
def test_times_and_accuracies_are_a_series_for_each_kind_of_machine(two_machines, metric):
    found, _ = history.collect(two_machines, metric)
    assert [one.environment_class for one in found] == [
        "CPU A, 2 cores, torch 2.15.0", "CPU B, 2 cores, torch 2.16.0"
    ]  # fmt: skip


def test_an_exact_number_is_one_series_over_all_machines_that_names_where_they_change(two_machines):
    ((one,), _) = history.collect(two_machines, "saved_bytes")
    assert (one.environment_class, values(one)) == (None, [1000, 1000])
    _, _, rows = compare_history.run_by_run(one)
    assert [row[5] for row in rows] == ["", "CPU A, torch 2.15.0 → CPU B, torch 2.16.0"]


def test_another_rule_other_options_and_a_void_session_are_told(folder):
    ((one,), _) = history.collect(folder(1000, 1010), "saved_bytes")
    first, last = one.points
    another = replace(last, rule="saved_bytes/v2", options={"place": "middle"}, void=True)
    other = replace(one, points=(first, another))
    _, _, rows = compare_history.run_by_run(other)
    told = "rule saved_bytes/v1 → saved_bytes/v2{}place: none → middle"
    assert rows[1][5] == "void session; " + told.format("; ")
    _, columns, rows = compare_history.table([other])
    change = dict(zip(columns, rows[0], strict=True))["change"]
    assert change == "+10 (+1.00 %), " + told.format(", ")


# As it is shown


def shown(*series):
    """The table as column -> cells."""
    _, columns, rows = compare_history.table(series)
    return dict(zip(columns, zip(*rows, strict=True), strict=True))


def test_many_cells_are_one_table_with_a_row_each(folder):
    ((one,), _) = history.collect(folder(1000, 1000, 1010), "saved_bytes")
    other = replace(one, cell="cost/ours/t16", points=one.points[:2])
    assert shown(one, other) == {
        "cell": ("cost/ours/t8", "cost/ours/t16"),
        "runs": ("3", "2"),
        "first → last": ("1,000 B → 1,010 B", "1,000 B"),
        "change": ("+10 (+1.00 %)", "none"),
    }
    assert compare_history.table([one, other])[0] == (
        "saved_bytes, suite made, exact: one series for all machines"
    )


def test_what_machines_share_is_told_once_and_what_differs_a_row(two_machines):
    found, _ = history.collect(two_machines, "top1")
    assert compare_history.table(found)[0] == "top1, suite made, on 2 cores"
    assert shown(*found)["machine"] == ("CPU A, torch 2.15.0", "CPU B, torch 2.16.0")


def test_a_number_that_went_and_came_back_says_so(folder):
    ((one,), _) = history.collect(folder(1000, 1010, 1000), "saved_bytes")
    assert shown(one)["change"] == ("none, but between",)


def test_a_change_of_a_large_count_is_told_to_the_unit(folder):
    ((one,), _) = history.collect(folder(10**12, 2 * 10**12 - 1), "saved_bytes")
    assert shown(one)["change"] == ("+999,999,999,999 (+100.00 %)",)


def test_a_change_of_a_share_is_in_points(folder):
    ((one,), _) = history.collect(folder(1000, 1010), "top1")
    first, last = one.points
    grown = replace(one, points=(first, replace(last, value=first.value + 0.1)))
    assert shown(grown)["first → last"] == ("60.0 % → 70.0 %",)
    assert shown(grown)["change"] == ("+10.0 points",)


def test_change_points_are_a_column_where_there_are_runs_enough(folder):
    pytest.importorskip("ruptures")
    ((one,), _) = history.collect(folder(*[1000] * 4, *[1100] * 4), "saved_bytes")
    assert shown(one)["change points"] == ("2026-01-05 aaaaaaa",)
    assert "change points" not in shown(replace(one, points=one.points[:5]))


# Change points


def test_a_step_is_a_change_point_and_a_level_is_none(folder):
    pytest.importorskip("ruptures")
    wobble = [0, 3, 1, 4, 2, 5, 1, 3]
    steps = [1000 + w for w in wobble] + [1100 + w for w in wobble]
    ((one,), _) = history.collect(folder(*steps), "saved_bytes")
    assert [i for i, p in enumerate(one.points) if p.is_change_point] == [8]


def test_a_level_with_noise_has_no_change_point(folder):
    pytest.importorskip("ruptures")
    ((one,), _) = history.collect(folder(*[1000 + w for w in [0, 3, 1, 4, 2, 5, 1, 3] * 2]),
                                  "saved_bytes")  # fmt: skip
    assert not any(p.is_change_point for p in one.points)


def test_an_exact_number_that_steps_once_has_its_change_point(folder):
    pytest.importorskip("ruptures")
    ((one,), _) = history.collect(folder(*[1000] * 4, *[1100] * 4), "saved_bytes")
    assert [i for i, p in enumerate(one.points) if p.is_change_point] == [4]


def test_without_the_library_it_says_so_and_shows_the_rest(folder, monkeypatch):
    monkeypatch.setattr(history, "_has_ruptures", lambda: False)
    ((one,), notes) = history.collect(folder(*range(1000, 1008)), "saved_bytes")
    assert (len(one.points), notes) == (8, [history.WITHOUT])


@pytest.mark.parametrize(
    ("metric", "said"),
    [("saved_byts", "did you mean 'saved_bytes'"), ("forward_seconds", "ask for forward_ratio")],
)
def test_what_has_no_history_is_told(folder, metric, said):
    with pytest.raises(UserError, match=said):
        history.collect(folder(1000), metric)


@pytest.mark.parametrize(
    ("narrowed", "said"),
    [
        ({"suite": "mad"}, "did you mean 'made'"),
        ({"label": "our"}, "did you mean 'ours'"),
        ({"cell": "cost/ours"}, "the nearest: cost/ours/t8; pks4-bench history saved_bytes lists"),
    ],
)
def test_an_unknown_suite_contestant_or_cell_is_told(folder, narrowed, said):
    with pytest.raises(UserError, match=said):
        history.collect(folder(1000), "saved_bytes", **narrowed)


def test_seconds_without_a_ratio_name_none(tmp_path):
    written(made(drop=("forward_ratio",)), tmp_path)
    with pytest.raises(UserError, match=r"sessions have no history$"):
        history.collect([tmp_path], "forward_seconds")


def test_the_command_prints_a_table_runs_and_json(folder, tmp_path):
    (where,) = folder(1000, 1010)
    args = ["history", "saved_bytes", "--runs", str(where)]

    def printed(*more):
        return CliRunner().invoke(cli.app, [*args, *more]).stdout

    assert "2026-01-02T00:00:00Z" in printed()  # the only cell, run by run
    stamp(written(two_cells(), tmp_path), 3)
    assert "2026-01-02T00:00:00Z" not in printed()
    for more in (["--long"], ["--cell", "cost/ours/t8"]):
        assert "2026-01-02T00:00:00Z" in printed(*more)
        assert "+10 (+1.00 %)" in printed(*more)
    one, other = json.loads(printed("--json"))
    assert [p["value"] for p in one["points"]] == [1000, 1010, 1020]
    assert [p["value"] for p in other["points"]] == [7]


def two_cells():
    """A run with a cell more."""
    run, more = made("more", saved=1020), cell("cost/ours/t16", ["saved_bytes"])
    held = record(more, "saved_bytes", "saved_bytes", 7, "exact", "B", run="more")
    header = run.header.model_copy(update={"cells": [*run.header.cells, more]})
    return type(run)(run.path, header, [*run.records, held])
