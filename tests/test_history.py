"""History: a number over runs by kind of machine, in order of time; change points are advice."""

import json

import pytest
from made_runs import made, written
from typer.testing import CliRunner

from pks4 import cli
from pks4.bench import history
from pks4.errors import UserError


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
    assert [row[4] for row in history.rows(one)] == ["", "+10 (+1.00 %)", ""]
    assert (one.suite, one.cell, one.unit) == ("made", "cost/ours/t8", "B")


def test_seeds_are_one_point_and_cells_are_series_of_their_own(folder):
    ((one,), _) = history.collect(folder(1000), "top1")
    assert (one.cell, values(one)) == ("learn/ours/t8", [pytest.approx(0.6)])


def test_each_kind_of_machine_is_a_series(tmp_path):
    for name, cpu in (("a", "CPU A"), ("b", "CPU B")):
        run = made(name)
        where = {"environment": {"cpu": cpu, "cores": 2}}
        records = [r.model_copy(update=where) for r in run.records]
        written(type(run)(run.path, run.header, records), tmp_path)
    found, _ = history.collect([tmp_path], "saved_bytes")
    assert [one.environment_class for one in found] == [
        "CPU A, 2 cores, torch 2.15.0", "CPU B, 2 cores, torch 2.15.0"
    ]  # fmt: skip


def test_a_step_is_a_change_point_and_a_level_is_none(folder):
    pytest.importorskip("ruptures")
    wobble = [0, 3, 1, 4, 2, 5, 1, 3]
    steps = [1000 + w for w in wobble] + [1100 + w for w in wobble]
    ((one,), _) = history.collect(folder(*steps), "saved_bytes")
    assert [i for i, p in enumerate(one.points) if p.turns] == [8]


def test_a_level_with_noise_has_no_change_point(folder):
    pytest.importorskip("ruptures")
    ((one,), _) = history.collect(folder(*[1000 + w for w in [0, 3, 1, 4, 2, 5, 1, 3] * 2]),
                                  "saved_bytes")  # fmt: skip
    assert not any(p.turns for p in one.points)


def test_an_exact_number_that_steps_once_has_its_change_point(folder):
    pytest.importorskip("ruptures")
    ((one,), _) = history.collect(folder(*[1000] * 4, *[1100] * 4), "saved_bytes")
    assert [i for i, p in enumerate(one.points) if p.turns] == [4]


def test_without_the_library_it_says_so_and_shows_the_rest(folder, monkeypatch):
    monkeypatch.setattr(history, "_has_ruptures", lambda: False)
    ((one,), notes) = history.collect(folder(*range(1000, 1008)), "saved_bytes")
    assert (len(one.points), notes) == (8, [history.WITHOUT])


@pytest.mark.parametrize(
    ("metric", "said"),
    [("saved_byts", "did you mean 'saved_bytes'"), ("forward_seconds", "such as forward_ratio")],
)
def test_what_has_no_history_is_told(folder, metric, said):
    with pytest.raises(UserError, match=said):
        history.collect(folder(1000), metric)


def test_an_unknown_suite_is_told(folder):
    with pytest.raises(UserError, match="did you mean 'made'"):
        history.collect(folder(1000), "saved_bytes", suite="mad")


def test_the_command_prints_a_table_and_json(folder):
    (where,) = folder(1000, 1010)
    args = ["history", "saved_bytes", "--runs", str(where)]
    assert "+10 (+1.00 %)" in CliRunner().invoke(cli.app, args).stdout
    (one,) = json.loads(CliRunner().invoke(cli.app, [*args, "--json"]).stdout)
    assert [p["value"] for p in one["points"]] == [1000, 1010]
