"""The scan's speed: arms that compute the same, a floor, goals, and a command that tells them."""

import subprocess
import sys
from itertools import count

import pytest
import torch
import torch.nn.functional as F
from typer.testing import CliRunner

from pks4 import cli
from pks4.bench.scan_speed import arms as scan_speed_arms
from pks4.bench.scan_speed import session as scan_speed_session
from pks4.bench.scan_speed import timing
from pks4.bench.scan_speed.arms import control, floor_arms
from pks4.bench.scan_speed.goals import (
    CASES,
    OPERATIONS,
    SHAPES,
    Case,
    Plan,
    Samples,
    Shape,
    Work,
    floor_seconds,
    goals,
    judge,
    make_row,
)
from pks4.errors import UserError

SMALL = Shape(2, 3, 4, 5, 2)


def plan(**changes):
    """A plan that takes no time."""
    settings = {
        "shapes": (SMALL,),
        "cases": (Case(shape=SMALL),),
        "rounds": 2,
        "sample_seconds": 1e-5,
        "copied_bytes": 1 << 16,
    }
    return Plan(**{**settings, **changes})


def test_materialised_is_the_scan_in_value_and_gradients():
    sites = [v.double().requires_grad_() for v in scan_speed_arms.draw(SMALL)]
    want = scan_speed_arms.backend("reference")(*sites)
    got = scan_speed_arms.materialised(*scan_speed_arms.as_sequences(sites))  # (b·s, d, t)
    b, t, s, d, _ = SMALL
    got = got.view(b, s, d, t).permute(0, 3, 1, 2)
    torch.testing.assert_close(got, want)
    for mine, theirs in zip(
        torch.autograd.grad(got.sin().sum(), sites),
        torch.autograd.grad(want.sin().sum(), sites),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_sequences_are_contiguous_as_others_want_them():
    u, delta, _, B, C, _, _ = scan_speed_arms.as_sequences(scan_speed_arms.draw(SMALL))
    assert [v.shape for v in (u, delta, B, C)] == [(8, 5, 3)] * 2 + [(8, 2, 3)] * 2
    assert all(v.is_contiguous() for v in (u, delta, B, C))


def test_step_sizes_are_as_asked_for():
    _, delta, _, _, _, _, bias = scan_speed_arms.draw(Shape(1, 50, 1, 40, 2), "1e-4 to 10")
    steps = F.softplus((delta + bias).double())
    assert 0.9e-4 < steps.min() < 2e-4
    assert 8 < steps.max() < 10.001
    usual = F.softplus(scan_speed_arms.draw(Shape(1, 1, 1, 500, 2))[-1].double())
    assert 0.9e-3 < usual.min() < 2e-3
    assert 0.08 < usual.max() < 0.101


def test_long_scans_leave_out_what_would_take_minutes():
    def arms(t, operation):
        return set(scan_speed_arms.scan_arms(Shape(1, t, 1, 2, 2), operation))

    own = {"numba", "recompute"}
    assert arms(784, "forward") == arms(64, "forward+backward") == own | {"materialised"}
    assert arms(785, "forward") == arms(65, "forward+backward") == own


def test_a_call_gives_y_or_the_gradients_of_all_inputs():
    for call in scan_speed_arms.scan_arms(SMALL, "forward").values():
        assert not call().requires_grad
    for call in scan_speed_arms.scan_arms(SMALL, "forward+backward").values():
        assert len(call()) == 7


def test_kept_bytes_count_each_storage_once_and_no_input():
    x = torch.ones(10, requires_grad=True)
    assert scan_speed_arms.kept_bytes(lambda: x * x, (x,)) == 0
    assert scan_speed_arms.kept_bytes(lambda: x.exp(), (x,)) == 40  # its result
    assert scan_speed_arms.kept_bytes(lambda: x.exp() * x.view(2, 5).exp().flatten(), (x,)) == 80


@pytest.mark.parametrize("t", [8, 70])
def test_the_scan_keeps_nothing_and_materialised_keeps_every_state(t):
    kept = scan_speed_arms.kept_in_sizes_of_u(Shape(1, t, 2, 4, 16))
    assert kept["numba"] == kept["recompute"] == 0
    assert ("materialised" in kept) == (t <= 64)
    if t <= 64:
        assert kept["materialised"] > 3 * 16  # decays, inputs, states: n to a number of u


def test_errors_name_y_and_every_input():
    found = scan_speed_arms.errors(Shape(1, 20, 2, 17, 4), "1e-4 to 10")
    assert list(found) == ["y", *scan_speed_arms.INPUTS]
    assert 0 < max(found.values()) < 5e-6


@pytest.mark.slow
def test_the_floors_kernels_do_what_they_say():
    arms, work = floor_arms(1 << 16)
    for arm in arms.values():
        arm()
    assert work.exps == 4096 * 2048
    assert work.copied_bytes == 2 << 16
    assert control()().eq(1).all()  # exp(0)


def test_the_floor_is_the_larger_of_two_terms():
    shape = Shape(1, 2, 3, 100, 10)  # 6 rows, 6000 state-steps
    assert floor_seconds(shape, "forward", 1000, 1e12) == (6, "exp")
    assert floor_seconds(shape, "forward+backward", 1000, 1e12) == (12, "exp")
    assert floor_seconds(shape, "forward", 1e12, 10) == (6 * (300 + 20) * 4 / 10, "memory")
    assert floor_seconds(shape, "forward+backward", 1e12, 10)[0] == 6 * (800 + 20) * 4 / 10


@pytest.mark.parametrize(
    ("sizes", "operation", "found", "verdicts"),
    [
        ((2, 8, 196, 384, 16), "forward", (3.0, 12.0, None), "met met"),
        ((2, 8, 196, 384, 16), "forward", (3.1, 11.9, None), "missed missed"),
        ((4, 64, 64, 192, 16), "forward+backward", (6.0, 30.0, 1.0), "met met met"),
        ((4, 64, 64, 192, 16), "forward+backward", (6.1, 30.0, 1.1), "missed met missed"),
        ((2, 16, 196, 384, 16), "forward+backward", (5.0, 20.0, 0.1), "met met missed"),
        ((4, 16, 64, 96, 8), "forward", (9.0, 10.0, None), "met"),
        ((1, 784, 1, 384, 16), "forward", (4.0, 2.0, None), "met"),
        ((1, 3136, 1, 384, 16), "forward+backward", (6.1, None, 0.0), "missed met"),
        ((2, 8, 196, 384, 16), "forward", (2.0, None, None), "met -"),
    ],
)
def test_goals_for_planted_numbers(sizes, operation, found, verdicts):
    over_floor, materialised, kept = found
    judged = goals(
        Shape(*sizes), operation, over_floor=over_floor, materialised=materialised, kept=kept
    )
    assert " ".join(goal.verdict for goal in judged.values()) == verdicts


@pytest.mark.parametrize(
    ("speedup", "control", "verdict"), [(1.8, 1.9, "met"), (1.5, 1.9, "missed"), (1.5, 1.2, "-")]
)
def test_threads_are_judged_only_where_the_control_has_both_cores(speedup, control, verdict):
    found = goals(
        SMALL, "forward", over_floor=1, materialised=20, kept=None, speedup=speedup, control=control
    )
    assert found["speedup"].verdict == verdict


def test_nothing_is_met_by_what_is_not_a_number():
    assert judge(float("nan"), "<=", 1).verdict == judge(float("nan"), ">=", 1).verdict == "missed"


def test_a_row_takes_medians_of_ratios_within_a_round():
    cpu = {
        "numba": [2.0, 4.0, 6.0],
        "again": [2.0, 2.0, 12.0],
        "recompute": [4.0, 12.0, 24.0],
        "materialised": [20.0, 80.0, 60.0],
        "exp": [1.0, 1.0, 1.0],
        "copy": [1.0, 1.0, 1.0],
    }
    wall = {arm: [2 * s for s in seconds] for arm, seconds in cpu.items()}
    pages = {"materialised": [7.0, 3.0, 2.0]}
    many = {
        "one": [4.0] * 3,
        "many": [2.0] * 3,
        "control_one": [9.0] * 3,
        "control_many": [3.0] * 3,
    }
    row = make_row(
        SMALL, "forward", Samples(cpu, wall, pages), Work(120, 10**9), {}, Samples(many, many, {})
    )
    assert SMALL.state_steps == 240  # the floor is 240 exps at 120 a second: 2 s
    assert row.over_floor == 2.0
    assert row.over_numba == {"recompute": 3.0, "materialised": 10.0}
    assert row.seconds_per_state_step["numba"] == 4 / 240
    assert row.seconds_per_state_step["floor"] == 2 / 240
    assert row.bound == "exp"
    assert row.spread == pytest.approx(0.693147, rel=1e-5)
    assert row.fresh_pages == {"materialised": 3.0}
    assert row.cpu_per_wall == 0.5
    assert (row.speedup, row.control_speedup) == (2.0, 3.0)
    assert row.cpu_samples["threads_many"] == [2.0] * 3


def test_the_full_plan_covers_the_goals_and_the_quick_one_some():
    full, quick = scan_speed_session.plan_for(False, 1), scan_speed_session.plan_for(True, 2)
    assert full.shapes == SHAPES
    assert full.cases == CASES
    assert full.rounds >= 7
    assert set(quick.shapes) < set(SHAPES)
    assert quick.units == 1 + 3 * 2 * 3 * 2 + 2


@pytest.mark.slow
def test_a_session_of_samples_calls_every_arm_in_every_round_on_its_threads():
    ticks, seen = count(), []
    arms = {
        "a": (1, lambda: seen.append(("a", torch.get_num_threads()))),
        "b": (2, lambda: seen.append(("b", torch.get_num_threads()))),
    }
    found = timing.sample(plan(rounds=5, sample_seconds=1e-9), arms, lambda: next(ticks))
    assert next(ticks) == 5
    assert {arm: len(v) for arm, v in found.cpu.items()} == {"a": 5, "b": 5}
    assert set(seen) == {("a", 1), ("b", 2)}
    rounds = [{arm for arm, _ in seen[i : i + 2]} for i in range(4, 14, 2)]  # after two calls each
    assert rounds == [{"a", "b"}] * 5
    assert torch.get_num_threads() == 1


@pytest.fixture(scope="module")
def session():
    """A real session on two threads, in a process of its own: document, progress, lines told."""
    progress, told = [], []
    found = scan_speed_session.run(
        plan(threads=2), lambda *done: progress.append(done), told.append
    )
    return found, progress, told


@pytest.mark.slow
def test_a_session_says_where_it_was_measured(session):
    found, _, _ = session
    assert found.plan == plan(threads=2)
    assert found.versions.keys() >= {"torch", "numba", "llvmlite"}
    assert found.environment["cores"] >= 1
    assert found.heap == scan_speed_session.WARM_HEAP
    assert found.kernels["first_calls_seconds"] > 0
    assert found.exps_per_second > 0
    assert found.bytes_per_second > 0


@pytest.mark.slow
def test_a_session_measures_what_is_planned(session):
    found, progress, told = session
    assert [row.operation for row in found.rows] == list(OPERATIONS)
    assert [case.shape for case in found.accuracy] == [SMALL]
    for row in found.rows:
        assert row.shape == SMALL
        assert row.seconds_per_state_step["floor"] > 0
        assert row.over_floor > 0
        assert row.speedup > 0
        assert {len(v) for v in (*row.cpu_samples.values(), *row.wall_samples.values())} == {2}
    assert found.rows[0].kept_u == {}
    assert found.rows[1].kept_u["numba"] == 0
    assert progress == [(i + 1, found.plan.units) for i in range(found.plan.units)]
    assert len(told) == 3


def command(session, monkeypatch, *args):
    """The command, with the session's document for a measurement."""
    monkeypatch.setattr(scan_speed_session, "run", lambda *_: session[0])
    return CliRunner().invoke(cli.app, ["scan", *map(str, args)])


def test_the_command_prints_tables(session, monkeypatch):
    shown = command(session, monkeypatch).stdout
    for text in ("2x3x4x5x2", "numba / floor", "2 threads / one", "delta_bias", "1.0 cannot be"):
        assert text in shown
    assert "0 ≤0 met" in shown  # what is kept


def test_the_command_prints_and_keeps_one_document_and_overwrites_none(
    session, monkeypatch, tmp_path
):
    path = tmp_path / "new" / "scan.json"
    done = command(session, monkeypatch, "--json", "--out", path)
    assert scan_speed_session.Document.model_validate_json(done.stdout) == session[0]
    assert path.read_text() == done.stdout
    again = command(session, monkeypatch, "--out", path)
    assert isinstance(again.exception, UserError)
    assert "not overwritten" in str(again.exception)


def test_a_measuring_process_that_fails_leaves_its_last_words(monkeypatch, tmp_path):
    (tmp_path / "no_numba.py").write_text("import sys; input(); sys.exit('no numba here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(scan_speed_session, "CHILD", "no_numba")
    with pytest.raises(UserError, match="the measuring process ended with 1: no numba here"):
        scan_speed_session.run(plan(), print, print)


@pytest.mark.slow
def test_the_parent_needs_no_torch():
    code = "import sys, pks4.bench.scan_speed.session; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
