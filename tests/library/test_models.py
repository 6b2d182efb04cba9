"""Contestants by name, and models of one's own beside them."""

import sys
from importlib.metadata import EntryPoint

import pytest
import torch
from torch import nn

import pks4
from pks4.bench.contestants import catalogue, own
from pks4.bench.plan.user_inputs import UserInputs
from pks4.errors import UserError

OWN = '''
"""A file with a model in it."""

from torch import nn

import pks4


@pks4.register_model
class Colours(nn.Module):
    """Colours (own): the mean pixel."""

    def __init__(self, num_classes, bias=True):
        super().__init__()
        self.head = nn.Linear(3, num_classes, bias)

    def forward(self, video):
        return self.head(video.mean((1, 3, 4)))
'''


@pytest.fixture(autouse=True)
def _own_catalogue(monkeypatch):
    """What a test registers goes with it."""
    monkeypatch.setenv(own.OWN, "")
    monkeypatch.setattr(own, "_only_here", {})


def test_models_are_listed_by_a_pattern():
    assert pks4.list_models("*mamba*") == ["time_mamba", "video_mamba", "video_mamba_pro"]
    assert set(pks4.list_models()) == catalogue.models().keys()


def test_a_model_by_name_has_weights_by_its_seed_and_leaves_random_numbers_alone():
    words = {"frames": 2, "num_classes": 5, "scale": "tiny"}
    chance = torch.get_rng_state()
    first, again, other = (pks4.create_model("st_adapter", **words, seed=s) for s in (0, 0, 1))
    assert torch.get_rng_state().equal(chance)
    assert first(torch.zeros(1, 2, 3, 64, 64)).shape == (1, 5)
    weights = [m.fc.weight for m in (first, again, other)]
    assert weights[0].equal(weights[1])
    assert not weights[0].equal(weights[2])


@pytest.mark.parametrize(
    ("name", "words", "line"),
    [
        ("st_adaptor", {}, "unknown model 'st_adaptor'; did you mean 'st_adapter'"),
        ("st_adapter", {"scale": "big"}, "unknown scale 'big'"),
        ("st_adapter", {"widht": 96}, "unknown option 'widht'; did you mean 'width'"),
        ("st_adapter", {"scale": "tiny", "image_size": 63}, "63 is not a multiple"),
    ],
)
def test_what_a_model_does_not_know_is_one_line(name, words, line):
    with pytest.raises(UserError, match=line):
        pks4.create_model(name, **words)


def test_a_model_of_a_file_is_found_by_its_name_and_its_file_is_hashed(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    entry = catalogue.add_model(path)
    assert (entry.name, entry.summary) == ("Colours", "Colours (own): the mean pixel.")
    assert pks4.create_model("Colours", num_classes=7, bias=False).head.bias is None
    assert [*UserInputs().with_hashes().hashes] == ["model mine.py:Colours"]
    with pytest.raises(UserError, match=r"model 'Colours': .*unexpected keyword argument 'width'"):
        pks4.create_model("Colours", width=3)


def test_a_file_in_a_package_is_imported_as_part_of_it(tmp_path, monkeypatch):
    package = tmp_path / "nets_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "parts.py").write_text("WIDTH = 3\n")
    (package / "mine.py").write_text(f"from nets_of_a_test.parts import WIDTH\n{OWN}")
    monkeypatch.setattr(sys, "path", [*sys.path])
    catalogue.add_model(package / "mine.py")
    assert pks4.create_model("Colours").__module__ == "nets_of_a_test.mine"


def test_a_package_offers_a_model_by_an_entry_point(tmp_path, monkeypatch):
    (tmp_path / "offered_by_a_test.py").write_text(OWN.replace("Colours", "Offered"))
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("offered", "offered_by_a_test:Offered", "pks4.models")
    monkeypatch.setattr(catalogue, "entry_points", lambda group: [point])
    assert catalogue.models()["offered"].summary == "Offered (own): the mean pixel."
    assert pks4.create_model("offered", num_classes=3).head.out_features == 3


def test_a_model_without_a_file_is_known_here_alone():
    @pks4.register_model
    class Notebook(nn.Module):
        """Notebook (own): nothing."""

        def __init__(self, num_classes):
            super().__init__()
            self.head = nn.Linear(3, num_classes)

    assert pks4.list_models("Note*") == ["Notebook"]
    assert pks4.create_model("Notebook", num_classes=2).head.out_features == 2
    with pytest.raises(UserError, match="Notebook is in no file that a process can import"):
        pks4.run("smoke", models=[Notebook])


@pytest.mark.parametrize("maker", [lambda: 0, 3, (x for x in "ab")])
def test_what_has_no_name_is_not_registered(maker):
    with pytest.raises(UserError, match="no class or function with a name"):
        pks4.register_model(maker)


def test_a_name_that_is_taken_is_refused():
    def tsm(num_classes):
        return nn.Linear(3, num_classes)

    with pytest.raises(UserError, match="there is a model 'tsm' already"):
        pks4.register_model(tsm)


def test_what_makes_no_model_is_told_when_it_is_made():
    def number(num_classes):
        return num_classes

    pks4.register_model(number)
    with pytest.raises(UserError, match=r"number makes a int, not an nn.Module"):
        pks4.create_model("number")
