"""The table of readers: every one is timed on the same clip, or says why not."""

import json

import pytest
from typer.testing import CliRunner

from pks4.cli import app
from pks4.data.readers import READERS, reader_speed

pytestmark = pytest.mark.slow


def test_every_reader_is_timed_or_named_as_absent(monkeypatch):
    monkeypatch.setattr(reader_speed, "NUM_FRAMES", 40)
    done = CliRunner().invoke(app, ["data", "readers", "--rounds", "2", "--json"])
    found = json.loads(done.stdout)
    assert set(found["readers"]) | set(found["absent"]) == set(READERS)
    assert {"pyav", "decord"} <= set(found["readers"])
    cells = [(row["reader"], row["frames"]) for row in found["rows"]]
    assert sorted(cells) == sorted((r, n) for r in found["readers"] for n in (8, 16, 32))
    assert all(len(row["seconds"]) == 2 and min(row["seconds"]) > 0 for row in found["rows"])
