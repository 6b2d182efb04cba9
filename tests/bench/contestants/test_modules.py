"""A module of the user's own: found by its class, and held to the contract before anything runs."""

import pytest

from pks4.bench.contestants import catalogue, modules
from pks4.errors import UserError

HEAD = "import torch\nfrom torch import nn\n\n\n"
GATED = '''
class {name}(nn.Module):
    """A gated linear layer."""

    def __init__(self, dim, bias=True):
        super().__init__()
        self.mix = nn.Linear(dim, dim, bias)
        self.gate = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        return {forward}
'''
SILENT = "x + self.gate * self.mix(x)"
STREAM = """
    def initial_state(self, b, h, w):
        {initial}

    def step(self, x, state):
        {step}
"""
NO_STATE, SAME = "return None", "return self.forward(x), state"


def gated(forward=SILENT, name="Mix"):
    """The text of a module whose forward returns this."""
    return GATED.format(name=name, forward=forward)


def streaming(forward=SILENT, step=SAME, initial=NO_STATE):
    """The text of a module that streams by this."""
    return gated(forward) + STREAM.format(initial=initial, step=step)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """A function that writes a user's file; what is added to the catalogue goes with the test."""
    monkeypatch.setenv(catalogue.MODULES, "")

    def written(text, name="mine.py"):
        path = tmp_path / name
        path.write_text(HEAD + text)
        return path

    return written


def test_the_only_public_module_needs_no_name(write):
    path = write(gated() + gated(name="_Helper") + "\n\ndef build():\n    return nn.Linear\n")
    entry = modules.add(str(path))
    assert (entry.name, entry.path, entry.module) == ("Mix", path, "Mix")
    assert catalogue.added_modules() == [(path, "Mix")]
    assert modules.is_identity(entry)


def test_one_of_several_is_named(write):
    path = write(gated() + gated(name="Other"))
    assert modules.add(f"{path}:Other").name == "Other"
    assert modules.add(f"{path}:Mix").name == "Mix"


def test_it_has_the_place_of_pks4_and_no_option_of_pks4_alone(write):
    entry, ours = modules.add(str(write(gated()))), catalogue.models()["pks4"]
    assert entry.facts["IMAGE_TWIN"] == ours.facts["IMAGE_TWIN"] == "frame_mean"
    for scale in ("paper", "tiny"):
        sizes = entry.facts["SCALES"][scale]
        assert sizes.items() <= ours.facts["SCALES"][scale].items()
        assert sizes["insert_after"] == "middle"
    assert entry.defaults["frozen"] is True
    assert {"width", "insert_after", "checkpoint"} < {*entry.options}
    assert not {"state", "radius", "modulate"} & {*entry.options, *entry.facts["SCALES"]["tiny"]}


@pytest.mark.parametrize(
    ("text", "name", "line"),
    [
        ("x = 1\n", "", "has no public nn.Module; name one"),
        (gated() + gated(name="Other"), "", "has several modules: Mix, Other; name one"),
        (gated(), ":Mux", "unknown module 'Mux'; did you mean 'Mix'"),
        (gated(), ":x", "unknown module 'x'"),
        (gated(name="frame_mean"), "", "there is a model 'frame_mean' already; rename the class"),
        ("import nowhere_at_all\n", "", "cannot be imported: ModuleNotFoundError"),
        ("class Mix(nn.Module:\n", "", "cannot be imported: SyntaxError"),
    ],
)
def test_a_file_without_the_module_is_refused_in_one_line(write, text, name, line):
    path = write(text)
    with pytest.raises(UserError) as wrong:
        modules.add(f"{path}{name}")
    assert str(wrong.value).startswith(f"{path}: {line}")
    assert "\n" not in str(wrong.value)


@pytest.mark.parametrize("text", ["none.py", "none.py:Mix", "mine.txt", "folder:Mix", ""])
def test_what_is_no_python_file_is_refused(text):
    with pytest.raises(UserError, match="is no Python file with a module"):
        modules.add(text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (gated().replace("bias=True", "heads"), r"Mix\(96\), made from a channel count alone: T"),
        (gated("nn.Linear(3, 3)(x)"), r"Mix on features \(2, 1, 8, 8, 96\): RuntimeError"),
        (gated("x * torch.ones(1, 4, 1, 1, 1)"),
         r"as it takes them, \(2, 1, 8, 8, 96\) .*; gave \(2, 4,"),
        (gated("x[..., :-1, :]"), "must give features as it takes them"),
        (gated("x.double()"), r"torch.float32; gave \(2, 1, 8, 8, 96\) torch.float64"),
        (gated("(x, None)"), "gave tuple"),
        (gated("x.mul_(2)"), "changes the features that it is given in place"),
        ("class Mix(nn.Identity):\n    def __init__(self, dim):\n        super().__init__()\n",
         "has no parameters"),
        (streaming("x + self.gate * self.mix(x.flip(1))"), "has step, but looks into the future"),
        (streaming("x + self.gate * self.mix(x).mean(1, keepdim=True)"), "looks into the future"),
        (streaming(step="return x + self.mix(x), state"), "differ at frame 1"),
        (streaming("x + self.gate * x.cumsum(1)", "return x + self.gate * x, state"),
         "differ at frame 2"),
        (streaming(step="return self.forward(x)[:1], state"), "differ at frame 1"),
        (streaming(step="return x.missing"), "step at frame 1: AttributeError"),
        (streaming().replace("initial_state", "first"), "initial_state.*AttributeError"),
    ],
)  # fmt: skip
def test_a_module_that_breaks_the_contract_is_refused_in_one_line(write, text, line):
    path = write(text)
    entry = modules.add(str(path))
    with pytest.raises(UserError, match=line) as wrong:
        modules.is_identity(entry)
    assert str(wrong.value).startswith(f"{path}: Mix")
    assert "\n" not in str(wrong.value)


@pytest.mark.parametrize(
    "text", [streaming(), streaming("x + self.gate * x.mean(1, True)", initial="raise ValueError")]
)
def test_a_module_streams_or_says_by_a_value_error_that_it_cannot(write, text):
    assert modules.is_identity(modules.add(str(write(text))))


def test_one_that_changes_the_features_at_the_start_is_told(write):
    entry = modules.add(str(write(gated("self.mix(x)"))))
    assert not modules.is_identity(entry)
    assert "Mix is not the identity at the start" in modules.note(entry)
    assert modules.facts(entry)["identity_at_start"] is False
