"""Shipped image models: small, whole, competent, under the name of their recipe, and enough."""

import pytest

from pks4.bench.contestants import catalogue
from pks4.bench.measure.parts.pretraining import pretrainings
from pks4.bench.plan.plan import plan
from pks4.bench.plan.suite import read_suite
from pks4.train.image_pretraining import Asked
from pks4.weights.image_files import SHIPPED, facts_of, read_image_model

FILES = sorted(SHIPPED.glob("*.safetensors"))
SUITES = ("quick", "accuracy", "convergence", "frames", "place", "priors", "schedule")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_image_model_is_whole_small_and_competent(path):
    facts = read_image_model(path).facts  # raises unless its weights are those that it states
    assert path.stat().st_size < 3e6
    assert facts["val_top1"] >= 0.95
    assert facts["val_images"] == 2000


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_its_name_is_that_of_its_recipe(path):
    key = facts_of(path)["key"]
    asked = Asked(**{k: v for k, v in key.items() if k not in ("version", "generator")})
    assert (asked.key, asked.file) == (key, path.name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_had_stopped_getting_better(path):
    curve = facts_of(path)["val_top1_by_epoch"]
    assert max(curve[-5:]) - min(curve[-5:]) < 0.01


@pytest.mark.parametrize("suite", SUITES)
def test_suites_start_from_shipped_image_models(suite):
    wanted = pretrainings(plan(read_suite(catalogue.suites()[suite])[0]))
    missing = {one.asked.model for one in wanted if not (SHIPPED / one.asked.file).exists()}
    assert not missing


def test_a_file_without_facts_states_none(tmp_path):
    (tmp_path / "other.safetensors").write_bytes(b"not a file of weights")
    assert facts_of(tmp_path / "other.safetensors") == {}
