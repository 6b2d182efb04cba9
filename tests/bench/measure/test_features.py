"""Features of a cell's frozen part: with and without a cache the same numbers, and what ran."""

import shutil

import pytest

from pks4.bench.measure import accuracy
from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.plan.plan import plan
from pks4.bench.plan.suite import read_suite
from pks4.data.dataset import cache_root
from tests.factories.suites import SUITE
from tests.factories.trainings import LEARN, with_settings

pytestmark = pytest.mark.slow
OUTCOMES = ("top1", "final_train_loss", "val_top1_best", "training_macs")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A tiny training of PKS4 on a frozen backbone, scored after each epoch."""
    path = tmp_path_factory.mktemp("suite") / "learn.toml"
    path.write_text(SUITE.format(name="learn", more=LEARN))
    cell = plan(read_suite(path)[0])[-1]
    return with_settings(MeasureInput(cell, cell.settings["accuracy"]), curve=True)


@pytest.fixture(scope="module")
def cached(inputs):
    """Its readings, with the cache."""
    return measured(inputs)


def measured(inputs, **changes):
    """Readings of a training with these settings, by metric."""
    return {r.metric: r for r in accuracy.measure(with_settings(inputs, **changes))}


def facts(readings):
    """What a training came to."""
    found = {name: readings[name].value for name in OUTCOMES}
    return found | {
        "losses": readings["final_train_loss"].detail["losses"],
        "val": readings["val_top1_best"].detail["by_epoch"],
        "predicted": readings["top1"].detail["predicted"],
    }


def test_the_numbers_are_those_without_a_cache_to_the_bit(inputs, cached):
    computed = measured(inputs, feature_cache=False, decode_on_use=True, workers=1)
    assert facts(computed) == facts(cached)
    assert computed["top1"].evidence["features"] == ("computed each epoch: feature_cache is false")


def test_a_second_training_reads_what_the_first_computed(inputs, cached):
    again = measured(inputs)
    assert facts(again) == facts(cached)
    assert again["top1"].evidence["features"] == cached["top1"].evidence["features"]


def test_the_record_tells_what_was_cached_and_what_was_computed(inputs, cached):
    options = inputs.cell.options
    tokens = (options["image_size"] // options["patch_size"]) ** 2 + 1
    clips = sum(inputs.settings["clips"].values())
    size = clips * inputs.cell.frames * tokens * options["width"] * 4
    assert cached["training_seconds"].evidence["features"] == f"cached, {size} bytes"
    macs = cached["training_macs"]
    frozen = macs.value - macs.detail["macs_computed"]
    assert macs.value == macs.detail["macs_per_clip"] * 3 * 36
    assert 0 < frozen < macs.value * 2 / 3
    assert cached["training_seconds"].detail["features_seconds"] > 0


def test_under_augmentation_features_are_computed_in_each_epoch(inputs):
    """In several processes, too: test_ranks.py."""
    readings = measured(inputs, epochs=1, curve=False, jitter=0.1)
    assert readings["top1"].evidence["features"] == "computed each epoch: augmentation"
    macs = readings["training_macs"]
    assert macs.value == macs.detail["macs_computed"]


def test_without_room_the_numbers_stay(inputs, cached, monkeypatch):
    monkeypatch.setenv("PKS4_FEATURES_GIB", "0")
    shutil.rmtree(cache_root() / "features")
    readings = measured(inputs)
    assert facts(readings) == facts(cached)
    assert readings["top1"].evidence["features"] == (
        "train, val, test computed each epoch: no room, see PKS4_FEATURES_GIB"
    )
