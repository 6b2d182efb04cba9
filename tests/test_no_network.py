"""Without a flag nothing goes over the network: every command below runs with it taken away."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

# Commands one after another in one process, which imports what it needs once.
CODE = """
import glob, json, sys
from pks4.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["pks4-bench", *(found for word in words for found in glob.glob(word) or [word])]
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise
"""
SUITE = """
name = "offline"
title = "Offline"

[[contestants]]
label = "floor"
model = "frame_mean"
options = { width = 24, depth = 1, heads = 3 }

[[grids]]
name = "learn"
scale = "tiny"
frames = [4]
task = "temporal"
measures = ["params", "macs", "accuracy"]

[grids.settings.accuracy]
epochs = 1
images = 20
clip_frames = 8
image_epochs = 1
clips = { train = 18, val = 18, test = 18 }
"""
REFUSING = """
import socket
import sys

def refuse(event, args):
    looks_up = event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
    connects = event in ("socket.connect", "socket.sendto") and args[0].family != socket.AF_UNIX
    if looks_up or connects:
        with open({log!r}, "a") as file:
            file.write(f"{{event}} {{args[1:]}} {{sys.argv}}\\n")
        raise OSError("no network here")

sys.addaudithook(refuse)
"""


def blocked(folder: Path) -> tuple[Path, Path]:
    """A folder to put first in the import path, and the file in which tries are noted.

    A process and its children then have no network. The file is not there until a try is made.
    """
    log = folder / "tries"
    (folder / "sitecustomize.py").write_text(REFUSING.format(log=str(log)))
    return folder, log


@pytest.fixture
def offline(tmp_path):
    """A function that runs a program without a network; and the file that notes its tries."""
    folder, log = blocked(tmp_path)

    def run(code, *commands):
        path = os.pathsep.join([str(folder), str(Path(__file__).parents[1])])
        words = json.dumps([[str(word) for word in words] for words in commands])
        env = {**os.environ, "PYTHONPATH": path}
        return subprocess.run(
            [sys.executable, "-c", code, words], capture_output=True, text=True, env=env
        )

    return run, log


def test_a_try_is_noticed_also_where_it_is_swallowed(offline):
    run, log = offline
    swallowing = "import socket, contextlib\nwith contextlib.suppress(OSError):\n"
    run(f"{swallowing} socket.create_connection(('127.0.0.1', 9))")
    assert "socket.getaddrinfo" in log.read_text()


def test_plan_run_report_list_and_show_need_no_network(offline, tmp_path):
    run, log = offline
    suite, runs = tmp_path / "offline.toml", tmp_path / "runs"
    suite.write_text(SUITE)
    commands = [
        ("plan", suite),
        ("run", suite, "--out", runs, "--no-report"),
        ("list", "models"),
        ("list", "runs"),
        ("show", "model", "frame_mean", "--scale", "tiny"),
        ("report", runs / "*.jsonl", "--out", tmp_path / "report"),
    ]
    done = run(CODE, *commands)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report").is_dir()
    assert not log.exists(), log.read_text()
