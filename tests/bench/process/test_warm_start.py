"""Warm children: what the nursery says is heard in any order, and its end is nobody's end."""

import json
import socket

from pks4.bench.process.warm_start import LOST, Nursery


def heard(*said):
    """A nursery's parent side that hears all of this at once, then the end."""
    ours, theirs = socket.socketpair()
    nursery = Nursery()
    nursery.line = ours
    theirs.sendall(b"".join(json.dumps(one).encode() + b"\n" for one in said))
    theirs.close()
    nursery._listen()
    ours.close()
    return nursery


def test_a_child_that_ends_at_birth_is_known_with_its_code():
    nursery = heard({"born": 7}, {"ended": 7, "code": 3})
    assert nursery.newborn.pid == 7
    assert nursery.newborn.wait() == 3


def test_a_child_whose_nursery_is_gone_has_no_code_and_nobody_waits():
    nursery = heard({"born": 7})
    assert nursery.gone
    assert nursery.newborn.wait() == LOST


def test_what_is_not_understood_ends_the_listening_not_the_run():
    nursery = heard({"born": 7}, "nonsense")
    assert nursery.gone
    assert nursery.newborn.wait() == LOST
