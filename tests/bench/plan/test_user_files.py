"""The user's files are known by their content, with what a Python file imports from its folder."""

import pytest

from pks4.bench.contestants import catalogue
from pks4.bench.plan import user_files
from pks4.bench.plan.user_inputs import UserInputs


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A model's file that imports modules and a package next to it."""
    monkeypatch.setenv(catalogue.ADDED, "")
    monkeypatch.setenv(catalogue.MODULES, "")
    files = {
        "mine.py": "import torch, parts.heads\nfrom helper import f\nfrom parts import tails\n",
        "helper.py": "import deeper\n",
        "deeper.py": "import mine  # in a circle\n",
        "unused.py": "",
        "torch.txt": "",
        "parts/__init__.py": "",
        "parts/heads.py": "from . import shared\nfrom .blocks.one import g\nfrom .... import far\n",
        "parts/tails.py": "from .shared import h\nfrom ..deeper import i\n",
        "parts/shared.py": "broken(",
        "parts/other.py": "",
        "parts/blocks/__init__.py": "",
        "parts/blocks/one.py": "g = 1\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8-sig")  # as some editors of Windows write it
    return tmp_path


def test_modules_and_packages_of_the_folder_are_found_through_one_another(folder):
    found = user_files.imported_from_folder(folder / "mine.py")
    assert [path.relative_to(folder).as_posix() for path in found] == [
        "deeper.py", "helper.py", "parts/__init__.py", "parts/blocks/__init__.py",
        "parts/blocks/one.py", "parts/heads.py", "parts/shared.py", "parts/tails.py",
    ]  # fmt: skip


@pytest.mark.parametrize("option", ["--model mine.py", "--module mine.py:Mine"])
@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("mine.py", "{}"),
        ("deeper.py", "{}, its module deeper.py"),
        ("parts/blocks/one.py", "{}, its module parts/blocks/one.py"),
        ("unused.py", None),
    ],
)
def test_a_change_in_any_of_them_is_named(folder, option, file, name):
    if option.startswith("--model "):
        catalogue.os.environ[catalogue.ADDED] = str(folder / "mine.py")
    else:
        catalogue.add_module(folder / "mine.py", "Mine")
    begun = UserInputs().with_hashes()
    assert begun.changed_file() is None
    (folder / file).write_text("x = 2\n")
    assert begun.changed_file() == (name and name.format(option))


def test_a_change_of_a_manifest_is_a_change_of_the_data(tmp_path):
    for name in ("index.json", "train.csv", "test.csv", "bad.csv"):
        (tmp_path / name).write_text(name)
    begun = UserInputs(data=tmp_path).with_hashes()
    (tmp_path / "bad.csv").write_text("what is left out is no part of the data")
    assert begun.changed_file() is None
    (tmp_path / "train.csv").write_text("another clip")
    assert begun.changed_file() == "--data, its train.csv"


def test_a_run_from_before_manifests_were_hashed_is_held_to_what_it_keeps(tmp_path):
    (tmp_path / "index.json").write_text("1")
    begun = UserInputs(data=tmp_path).with_hashes()
    (tmp_path / "train.csv").write_text("written since")
    assert begun.changed_file() is None


def test_weights_that_are_gone_are_another_file(tmp_path):
    (tmp_path / "vit.pth").write_bytes(b"1")
    begun = UserInputs(weights={"frame_mean": tmp_path / "vit.pth"}).with_hashes()
    (tmp_path / "vit.pth").unlink()
    assert begun.changed_file() == "--weights frame_mean"
