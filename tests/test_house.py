"""The house: sizes of files and folders, and a folder of tests for each room that has tests."""

from pathlib import Path

import pytest

from tests.tools import skips

ROOT = Path(__file__).parents[1]
CODE = ("pks4", "baselines", "tests")
MOST_FILES, MOST_LINES, FEWEST_LINES = 16, 350, 30
FACES = ("__init__.py", "conftest.py")
# Folders of tests that are no room.
BESIDE = {"baselines", "baselines/golden", "factories", "tools", "campaigns"}
# Kept at the places where older revisions start them: `compare --worktree` asks for these paths.
SHIMS = {"pks4/bench/worker.py", "pks4/bench/environment.py"}


def files(folder: str) -> list[Path]:
    """The Python files of a folder, its own and those below."""
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "_shipped" not in path.parts)


def lines(path: Path) -> int:
    """The number of lines of a file."""
    return len(path.read_text("utf-8").splitlines())


@pytest.mark.parametrize("folder", CODE)
def test_no_file_is_long_and_none_is_tiny(folder):
    sizes = {str(path.relative_to(ROOT)): lines(path) for path in files(folder)}
    assert {name: size for name, size in sizes.items() if size > MOST_LINES} == {}
    tiny = {
        name: size
        for name, size in sizes.items()
        if size < FEWEST_LINES and Path(name).name not in FACES and name not in SHIMS
    }
    assert tiny == {}


@pytest.mark.parametrize("folder", CODE)
def test_no_folder_is_crowded(folder):
    counts: dict[str, int] = {}
    for path in files(folder):
        if path.name != "__init__.py":
            name = str(path.parent.relative_to(ROOT))
            counts[name] = counts.get(name, 0) + 1
    counts.pop("baselines", None)  # one rival a file
    assert {name: count for name, count in counts.items() if count > MOST_FILES} == {}


def test_each_folder_of_tests_mirrors_a_room():
    rooms = {str(path.parent.relative_to(ROOT / "pks4")) for path in files("pks4")}
    tested = {str(path.parent.relative_to(ROOT / "tests")) for path in files("tests")}
    assert tested - rooms - BESIDE == set()


def test_each_room_of_the_instrument_has_tests():
    rooms = {path.parent.name for path in (ROOT / "pks4/bench").glob("*/__init__.py")}
    assert rooms - {path.name for path in (ROOT / "tests/bench").iterdir()} == set()


def test_programs_of_campaigns_are_not_collected():
    assert [p.name for p in files("tests/campaigns") if p.name.startswith("test_")] == []


def test_a_skip_that_is_not_named_is_found():
    known = "there is a GPU here"
    assert skips.unexpected([known]) == []
    assert skips.unexpected([known, "no chromium"]) == ["no chromium"]
    assert skips.unexpected([known] * 11) == ["11 tests are skipped, 10 may be"]
