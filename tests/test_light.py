"""What each public name may load, and what `import pks4` and `--help` may: each in a process."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import pks4
from pks4 import cli

HEAVY = {
    "accelerate", "av", "decord", "fvcore", "huggingface_hub", "jaxtyping", "jinja2", "joblib",
    "matplotlib", "numba", "numpy", "pandas", "pydantic", "rich", "safetensors", "scipy", "sklearn",
    "sympy", "timm", "torch", "torchcodec", "torchvision", "transformers", "typer",
}  # fmt: skip
TORCH = {"torch", "numpy", "jaxtyping", "sympy"}  # sympy: torch's own, where it makes fake tensors
# timm's own face imports its models and data, and these torchvision.
TIMM = TORCH | {"timm", "torchvision", "huggingface_hub", "safetensors"}
MAY_LOAD = {
    "PKS4 Options KinematicPriorEncoder scan_sites selective_scan": TORCH,
    "list_models create_model register_model": {"pydantic"},
    "load_official": {"torch", "numpy", "safetensors"},
    "count_macs simulate_step": TORCH | {"pydantic", "numba"},
    "what_fits": TORCH | {"pydantic", "numba"},
    "run read_run compare_runs": {"numpy", "pydantic", "scipy"},
    "plug_in": TIMM,
}


def loaded_by(code: str) -> set[str]:
    """The heavy packages that a process has after this code."""
    ends = f"import json, sys; print(json.dumps(sorted({HEAVY!r} & sys.modules.keys())))"
    words = [sys.executable, "-c", f"{code}\n{ends}"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_every_public_name_is_in_the_list():
    names = [name for names in MAY_LOAD for name in names.split()]
    assert sorted([*names, "__version__"]) == sorted(pks4.__all__)


def test_every_public_name_is_there_and_has_its_type():
    stub = ast.parse(Path(pks4.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    typed = {
        a.asname: n.module
        for n in stub.body
        if isinstance(n, ast.ImportFrom)
        for a in n.names
        if a.name == a.asname
    }
    assert typed == pks4._LAZY
    assert set(pks4.__all__) <= set(dir(pks4))
    with pytest.raises(AttributeError, match="no attribute 'PKS5'"):
        _ = pks4.PKS5


def test_pks4_itself_and_help_load_nothing_heavy():
    code = (
        "import sys, pks4\nfrom pks4.cli import app\ntry: app(['--help'])\nexcept SystemExit: pass"
    )
    quiet = (
        f"import io, contextlib\nwith contextlib.redirect_stdout(io.StringIO()):\n exec({code!r})"
    )
    assert loaded_by("import pks4") == set()
    assert loaded_by(quiet) <= {"typer", "rich"}


@pytest.mark.slow
@pytest.mark.parametrize("names", MAY_LOAD)
def test_a_public_name_loads_no_more_than_its_list(names):
    assert loaded_by(f"from pks4 import {', '.join(names.split())}") <= MAY_LOAD[names]


def test_what_help_says_of_a_command_is_what_the_command_says():
    for name, listed in cli._Listed().items():
        assert listed.help == cli._Loaded()[name].help, name


def test_what_was_loaded_is_found():
    assert loaded_by("import pydantic") == {"pydantic"}
