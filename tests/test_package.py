"""Wheel and sdist: one top-level name, all data inside, and they work outside a checkout."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SHIPPED = ("baselines", "suites", "suites/goals", "suites/recipes", "results/published")


def build(source, out, *more):
    """Build in a folder with what is installed, from no index."""
    words = [sys.executable, "-m", "hatchling", "build", "--directory", out, *more]
    subprocess.run(list(map(str, words)), cwd=source, check=True, capture_output=True)


def contents(wheel):
    """Name -> bytes of a wheel's files, but for the list of them."""
    with zipfile.ZipFile(wheel) as file:
        return {n: file.read(n) for n in file.namelist() if not n.endswith("/RECORD")}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the sdist of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def test_the_wheel_has_one_top_level_name_and_the_data_inside_it(built):
    names = contents(built[0])
    assert {name.split("/")[0].split("-")[0] for name in names} == {"pks4", "pks4_bench"}
    for folder in SHIPPED:
        files = {p.name for p in (ROOT / folder).iterdir() if p.is_file()}
        prefix = f"pks4/_shipped/{folder}/"
        assert files <= {n.removeprefix(prefix) for n in names if n.startswith(prefix)}, folder


def test_the_sdist_gives_the_same_wheel(built, tmp_path):
    wheel, sdist = built
    with tarfile.open(sdist) as file:
        file.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    build(source, tmp_path / "again", "--target", "wheel")
    (again,) = (tmp_path / "again").glob("*.whl")
    assert contents(again) == contents(wheel)


def test_the_wheel_runs_a_suite_outside_a_checkout(built, suite_file, tmp_path):
    target = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, "--target", str(target), str(built[0])], check=True)
    done = subprocess.run(
        ["sh", str(ROOT / "tests/outside.sh"), sys.executable, str(suite_file())],
        env={**os.environ, "PYTHONPATH": str(target)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert str(target) in done.stdout.splitlines()[-1]
