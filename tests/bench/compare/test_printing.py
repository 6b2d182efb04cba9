"""A comparison as a table: what says nothing is left out, and why it was accepted is told once."""

from pks4.bench.compare.compare import Comparison, Entry
from pks4.bench.compare.printing import rows, summary


def entry(cell, state, base, head, **more):
    """A number of bytes in both runs."""
    fields = {"measure": "saved_bytes", "metric": "saved_bytes", "kind": "exact", "unit": "B"}
    return Entry(cell=cell, state=state, base=base, head=head, **fields | more)


def comparison(*entries):
    """Two runs with these entries."""
    return Comparison(base="one", head="two", suite="made", entries=entries)


EQUAL = entry("a", "accepted", 5, 5, reason="another PyTorch", why="torch: 1 → 2")
OTHER = entry("b", "accepted", 5, 6, reason="another PyTorch", why="torch: 1 → 2")
WIDER = entry("c", "accepted", 5, 7, reason="a wider scan")


def test_an_accepted_case_whose_value_is_the_same_is_counted_and_shown_only_where_all_is():
    found = comparison(EQUAL, OTHER)
    assert [row[1] for row in rows(found)] == ["b"]
    assert [row[1] for row in rows(found, every=True)] == ["a", "b"]
    assert summary(found)[0] == "made: one → two: 2 accepted"


def test_the_reason_of_an_acceptance_is_told_once():
    found = comparison(EQUAL, OTHER)
    assert rows(found)[0][6] == "torch: 1 → 2"
    assert summary(found)[2:] == ["2 accepted: another PyTorch"]


def test_of_several_reasons_a_row_names_its_number():
    found = comparison(EQUAL, OTHER, WIDER)
    assert [row[6] for row in rows(found)] == ["reason 1; torch: 1 → 2", "reason 2"]
    assert summary(found)[2:] == [
        "reason 1: 2 accepted: another PyTorch", "reason 2: 1 accepted: a wider scan"
    ]  # fmt: skip


def test_seconds_are_read_with_their_own_unit():
    timed = entry("a", "not comparable", 0.0043, 1.25, unit="s", kind="noisy")
    assert rows(comparison(timed))[0][3:5] == ("4.30 ms", "1.25 s")
