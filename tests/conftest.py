"""Shared by all tests: one torch thread, a cache of their own, and suites made on the spot."""

import os
from pathlib import Path

import pytest

from tests.factories.suites import SUITE
from tests.tools import skips

os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure(config):
    """Watch the skips of this run."""
    skips.register(config)


@pytest.fixture
def suite_file(tmp_path):
    """A function that writes a small suite and gives its path."""

    def write(name: str = "small", more: str = "", text: str | None = None) -> Path:
        path = tmp_path / f"{name}.toml"
        path.write_text(SUITE.format(name=name, more=more) if text is None else text)
        return path

    return write


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory):
    """Keep the tests' data out of the user's cache, and their locks away from real timings."""
    before = dict(os.environ)
    os.environ.setdefault("PKS4_CACHE", str(tmp_path_factory.mktemp("cache")))
    os.environ["PKS4_LOCKS"] = str(tmp_path_factory.mktemp("locks"))
    yield
    for name in ("PKS4_CACHE", "PKS4_LOCKS"):
        os.environ.pop(name)
        os.environ |= {name: before[name]} if name in before else {}
