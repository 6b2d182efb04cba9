"""The lock holds all that pyproject.toml asks for, in range, and nothing of where it was made."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
# Where the lock is for, whatever this machine is.
PLACE = {
    "python_version": "3.11", "python_full_version": "3.11.0", "sys_platform": "linux",
    "platform_system": "Linux", "platform_machine": "x86_64", "implementation_name": "cpython",
    "platform_python_implementation": "CPython", "os_name": "posix", "extra": "",
}  # fmt: skip


def pins(text):
    """Name -> version of a lock's lines; AssertionError for a line that is no pin."""
    found = {}
    for line in text.splitlines():
        if line and not line.lstrip().startswith("#"):
            name, equals, version = line.partition("==")
            assert equals, f"no pin: {line}"
            assert re.fullmatch(r"[\w.+!-]+", version), f"no plain version: {line}"
            found[canonicalize_name(name)] = version
    return found


def asked(project, extra):
    """What a project requires with one of its extras, the extras that it names included."""
    lines = list(project["dependencies"])
    waiting, seen = [extra], set()
    while waiting:
        seen.add(name := waiting.pop())
        for line in project["optional-dependencies"][name]:
            requirement = Requirement(line)
            if requirement.name == project["name"]:
                waiting += requirement.extras - seen
            else:
                lines.append(line)
    found = [Requirement(line) for line in lines]
    return [r for r in found if r.marker is None or r.marker.evaluate(PLACE)]


def lacking(requirements, pinned):
    """Requirements that the pins do not meet."""
    return [
        str(r)
        for r in requirements
        if not r.specifier.contains(pinned.get(canonicalize_name(r.name), "0"), prereleases=True)
    ]


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (ROOT / "constraints.txt").read_text(encoding="utf-8")


def test_every_requirement_is_pinned_within_its_range():
    assert lacking(asked(PROJECT, "dev"), pins(LOCK)) == [], "run: make lock"


def test_what_is_not_pinned_or_out_of_range_is_found():
    project = {
        "name": "it",
        "dependencies": ["a>=2", "b>=1; sys_platform == 'win32'", "C_d<2"],
        "optional-dependencies": {"dev": ["it[docs]", "e==1"], "docs": ["f"]},
    }
    requirements = asked(project, "dev")
    assert lacking(requirements, pins("a==2\nc-d==1.5\ne==1\nf==3\n")) == []
    assert lacking(requirements, pins("# made by\na==1\nc-d==1.5\nf==3\n")) == ["a>=2", "e==1"]


def test_the_lock_says_how_it_is_made_and_not_where():
    assert "make lock" in LOCK.splitlines()[1]
    assert not re.search(r"://|^\s*-|@|/(tmp|work|home|root|opt)/", LOCK, re.M)


@pytest.mark.parametrize("line", ["a>=1", "a @ file:///opt/a.whl", "a==1 --hash=x"])
def test_a_line_that_is_no_pin_is_found(line):
    with pytest.raises(AssertionError, match="no p"):
        pins(line)
