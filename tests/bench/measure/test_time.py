"""Times: interleaved with a reference in several fresh processes, raw samples kept."""

import pytest

from pks4.bench.contestants import catalogue
from pks4.bench.measure import time
from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.plan.cell import Cell

pytestmark = pytest.mark.slow

TINY = {"width": 24, "depth": 1, "heads": 3, "patch_size": 16, "image_size": 64}
QUICK = {**time.SETTINGS, "processes": 2, "rounds": 3, "sample_ms": 1, "warm_ups": 1}


def inputs(progress=lambda *_: None, **settings):
    """A tiny frame mean against the tiny reference."""
    cell = Cell(
        id="cell", grid="grid", label="floor", title="Floor", model="frame_mean", family="",
        scale="tiny", frames=2, batch=1, num_classes=5, task=None,
        options={**catalogue.models()["frame_mean"].facts["SCALES"]["tiny"], **TINY},
        measures=["time"], settings={}, time_limit_seconds=60, alone=True,
    )  # fmt: skip
    return MeasureInput(cell, {**QUICK, **settings}, progress)


@pytest.fixture(scope="module")
def readings():
    """What the measure says, and the progress that it told."""
    told = []
    found = list(time.measure(inputs(lambda done, total, text: told.append((done, total, text)))))
    return {r.metric: r for r in found}, told


def test_every_operation_has_seconds_and_a_ratio_with_its_evidence(readings):
    found, _ = readings
    assert set(found) == {"forward_seconds", "forward_ratio", "step_seconds", "step_ratio"}
    for reading in found.values():
        assert reading.kind == "noisy"
        assert reading.evidence["processes"] == 2
        assert reading.evidence["kernel"] == "flash_cpu"
        assert reading.evidence["threads"] == 1


def test_raw_samples_of_all_processes_are_kept_wall_and_cpu(readings):
    found, _ = readings
    for operation in ("forward", "step"):
        seconds = found[f"{operation}_seconds"].detail
        ratio = found[f"{operation}_ratio"].detail
        assert seconds["rounds_by_process"] == [3, 3]
        for samples in (
            seconds["samples_seconds"],
            seconds["cpu_seconds"],
            ratio["reference_seconds"],
            ratio["again_seconds"],
        ):
            assert len(samples) == 6
            assert all(s > 0 for s in samples)
        low, high = ratio["interval"]
        assert low <= found[f"{operation}_ratio"].value <= high


def test_progress_counts_the_rounds_of_all_processes(readings):
    _, told = readings
    assert [done for done, _, _ in told] == list(range(1, 13))
    assert {total for _, total, _ in told} == {12}


def test_a_session_that_fails_says_why():
    with pytest.raises(RuntimeError, match=r"a process of the session failed: .*frame_men"):
        list(time.measure(inputs(reference="frame_men", processes=1)))
