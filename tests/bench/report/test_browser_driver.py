"""The driver of the browser, on stand-ins that say nothing, leave, or answer everything."""

import fcntl
import os
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.tools import browser
from tests.tools.browser import Chromium

# Notes what it is asked in `asked`, and keeps `lock` locked while it or its child lives.
STAND_IN = """#!{python} -ISu
import fcntl, json, os, subprocess, sys

lock = open("{folder}/lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
subprocess.Popen(["sleep", "600"], pass_fds=[lock.fileno()])
asked = open("{folder}/asked", "a")
print("started", file=asked, flush=True)
if "{how}" == "silent":
    os.read(0, 1)
    import time
    time.sleep(600)
left = 9 if "{how}" == "leaves" and not os.path.exists("{folder}/left") else 1000
for message in iter(lambda: b"".join(iter(lambda: os.read(3, 1), b"\\0")), b""):
    if not left:
        open("{folder}/left", "w")
        sys.exit(3)
    left -= 1
    given = json.loads(message)
    print(given["method"], file=asked, flush=True)
    answer = {{"id": given["id"], "result": {{
        "targetId": "t", "sessionId": "s", "result": {{"value": given["params"]}}}}}}
    loaded = {{"method": "Page.loadEventFired", "sessionId": "s"}}
    for one in (answer, loaded) if given["method"] == "Page.navigate" else (answer,):
        os.write(4, json.dumps(one).encode() + b"\\0")
"""
OPENED = [
    "Target.createTarget", "Target.attachToTarget", "Page.enable", "Runtime.enable", "Log.enable",
    "Network.enable", "Emulation.setDeviceMetricsOverride", "Page.navigate",
]  # fmt: skip


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A function that makes a browser which is silent, leaves or answers; and what it was asked."""
    (tmp_path / "profiles").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "profiles"))

    def make(how):
        path = tmp_path / "browser"
        path.write_text(STAND_IN.format(python=sys.executable, folder=tmp_path, how=how))
        path.chmod(0o755)
        monkeypatch.setattr(browser, "BINARY", str(path))

    asked = tmp_path / "asked"
    before = descriptors()
    yield make, lambda: asked.read_text().split() if asked.exists() else []
    assert descriptors() == before
    assert list((tmp_path / "profiles").iterdir()) == []
    with (tmp_path / "lock").open("a") as lock:
        assert_comes_free(lock)


def descriptors():
    """What this process has open."""
    return len(os.listdir("/dev/fd"))


def assert_comes_free(lock):
    """Within seconds nobody holds the lock any more."""
    for _ in range(100):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(0.05)
    raise AssertionError("a process lives on")


def test_of_a_browser_that_never_answers_there_is_a_second_and_no_third(stand_in, monkeypatch):
    make, asked = stand_in
    make("silent")
    monkeypatch.setattr(browser, "PATIENCE", 1.0)
    with Chromium() as chromium:
        for _ in range(2):
            with pytest.raises(pytest.fail.Exception, match=r"silent twice: .*createTarget") as e:
                chromium.open(Path("/a.html"))
            assert "\n" not in str(e.value)
    assert len(asked()) <= 2  # on a busy machine one is ended before it starts


def test_a_browser_lives_no_longer_than_it_may(stand_in, monkeypatch):
    make, _ = stand_in
    make("silent")
    monkeypatch.setattr(browser, "LIFETIME", 0.2)
    with Chromium() as chromium, pytest.raises(pytest.fail.Exception, match="silent twice"):
        chromium.open(Path("/a.html"))


def test_a_new_browser_is_asked_what_the_one_that_left_was_asked(stand_in):
    make, asked = stand_in
    make("leaves")
    with Chromium() as chromium:
        page = chromium.open(Path("/a.html"))
        page.medium(scheme="dark")
        assert page.value("1 + 1") == {"expression": "1 + 1", "returnByValue": True}
        assert chromium.given_up == ""
    steps = [*OPENED, "Emulation.setEmulatedMedia"]
    assert asked() == ["started", *steps, "started", *steps, "Runtime.evaluate"]


def test_pages_are_closed_where_there_is_a_browser(stand_in):
    make, asked = stand_in
    make("answers")
    with Chromium() as chromium:
        chromium.close_pages()
        chromium.open(Path("/a.html"))
        chromium.close_pages()
        chromium.close_pages()
    assert asked() == ["started", *OPENED, "Target.closeTarget"]


def test_a_browser_that_cannot_be_started_leaves_nothing(stand_in, monkeypatch):
    make, _ = stand_in
    make("answers")
    monkeypatch.setattr(browser.sys, "executable", "/nowhere")
    with Chromium() as chromium, pytest.raises(FileNotFoundError):
        chromium.open(Path("/a.html"))
