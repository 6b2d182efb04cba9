"""Files and names from others: refused in one line, kept inside their folder, shown as text."""

import errno
import json
import os
import subprocess
import sys

import pytest

from pks4.bench.claims.claims import read_claims
from pks4.bench.plan import recipes
from pks4.bench.plan.suite import parse_suite
from pks4.bench.records import run_file
from pks4.commands.parts.terminal import escaped, say, visible
from pks4.data.dataset import Dataset
from pks4.data.errors import DataError, ManifestError
from pks4.data.index.parts.text import read_json
from pks4.data.index_folder import Indexed
from pks4.data.manifest import read_manifest
from pks4.errors import UserError, unknown_name

DEEP = 100_000
TOO_MUCH = {
    "deep": "a = " + "[" * DEEP,
    "long number": f"a = {'9' * 5000}",
    "long key": "a." * 20_000 + "a = 1",
}
READERS = {
    "suite": lambda path: parse_suite(path.read_text(), str(path)),
    "claims": read_claims,
    "recipes": recipes.read,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("content", TOO_MUCH)
def test_toml_that_no_parser_takes_is_one_line(tmp_path, reader, content):
    path = tmp_path / "file.toml"
    path.write_text(TOO_MUCH[content])
    with pytest.raises(UserError, match=r"file\.toml: not valid TOML") as caught:
        READERS[reader](path)
    assert len(str(caught.value)) < 500


def test_a_recipe_with_a_long_name_is_one_short_line(tmp_path):
    (tmp_path / "mine.toml").write_text(f"[{'a' * 10_000}]\n")
    with pytest.raises(UserError, match="has no table `recipe`") as caught:
        recipes.read(tmp_path / "mine.toml")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("content", ["[" * DEEP, '{"a":' * DEEP, f"[{'9' * 5000}]"])
def test_json_that_no_parser_takes_is_one_line(tmp_path, content):
    for name, take in (
        ("index.json", lambda: Indexed.read(tmp_path)),
        ("dataset.json", lambda: Dataset.read(tmp_path)),
        ("train.json", lambda: read_json(tmp_path / "train.json", list)),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=name):
            take()


def test_a_record_that_is_nested_too_deeply_is_a_torn_line(tmp_path):
    path = tmp_path / "run.jsonl"
    header = {
        "type": "run", "run": "a", "suite": "a", "suite_text": "", "created": "", "cells": [],
        "versions": {}, "commit": None, "dirty": None, "environment": {},
    }  # fmt: skip
    path.write_text(f"{json.dumps(header)}\n{'[' * DEEP}\n")
    assert "line 2 is torn" in run_file.read(path).torn[0]


def test_a_full_disk_under_a_torn_line_is_one_line(tmp_path, monkeypatch):
    path = tmp_path / "run.jsonl"
    path.write_bytes(b'{"torn": ')

    def full(fd, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(UserError, match="No space left on device"):
        run_file.Writer(path)


def test_a_long_name_is_cut_in_an_error():
    assert len(unknown_name("key", "x" * 10_000, ["a"])) < 200


@pytest.mark.parametrize("path", ["a" * 5000 + ".mp4", "a\x00.mp4", "x/" * 3000 + "a.mp4"])
def test_a_path_that_can_be_no_file_is_refused(tmp_path, path):
    manifest = tmp_path / "train.csv"
    manifest.write_text(f"path,label,class,num_frames\n{path},0,a,8\n")
    with pytest.raises(ManifestError) as caught:
        read_manifest(manifest)
    assert len(str(caught.value)) < 500


RENDERED = {
    "schema_version": 1, "task": "temporal", "classes": ["a"], "size": 64, "frames": 16, "fps": 12,
    "seed": 0, "generator_version": 1, "counts": {"train": 1}, "digest": "d",
    "splits": {"train": "train.csv"}, "versions": {},
}  # fmt: skip
INDEXED = {
    "schema_version": 1, "name": "ssv2", "fold": 1, "videos": "/v", "no_flip": [], "classes": ["a"],
    "published_classes": 174, "counts": {"train": 1}, "bad": {}, "counted_by": "packets",
    "annotations_sha256": "s", "reader": {},
}  # fmt: skip


@pytest.mark.parametrize("name", ["../train.csv", "/etc/passwd", r"..\train.csv", r"C:\train.csv"])
def test_a_description_names_no_manifest_outside_its_folder(tmp_path, name):
    (tmp_path / "dataset.json").write_text(json.dumps(RENDERED))
    assert Dataset.read(tmp_path).splits == {"train": tmp_path / "train.csv"}
    (tmp_path / "dataset.json").write_text(json.dumps({**RENDERED, "splits": {"train": name}}))
    with pytest.raises(DataError, match="leaves the folder"):
        Dataset.read(tmp_path)
    (tmp_path / "index.json").write_text(json.dumps(INDEXED))
    assert Indexed.read(tmp_path).counts == {"train": 1}
    (tmp_path / "index.json").write_text(json.dumps({**INDEXED, "counts": {name: 1}}))
    with pytest.raises(DataError, match="leaves the folder"):
        Indexed.read(tmp_path)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07\x1b[2J", r"\x1b]0;title\x07\x1b[2J"),
        ("a\rb\x9b31m", r"a\rb\x9b31m"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("\udcff", r"\udcff"),
        ("one\n\ttwo ± é 動", "one\n\ttwo ± é 動"),
    ],
)
def test_what_a_terminal_would_obey_is_spelled_out(text, shown, capsys):
    assert visible(text) == shown
    say(text)
    assert capsys.readouterr().out == f"{shown}\n"
    assert "\x1b" not in escaped(text)


@pytest.mark.slow
def test_the_command_line_shows_a_hostile_name_as_text_on_one_line(tmp_path):
    path = tmp_path / "evil\x1b[2J\n[red]x.toml"
    path.write_text("name = 1")
    code = "import sys; from pks4.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "plan", path], capture_output=True)
    assert done.returncode == 2
    assert b"\x1b" not in done.stderr
    assert rb"evil\x1b[2J\n[red]x.toml" in done.stderr
    assert done.stderr.count(b"\n") == 1
