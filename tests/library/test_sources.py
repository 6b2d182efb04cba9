"""Models by a text: a file's, timm's, transformers' and contestants, and inputs as written."""

import pytest
import torch
from torch import nn

from pks4.errors import UserError
from pks4.library.sources import guessed_inputs, load, model_and_inputs, parsed_inputs

FILE = '''
"""Three ways to offer a model, and some that are none."""

from torch import nn


class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.layer = nn.Linear(3, width)

    def forward(self, x):
        return self.layer(x)


class Needs(Net):
    def __init__(self, width, *, depth):
        super().__init__(width)


def small():
    return Net(2)


def build(*, frames, num_classes, image_size=8):
    return Net(num_classes)


def several():
    yield Net()


ready = Net(5)
short = lambda: Net(6)
number = 3
'''


@pytest.fixture
def file(tmp_path):
    """The user's file."""
    path = tmp_path / "nets.py"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize(
    ("name", "width"), [("Net", 4), ("small", 2), ("build", 400), ("ready", 5), ("short", 6)]
)
def test_a_file_offers_a_class_a_function_or_a_model(file, name, width):
    model, inputs = model_and_inputs(f"{file}:{name}", None)
    assert model.layer.weight.shape == (width, 3)
    assert inputs == (1, 3)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (":Nett", "unknown model 'Nett'; did you mean 'Net'"),
        ("", "name its model, .*nets.py:NAME; there are: Net, Needs, small, build, several, ready"),
        (":Needs", "Needs needs width, depth; name a function without arguments"),
        (":several", "several gives a generator, not an nn.Module"),
        (":number", "number is of type int, not an nn.Module"),
    ],
)
def test_what_offers_none_is_one_line(file, name, line):
    with pytest.raises(UserError, match=line):
        load(f"{file}{name}")


def test_a_file_that_is_missing_or_broken_is_named(tmp_path):
    with pytest.raises(UserError, match="is no Python file"):
        load(f"{tmp_path}/none.py:Net")
    (tmp_path / "broken.py").write_text("import nothing_of_this_name")
    with pytest.raises(UserError, match=r"broken.py: cannot be imported: ModuleNotFoundError"):
        load(f"{tmp_path}/broken.py:Net")


def test_timm_by_name_with_its_own_size():
    model, inputs = load("timm:vit_tiny_patch16_384")
    assert inputs == (1, 3, 384, 384)
    assert model.patch_embed.proj.weight.device.type == "meta"
    with pytest.raises(UserError, match="unknown timm model 'vit_tiny'; the nearest: vit_tiny_p"):
        load("timm:vit_tiny")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("VideoMAEForVideoClassification", {"pixel_values": (1, 16, 3, 224, 224)}),
        ("ViTForImageClassification", {"pixel_values": (1, 3, 224, 224)}),
        ("BertForSequenceClassification", {"input_ids": (1, 512)}),
        ("T5Model", {"input_ids": (1, 512), "decoder_input_ids": (1, 512)}),
    ],
)
def test_transformers_by_class_with_inputs_by_its_configuration(name, inputs):
    model, found = load(f"hf:{name}")
    assert type(model).__name__ == name
    assert {k: tuple(getattr(x, "shape", x)) for k, x in found.items()} == inputs
    assert {p.device.type for p in model.parameters()} == {"meta"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("AutoModel", "unknown transformers model|no configuration"),
        ("VideoMAE", "the nearest: Vid"),
    ],
)
def test_what_transformers_does_not_have_is_told(name, line):
    with pytest.raises(UserError, match=line):
        load(f"hf:{name}")


def test_a_contestant_by_name_at_paper_scale():
    _, inputs = load("frame_mean")
    assert inputs == (1, 16, 3, 224, 224)


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (nn.Conv2d(4, 1, 1), (1, 4, 224, 224)),
        (nn.Conv3d(3, 1, 1), (1, 3, 16, 224, 224)),
        (nn.Linear(7, 1), (1, 7)),
    ],
)
def test_inputs_by_the_first_layer(layer, inputs):
    assert guessed_inputs(nn.Sequential(nn.Identity(), layer)) == inputs
    with pytest.raises(UserError, match="add --input SHAPE"):
        guessed_inputs(nn.Identity())


def test_inputs_as_they_are_written():
    (one,) = parsed_inputs(["2x3"])
    assert (one.shape, one.dtype) == ((2, 3), torch.float32)
    named = parsed_inputs(["ids=1x8:int64", "image=1,3,4,4"])
    assert {n: (tuple(x.shape), x.dtype) for n, x in named.items()} == {
        "ids": ((1, 8), torch.int64),
        "image": ((1, 3, 4, 4), torch.float32),
    }


@pytest.mark.parametrize("texts", [["2y3"], ["a=2x3", "2x3"], ["2x3:int65"], ["x=-1x3"], [""]])
def test_what_is_no_shape_is_told(texts):
    with pytest.raises(UserError, match="--input"):
        parsed_inputs(texts)
