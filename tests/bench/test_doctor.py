"""The doctor: what it finds here, and that it can find fault."""

import pytest

from pks4.bench import doctor


@pytest.mark.slow
def test_nothing_here_is_wrong_and_what_is_absent_says_why():
    found = {f.what: f for f in doctor.examine()}
    assert not [f for f in found.values() if f.state == "wrong"]
    assert "17,563,060,224" in found["counters on ViT-B/16"].text
    assert found["scan recompute"].state == "ok"
    assert found["reader pyav"].state == "ok"
    absent = [f for f in found.values() if f.state == "absent"]
    assert all(f.text for f in absent)


def test_a_scan_that_is_off_is_found(monkeypatch):
    from pks4 import scan

    right = scan.OPERATORS["recompute"]
    monkeypatch.setitem(
        scan.OPERATORS, "recompute", lambda *x: (right(*x)[0] + 1e-3, *right(*x)[1:])
    )
    states = {f.what: f.state for f in doctor._scans()}
    assert states["scan recompute"] == "wrong"
    assert states["scan reference"] == "ok"
