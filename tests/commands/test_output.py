"""Where a command prints: a full disk, a closed stream, a pipe that ends early, ASCII alone."""

import subprocess
import sys
from pathlib import Path

import pytest

LIST = [sys.executable, "-m", "pks4.cli", "list", "suites"]
FULL = Path("/dev/full")


def ran(redirection, **environment):
    """Exit code, what reached stdout and what reached stderr."""
    words = " ".join(f'"{word}"' for word in LIST)
    done = subprocess.run(
        ["sh", "-c", f"{words} {redirection}"], capture_output=True, text=True,
        env={"PATH": "/usr/bin:/bin", **environment}, cwd=Path(__file__).parents[2], check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_line():
    code, _, said = ran(f"> {FULL}")
    assert (code, said) == (
        2, "error: the output cannot be written: No space left on device; make room\n"
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "| head -n 1"])
def test_a_closed_stream_and_a_pipe_that_ends_are_no_error(redirection):
    code, _, said = ran(redirection)
    assert (code, said) == (0, "")


@pytest.mark.slow
def test_ascii_alone_is_enough():
    code, said, wrong = ran("", PYTHONIOENCODING="ascii", LC_ALL="C", PYTHONUTF8="0")
    assert (code, wrong) == (0, "")
    assert said.isascii()
    assert "quick" in said
