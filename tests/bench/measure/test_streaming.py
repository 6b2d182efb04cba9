"""Streaming: what a causal PKS4 gives, and that a stream which is wrong or grows is found out."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pks4.bench.measure import streaming
from pks4.bench.measure.parts.input import MeasureInput
from pks4.bench.plan.cell import Cell
from pks4.errors import UserError
from pks4.mixers import MIXERS
from pks4.simulate.operators import LiveBytes

VIT = {"width": 24, "depth": 2, "heads": 3, "patch_size": 16, "image_size": 32}
SHORT = {"frames_total": 120, "rounds": 5, "calls": 1}


def inputs(model="pks4", frames=5, settings=SHORT, **options):
    cell = Cell(
        id="cell", grid="grid", label=model, title=model, model=model, family="", scale="tiny",
        frames=frames, batch=1, num_classes=5, task=None, options={**VIT, **options},
        measures=[], settings={}, time_limit_seconds=60, alone=True,
    )  # fmt: skip
    return MeasureInput(cell, settings)


class Counter(nn.Module):
    """Sums frames, each `fades` as the next comes; `keeps` its states; `off` in the stream."""

    def __init__(self, off=0.0, keeps=False, fades=0.5):
        super().__init__()
        self.off, self.keeps, self.kept, self.fades = off, keeps, [], fades

    def initial_state(self, b):
        return torch.zeros(b, 3)

    def forward(self, video):
        state = self.initial_state(len(video))
        for frame in video.unbind(1):
            state = self.fades * state + frame.mean((2, 3))
        return state

    def step(self, frame, state):
        state = self.fades * state + frame.mean((2, 3))
        if self.keeps:
            self.kept.append(state)
        return state + self.off, state


def readings(model, **settings):
    fake = SimpleNamespace(
        build=lambda: model,
        clip=inputs().clip,
        cell=inputs().cell,
        settings=SHORT | settings,
        progress=lambda *_: None,
    )
    return {r.metric: r for r in streaming.measure(fake)}


@pytest.fixture(scope="module")
def pks4():
    return {r.metric: r for r in streaming.measure(inputs())}


def test_a_causal_module_equals_the_whole_clip_with_its_gate_open(pks4):
    found = pks4["streaming_deviation"]
    assert found.value <= 1e-5
    assert list(found.detail["by_frame"]) == ["1", "2", "3", "4", "5"]
    assert found.detail["played_backwards"] > 1e-3


def test_a_module_without_priors_streams_too():
    found = {r.metric: r.value for r in streaming.measure(inputs(modulate=[]))}
    assert found["streaming_bytes_per_frame"] == 0


@pytest.mark.parametrize("mixer", sorted(name for name, kind in MIXERS.items() if kind.causal))
def test_every_causal_mixer_streams_and_only_a_cache_grows(mixer):
    asked = inputs(mixer=mixer, expand=1.0, depth=1, settings=SHORT | {"frames_total": 20})
    found = {r.metric: r for r in streaming.measure(asked)}
    assert found["streaming_deviation"].value <= 1e-5
    added = found["streaming_bytes_per_frame"]
    cache = 2 * 4 * 24 * 4  # keys and values: sites, channels, bytes of a number
    grows = mixer == "causal_attention"
    assert added.value == (cache if grows else 0)
    assert added.detail["verdict"] == ("growing" if grows else "constant")


@pytest.mark.parametrize("mixer", sorted(name for name, kind in MIXERS.items() if not kind.causal))
def test_a_mixer_that_sees_later_frames_says_so_in_a_line(mixer):
    with pytest.raises(ValueError, match=f"^.*mixer='{mixer}' it depends on later frames.*$"):
        list(streaming.measure(inputs(mixer=mixer, expand=1.0, depth=1)))


def test_weights_that_start_at_zero_are_drawn():
    model = streaming._opened(inputs().build(), "pks4")
    assert model.temporal.gate.abs().min() > 0


def test_an_added_frame_takes_no_memory(pks4):
    assert pks4["streaming_bytes_per_frame"].value == 0


def test_the_states_bytes_are_those_of_its_tensors(pks4):
    model = inputs().build()
    state = model.initial_state(1)
    parts = [state.temporal.frames, state.temporal.mixer, *state.temporal.last_frame, state.total]
    wanted = sum(x.numel() * x.element_size() for x in parts)
    assert pks4["streaming_state_bytes"].value == wanted


def test_late_frames_are_held_against_early_ones(pks4):
    detail = pks4["streaming_late_ratio"].detail
    assert (detail["early_frame"], detail["late_frame"]) == (10, 120)
    assert detail["verdict"] in ("constant", "growing", "faster", "inconclusive", "void")
    assert list(pks4["streaming_frame_seconds"].detail["median_seconds_by_frame"]) == [
        "10", "100", "120",
    ]  # fmt: skip


def test_a_late_frame_has_a_p99_where_single_frames_enough_were_timed():
    found = readings(Counter(), rounds=300)
    p50, p99 = (found[f"streaming_frame_{m}seconds"] for m in ("", "p99_"))
    assert p50.value <= p99.value <= p99.detail["largest_seconds"]
    assert p99.detail["samples"] == 300
    assert "p99" not in p50.detail


@pytest.mark.parametrize(
    ("settings", "why"),
    [({"rounds": 299}, "299 rounds; at least 300"), ({"rounds": 300, "calls": 2}, "set calls = 1")],
)
def test_too_few_samples_give_no_p99_and_say_so(settings, why):
    found = readings(Counter(), **settings)
    assert "streaming_frame_p99_seconds" not in found
    assert why in found["streaming_frame_seconds"].detail["p99"]


def test_a_stream_that_gives_other_logits_fails_and_says_by_how_much():
    with pytest.raises(
        ValueError, match=r"differ from those of the whole clip by \d\.\d\de-0[123]"
    ):
        readings(Counter(off=1e-3))


def test_a_model_to_which_order_is_all_the_same_shows_nothing():
    with pytest.raises(ValueError, match="order of the frames makes no difference"):
        readings(Counter(fades=1.0))


def test_a_hidden_cache_is_counted():
    assert readings(Counter())["streaming_bytes_per_frame"].value == 0
    assert readings(Counter(keeps=True))["streaming_bytes_per_frame"].value == 3 * 4


def test_a_storage_that_c_alone_holds_is_counted():
    x = torch.ones(10, requires_grad=True)
    with LiveBytes() as live:
        y = x.exp().exp().sum()
        held = live.total()
        del y
        assert held == 2 * 40 + 4
        assert live.total() == 0


def test_who_takes_whole_clips_says_so():
    with pytest.raises(UserError, match="'frame_mean' takes whole clips"):
        list(streaming.measure(inputs("frame_mean")))


def test_who_looks_forward_says_so():
    with pytest.raises(ValueError, match="with direction='bidirectional' it depends on later"):
        list(streaming.measure(inputs(direction="bidirectional")))


def test_a_stream_that_is_too_short_to_be_early_and_late_is_refused():
    with pytest.raises(UserError, match="frames_total must be at least 20, got 10"):
        list(streaming.measure(inputs(settings={**SHORT, "frames_total": 10})))
