"""Shared by all tests: one torch thread, a cache of their own, and suites made on the spot."""

import os
from pathlib import Path

import pytest

from pks4.bench.process import child
from pks4.bench.process.warm_start import ForkServer
from tests.factories.suites import SUITE
from tests.tools import skips

os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure(config):
    """Watch the skips of this run."""
    skips.register(config)


def pytest_xdist_auto_num_workers():
    """One worker more than cores: tests of processes wait for most of their time."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else None


def pytest_collection_modifyitems(items):
    """Files with slow tests come first, so that no worker begins a long one when others end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def suite_file(tmp_path):
    """A function that writes a small suite and gives its path."""

    def write(name: str = "small", more: str = "", text: str | None = None) -> Path:
        path = tmp_path / f"{name}.toml"
        path.write_text(SUITE.format(name=name, more=more) if text is None else text)
        return path

    return write


@pytest.fixture(scope="session")
def fork_server():
    """A fork server that outlives the runs that use it; its start takes most of a small run."""
    server = ForkServer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "close", lambda: None)
        yield server
    server.close()


@pytest.fixture
def one_fork_server(fork_server, monkeypatch):
    """The runs of this process start their workers from one server."""
    monkeypatch.setattr(child, "ForkServer", lambda: fork_server)


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
