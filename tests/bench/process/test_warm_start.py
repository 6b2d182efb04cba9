"""The fork server: how its children live and end, and that its end is not theirs."""

import json
import os
import signal
from pathlib import Path

import pytest

from pks4.bench.process import warm_start
from pks4.bench.process.child import Child
from pks4.bench.process.warm_start import LOST, ForkServer, WarmChild

TALKER = """
import os, sys
from pks4.bench.process import child

def main():
    job, send = child.receive()
    print("chatter")
    send(pid=os.getpid(), session=os.getsid(0), watcher=os.getppid())
    if "code" in job:
        print("last words", file=sys.stderr, flush=True)
        os._exit(job["code"])
    while True:
        send(alive=True)

if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    """A module whose `main` says who it is, and ends with the code of its job, or never."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "talker.py").write_text(TALKER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(Path.cwd())]))
        yield "talker"


@pytest.fixture(scope="module")
def server(module):
    server = ForkServer()
    yield server
    server.close()


def told(status: str) -> WarmChild:
    """A child whose watcher has written this, and is gone."""
    read, write = os.pipe()
    os.write(write, status.encode())
    os.close(write)
    return WarmChild(0, None, [None, None, open(read)])


@pytest.mark.parametrize(
    ("status", "code"), [("3\n", 3), ("-11\n", -11), ("", LOST), ("nonsense\n", LOST)]
)
def test_a_child_ends_as_its_watcher_says_and_is_lost_without_it(status, code):
    child = told(status)
    assert child.wait() == child.wait() == code


@pytest.mark.slow
def test_a_warm_child_leads_a_session_and_only_events_are_on_its_standard_output(server, module):
    with Child(module, {"code": 5}, server=server) as child:
        assert child.warm
        (event,) = child.events()
        assert event["pid"] == event["session"] == child.process.pid
        assert child.wait() == 5
        assert child.last_line == "last words"
        assert not child.timed_out


@pytest.mark.slow
def test_a_warm_child_that_is_killed_is_noticed(server, module):
    with Child(module, {}, server=server) as child:
        next(child.events())
        os.kill(child.process.pid, signal.SIGSEGV)
        assert child.wait() == -signal.SIGSEGV


@pytest.mark.slow
def test_a_warm_child_ends_at_its_time_limit(server, module):
    with Child(module, {}, server=server, limit=0.5) as child:
        assert list(child.events())
        assert child.wait() == -signal.SIGKILL
        assert child.timed_out


@pytest.mark.slow
def test_a_warm_child_ends_with_its_standard_input_as_when_its_parent_is_gone(server, module):
    child = server.next_child(module)
    child.stdin.write("{}\n")
    child.stdin.flush()
    json.loads(child.stdout.readline())
    child.stdin.close()
    assert child.wait() == -signal.SIGKILL  # its whole session
    child.stdout.close()
    child.stderr.close()


@pytest.mark.slow
def test_a_child_whose_watcher_is_killed_works_on_but_its_end_is_unknown(server, module):
    with Child(module, {}, server=server) as child:
        events = child.events()
        os.kill(next(events)["watcher"], signal.SIGKILL)
        assert next(events) == {"alive": True}
        child.kill()
        assert child.wait() == LOST


@pytest.mark.slow
def test_a_server_that_is_killed_starts_nobody_and_its_children_keep_their_ends(module):
    server = ForkServer()
    with Child(module, {}, server=server) as child:
        next(child.events())
        server.process.kill()
        server.process.wait()
        with Child(module, {"code": 0}, server=server) as cold:
            assert not cold.warm
            assert cold.wait() == 0
        child.kill()
        assert child.wait() == -signal.SIGKILL
    server.close()


def test_it_is_used_on_linux_alone():
    assert (os.uname().sysname == "Linux") == warm_start.AVAILABLE
