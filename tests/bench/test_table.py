"""The one table: texts of numbers without a unit, and rows that lack a column."""

from types import SimpleNamespace

import pytest

from pks4.bench.table import Column, TableCell, table, value_of, words

COLUMNS = (Column("label", "label"), Column("count", "count", numeric=True))


def made(cell):
    row = {"label": words("ours"), "count": cell}
    return table(name="counts", title="Counts", note="All.", columns=COLUMNS, rows=[row])


def test_a_count_without_a_unit_is_written_in_full():
    counted = SimpleNamespace(number=1, source="a record", value=12345)
    assert "| ours | 12,345 |" in made(value_of(counted)).markdown()


def test_a_text_of_its_own_stays():
    assert "| ours | twelve |" in made(TableCell(12, "twelve")).markdown()


def test_a_row_that_lacks_a_column_is_told():
    with pytest.raises(ValueError, match="table 'counts': a row lacks the column 'count'"):
        table(name="counts", title="", note="", columns=COLUMNS, rows=[{"label": words("ours")}])


def test_a_column_without_any_value_is_not_shown():
    assert "count" not in made(TableCell()).markdown()
