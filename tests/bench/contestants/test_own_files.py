"""Users' files as models: any name of a file or folder, and what they import from their folder."""

import sys

import pytest

from pks4.bench.contestants import catalogue
from pks4.bench.contestants.build import build
from pks4.errors import UserError

MODEL = '''"""Mean pixel (2D floor): a linear layer on the mean colour of a clip."""
from torch import nn
from {helper} import head


class MeanPixel(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.head = head(num_classes)

    def forward(self, video):
        return self.head(video.mean((1, 3, 4)))


def build(*, frames, num_classes, image_size=224):
    return MeanPixel(num_classes)
'''


@pytest.fixture(autouse=True)
def nothing_added(monkeypatch):
    """Neither models nor folders of an earlier test."""
    monkeypatch.setenv(catalogue.ADDED, "")
    monkeypatch.setattr(sys, "path", [*sys.path])


def written(folder, name="mine.py", helper="own_part", start=""):
    """A model that imports a file of its folder."""
    folder.mkdir(exist_ok=True)
    (folder / f"{helper}.py").write_text("from torch import nn\nhead = lambda n: nn.Linear(3, n)\n")
    (folder / name).write_text(start + MODEL.format(helper=helper), encoding="utf-8")
    return folder / name


@pytest.mark.parametrize(
    ("folder", "name", "label"),
    [
        ("a:colon", "mine.py", "mine"),
        ("a space", "my model.py", "my_model"),
        ("Straße", "größe é.py", "gr_e_"),
        ("[x]", "-dash.py", "dash"),
        ("_under", "_own.py", "own"),
    ],
)
def test_any_name_of_a_file_gives_a_label(tmp_path, folder, name, label):
    helper = f"part_of_{label}"
    entry = catalogue.add_model(written(tmp_path / folder, name, helper))
    assert entry.name == label
    assert catalogue.models()[label].path == tmp_path / folder / name
    assert build(entry, {}, frames=2, num_classes=5).head.out_features == 5


def test_a_byte_order_mark_is_no_part_of_the_code(tmp_path):
    path = written(tmp_path / "bom", helper="bom_part", start="\ufeff")
    entry = catalogue.add_model(path)
    assert entry.summary.startswith("Mean pixel")
    assert build(entry, {}, frames=2, num_classes=5).head.out_features == 5


def test_a_link_keeps_its_name_and_its_targets_neighbours(tmp_path):
    link = tmp_path / "other.py"
    link.symlink_to(written(tmp_path / "target", helper="linked_part"))
    entry = catalogue.add_model(link)
    assert entry.name == "other"
    assert build(entry, {}, frames=2, num_classes=5).head.out_features == 5


def test_two_neighbours_of_one_name_are_not_mixed_up(tmp_path):
    first, second = (written(tmp_path / n, f"{n}.py", "same_part") for n in ("first", "second"))
    catalogue.add_model(first).load()
    with pytest.raises(UserError, match=r"second\.py: imports 'same_part' from its folder, but"):
        catalogue.add_model(second).load()


@pytest.mark.parametrize(
    ("name", "words"),
    [("é.py", "no letter a-z and no digit; rename"), ("tsm.py", "rename the file")],
)
def test_a_name_that_gives_no_label_is_refused(tmp_path, name, words):
    with pytest.raises(UserError, match=words):
        catalogue.add_model(written(tmp_path, name, "unused_part"))
