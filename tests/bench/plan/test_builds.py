"""An option that a contestant refuses is found by `plan` and by `run`, before any cell starts."""

import pytest

from pks4.bench.contestants import build as building
from pks4.bench.plan import builds
from pks4.bench.plan.builds import check_builds
from pks4.bench.plan.plan import plan
from pks4.bench.plan.suite import read_suite
from pks4.errors import UserError
from tests.factories.suites import SUITE
from tests.tools.commands import invoke


def with_options(suite_file, options):
    """The small suite with these options of `ours`."""
    text = SUITE.format(name="small", more="")
    return suite_file(text=text.replace("state = 2", f"state = 2, {options}"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("insert_after = 3.7", "insert_after must be"),
        ("insert_after = 1", "got 1"),
        ("rank = 0", "rank must be a whole number"),
        ('direction = "left"', "direction must be one of"),
        ('backbone = "vitt"', "unknown backbone 'vitt'"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.usefixtures("one_fork_server")
def test_an_option_that_a_contestant_refuses_is_one_line(
    suite_file, tmp_path, command, options, said
):
    path = with_options(suite_file, options)
    out = ["--out", tmp_path / "runs"] if command == "run" else []
    error = invoke(command, path, *out).exception
    assert isinstance(error, UserError)
    assert str(error).startswith(f"{path}: contestant 'ours': model 'pks4': ")
    assert said in str(error)
    assert "\n" not in str(error)
    assert not (tmp_path / "runs").exists()


def test_heads_that_do_not_divide_the_width_name_both(suite_file):
    text = SUITE.format(name="small", more="").replace("heads = 3", "heads = 5", 1)
    error = invoke("plan", suite_file(text=text)).exception
    assert "contestant 'floor'" in str(error)
    assert "width 24 is not a multiple of heads 5" in str(error)


def test_a_text_is_no_switch(suite_file):
    path = with_options(suite_file, 'frozen = "no"')
    with pytest.raises(UserError, match="'ours': option 'frozen' must be true or false, got 'no'"):
        plan(read_suite(path)[0])


def test_each_case_is_built_once(suite_file, monkeypatch):
    built = []

    def counted(entry, options, **sizes):
        built.append(entry.name)
        return building.build(entry, options, **sizes)

    monkeypatch.setattr(builds, "build", counted)
    text = SUITE.format(name="small", more="").replace("frames = [2]", "frames = [2, 4, 8]")
    cells = plan(read_suite(suite_file(text=text))[0])
    check_builds(cells, "small.toml")
    assert built == ["frame_mean", "pks4"]


def test_a_number_of_frames_that_a_tubelet_does_not_divide_is_refused(suite_file):
    text = SUITE.format(name="small", more="").replace('"frame_mean"', '"videomae"', 1)
    error = invoke("plan", suite_file(text=text.replace("[2]", "[2, 3]"))).exception
    assert "contestant 'floor': model 'videomae'" in str(error)
    assert "frames 3" in str(error)


def test_what_fails_for_another_reason_is_left_to_the_cells(suite_file, monkeypatch):
    def broken(*_, **__):
        raise ImportError("no transformers")

    monkeypatch.setattr(builds, "build", broken)
    check_builds(plan(read_suite(suite_file())[0]), "small.toml")
