"""What fits: the most frames and clips, found in few steps, and each answer a simulated step."""

import pytest

from pks4.bench.budget import fit
from pks4.bench.budget.fit import Question, answer
from pks4.bench.plan.suite import Contestant
from pks4.bench.units import bytes_of
from pks4.errors import UserError
from pks4.simulate.what_fits import CLIP_FRAMES, RESERVE, largest

MIB = 2**20
MOST = 1 << 14


def counted(function):
    """The function, and the list of what it was asked."""
    asked = []

    def ask(k):
        asked.append(k)
        return function(k)

    return ask, asked


@pytest.mark.parametrize("slope", [1, 3, 7])
@pytest.mark.parametrize("step", [1, 2])
def test_an_affine_peak_takes_four_calls(slope, step):
    peak, asked = counted(lambda k: 100 + slope * k)
    best = largest(peak, 1000, MOST, step)
    assert best % step == 0
    assert peak(best) <= 1000 < peak(best + step)
    assert len(asked) - 2 <= 4


@pytest.mark.parametrize(
    "peak",
    [lambda k: k * k, lambda k: 50 * (k // 16) + k, lambda k: 2**k, lambda k: int(k**0.5)],
)
@pytest.mark.parametrize("limit", [1, 10, 60, 1000])
def test_any_peak_that_does_not_fall_is_solved(peak, limit):
    most = 1 << 12  # a peak that stays level is searched one by one
    best = largest(peak, limit, most)
    assert best == 0 or peak(best) <= limit
    assert best == most or peak(best + 1) > limit


@pytest.mark.parametrize("slope", [1, 3, 7])
def test_a_convex_peak_needs_no_call_beyond_the_answer(slope):
    peak, asked = counted(lambda k: 100 + slope * k + k * k // 50)
    best = largest(peak, 3000, MOST, convex_from=1)
    assert peak(best) <= 3000 < peak(best + 1)
    affine, asked = counted(lambda k: 100 + slope * k)
    best = largest(affine, 1000, MOST, convex_from=1)
    assert len(asked) <= 3
    assert affine(best) <= 1000 < affine(best + 1)


def test_with_a_known_point_and_the_right_guess_one_call_is_enough():
    peak, asked = counted(lambda k: 100 + 3 * k)
    assert largest(peak, 1000, MOST, known={1: 103}, guess=300, convex_from=1) == 300
    assert asked == [300]


def test_what_is_known_not_to_fit_is_not_asked_again():
    peak, asked = counted(lambda k: 100 + 3 * k)
    assert largest(peak, 50, MOST, known={1: 103}) == 0
    assert asked == []


def test_below_the_convex_part_every_answer_is_asked_for():
    """A peak that grows by 100 up to 64 and by 1 from there on."""
    bent, _ = counted(lambda k: 100 * min(k, 64) + k)
    for limit in (1000, 6000, 7000):
        best = largest(bent, limit, MOST, convex_from=64)
        assert bent(best) <= limit < bent(best + 1)


def test_nothing_fits_and_everything_fits():
    assert largest(lambda k: 10, 5, MOST) == 0
    assert largest(lambda k: 10, 50, MOST) == MOST


def question(memory, **more):
    """PKS4 in a small memory, from the paper-scale facts made tiny by its options."""
    tiny = {"width": 96, "depth": 2, "heads": 3, "image_size": 64, "state": 4, **more}
    contestant = Contestant(label="ours", title="Ours", model="pks4", options=tiny)
    return Question(contestant, "cuda-bf16", "", memory, 1)


@pytest.fixture(scope="module")
def large():
    """What fits in 64 MiB."""
    return answer(question(64 * MIB))


@pytest.mark.slow
def test_the_answer_fits_and_one_more_does_not(large):
    asked, found = question(64 * MIB), large
    room = 64 * MIB * (1 - RESERVE)
    assert fit.simulate(asked, found.frames, 1)[0].peak <= room
    assert fit.simulate(asked, found.frames + 1, 1)[0].peak > room
    assert fit.simulate(asked, CLIP_FRAMES, found.clips)[0].peak <= room
    assert fit.simulate(asked, CLIP_FRAMES, found.clips + 1)[0].peak > room
    assert sum(found.parts.values()) == found.peak
    assert (found.kernel, found.scan_backend) == ("flash", "mamba_ssm")


@pytest.mark.slow
def test_more_memory_fits_more_and_a_tuned_backbone_less(large):
    assert 0 < answer(question(32 * MIB)).frames < large.frames
    assert answer(question(64 * MIB, frozen=False)).frames < large.frames


@pytest.mark.parametrize(
    ("text", "size"),
    [("24GB", 24 * 2**30), ("24 GiB", 24 * 2**30), ("512mb", 512 * MIB), ("8e9", 8_000_000_000)],
)
def test_memory_is_read_as_people_write_it(text, size):
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "lots", "24XB", "nan", "inf", "24", "1KB"])
def test_what_is_no_memory_is_refused_in_one_line(text):
    with pytest.raises(UserError, match=r"^'.*' is no amount of memory.*; say 24GB"):
        bytes_of(text)
