"""The PKS4 module: identity at insertion, causal, independent sites, priors at work, streaming."""

import shutil

import pytest
import torch

from pks4.method.module import PKS4, Options
from tests.campaigns import compiled

DIRECTIONS = ["causal", "bidirectional", "halves"]
every_direction = pytest.mark.parametrize("direction", DIRECTIONS)


def awake(**options):
    """A module whose gate and modulation are not at their silent start."""
    torch.manual_seed(0)
    module = PKS4(16, expand=1.0, state=4, radius=1, **options)
    for p in module.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return module.eval()


def features(t=5, seed=1):
    """Random features (2, t, 3, 4, 16)."""
    return torch.randn(2, t, 3, 4, 16, generator=torch.Generator().manual_seed(seed))


def gradients(module, x):
    """Gradients of the squared output by x and by every parameter, in order."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(module(x).square().sum(), [x, *module.parameters()])


def stream(module, x):
    """The clips x frame after frame; also the last state."""
    state, out = module.initial_state(x.shape[0], *x.shape[2:4]), []
    for frame in x.unbind(1):
        y, state = module.step(frame, state)
        out.append(y)
    return torch.stack(out, 1), state


def sizes(state):
    """Shapes of the tensors of a state."""
    return [tuple(x.shape) for x in (state.frames, *state.last_frame, state.mixer)]


@every_direction
@pytest.mark.parametrize("t", [1, 5])
def test_at_insertion_it_is_the_identity_to_the_bit(direction, t):
    x = features(t)
    assert torch.equal(PKS4(16, direction=direction)(x), x)


def test_causal_the_future_changes_nothing():
    module, x = awake(), features()
    later = x.clone()
    later[:, 3:] += features(seed=2)[:, 3:]
    before, after = module(x), module(later)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 3:], after[:, 3:])


@pytest.mark.parametrize("direction", ["bidirectional", "halves"])
def test_both_other_directions_see_the_future(direction):
    module, x = awake(direction=direction), features()
    later = x.clone()
    later[:, 4] += features(seed=2)[:, 4]
    assert not torch.allclose(module(x)[:, 0], module(later)[:, 0])


def test_with_the_next_frame_as_reference_a_frame_sees_one_ahead_and_no_further():
    module, x = awake(reference_frame="next"), features()
    later = x.clone()
    later[:, 4] += features(seed=2)[:, 4]
    changed = (module(x) != module(later)).flatten(2).any(-1)[0]
    assert changed.tolist() == [False, False, False, True, True]


@pytest.mark.parametrize("direction", ["bidirectional", "halves"])
def test_a_backward_scanner_is_the_forward_one_on_the_clip_played_backwards(direction):
    module, priors = awake(direction=direction), torch.randn(2, 5, 12, 32)
    forward, backward = module.mixers
    backward.load_state_dict(forward.state_dict())
    u = torch.randn(2, 5, 12, forward.d)
    played = forward(u.flip(1), priors.flip(1)).flip(1)
    torch.testing.assert_close(backward(u, priors), played)


def test_halves_scans_each_half_of_the_channels_one_way():
    module, x = awake(direction="halves", modulate=()), features()
    assert [(f.d, f.reverse) for f in module.mixers] == [(8, False), (8, True)]
    with torch.no_grad():
        module.out_proj.weight[:, 8:] = 0  # read the first half only
    later = x.clone()
    later[:, 3:] += features(seed=2)[:, 3:]
    assert torch.equal(module(x)[:, :3], module(later)[:, :3])


@every_direction
def test_without_priors_sites_do_not_meet(direction):
    module, x = awake(modulate=(), direction=direction), features()
    moved = x.clone()
    moved[:, :, 1, 2] += features(seed=2)[:, :, 1, 2]
    changed = (module(x) != module(moved)).any(-1).any(1)  # (b, h, w)
    assert changed[:, 1, 2].all()
    assert changed.sum() == 2


@pytest.mark.parametrize("name", ["delta", "B", "C"])
@pytest.mark.parametrize("modulation", ["additive", "multiplicative"])
def test_each_modulation_changes_the_output(name, modulation):
    module, x = awake(modulate=(name,), modulation=modulation), features()
    before = module(x)
    torch.nn.init.zeros_(module.mixers[0].prior_proj[name].weight)
    assert not torch.allclose(before, module(x))


def test_without_modulation_no_prior_is_built():
    assert PKS4(16, modulate=()).prior is None
    assert PKS4(16, correlation=False, difference=False).prior is None


@every_direction
def test_backends_agree(direction):
    x = features()
    modules = [awake(scan_backend=b, direction=direction) for b in ("recompute", "reference")]
    torch.testing.assert_close(*(module(x) for module in modules))


@every_direction
def test_checkpointing_changes_no_gradient(direction):
    x = features()
    plain, again = (awake(checkpoint=c, direction=direction) for c in (False, True))
    for one, other in zip(gradients(plain, x), gradients(again, x), strict=True):
        assert torch.equal(one, other)


@every_direction
def test_gradients_reach_every_parameter(direction):
    module = awake(direction=direction).train()
    module(features()).square().sum().backward()
    assert [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modulate": ("deltas",)}, "modulate"),
        ({"modulate": "delta"}, "modulate must be a tuple"),
        ({"direction": "backward"}, "direction must be one of"),
        ({"modulation": "add"}, "modulation must be one of"),
        ({"readout": "argmax"}, "readout must be one of"),
        ({"reference_frame": "first"}, "reference_frame must be one of"),
        ({"smooth": "no"}, "smooth must be one of"),
        ({"state": 0}, "state must be a whole number, 1 or more, got 0"),
        ({"radius": 1.5}, "radius must be a whole number"),
        ({"rank": 0}, "rank must be a whole number"),
        ({"prior_channels": -1}, "prior_channels"),
        ({"expand": 0.0}, "expand must be more than 0"),
        ({"scan_backend": "recomputed"}, "did you mean 'recompute'"),
        ({"radios": 2}, "unknown option 'radios'; did you mean 'radius'"),
        ({"expand": 15 / 16, "direction": "halves"}, "needs an even width, got 15"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        PKS4(16, **options)


def test_options_are_given_in_one_way():
    assert PKS4(16, Options(state=3)).options == PKS4(16, state=3).options
    with pytest.raises(ValueError, match="not both"):
        PKS4(16, Options(), state=3)


def test_bad_shapes_are_named():
    with pytest.raises(ValueError, match=r"must be \(b, t, h, w, 16\)"):
        PKS4(16)(torch.zeros(2, 3, 4, 16))
    with pytest.raises(ValueError, match="t = 0"):
        PKS4(16)(torch.zeros(2, 0, 3, 4, 16))


@pytest.mark.parametrize("readout", ["soft_argmax", "squeeze"])
@pytest.mark.parametrize("modulation", ["additive", "multiplicative"])
@pytest.mark.parametrize("smooth", [True, False])
def test_frame_after_frame_gives_what_the_clip_gives(readout, modulation, smooth):
    module, x = awake(readout=readout, modulation=modulation, smooth=smooth), features(7)
    torch.testing.assert_close(stream(module, x)[0], module(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "options",
    [{"modulate": ()}, {"modulate": ("B",)}, {"correlation": False}, {"difference": False}],
)
def test_streaming_takes_every_part_away_that_the_module_lacks(options):
    module, x = awake(**options), features()
    torch.testing.assert_close(stream(module, x)[0], module(x), atol=1e-5, rtol=1e-5)


def test_the_state_of_a_stream_does_not_grow():
    module = awake()
    first, last = (stream(module, features(t))[1] for t in (1, 9))
    assert sizes(module.initial_state(2, 3, 4)) == sizes(first) == sizes(last)
    assert last.frames.tolist() == [9, 9]
    assert not last.mixer.requires_grad


@pytest.mark.parametrize(
    "options",
    [{"direction": "bidirectional"}, {"direction": "halves"}, {"reference_frame": "next"}],
)
def test_a_module_that_looks_forward_does_not_stream(options):
    (name,) = options
    with pytest.raises(ValueError, match=rf"{name}='\w+' it depends on later frames; build with"):
        awake(**options).initial_state(2, 3, 4)


def test_a_frame_that_does_not_fit_the_state_is_named():
    module = awake()
    state = module.initial_state(2, 3, 4)
    for shape in ((1, 3, 4, 16), (2, 3, 5, 16), (2, 3, 4, 8), (2, 1, 3, 4, 16)):
        with pytest.raises(ValueError, match=r"x must be \(2, h, w, 16\) with h \* w = 12"):
            module.step(torch.zeros(shape), state)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("direction", "checkpoint"), [("causal", False), ("bidirectional", True), ("halves", False)]
)
def test_it_compiles_as_one_graph(direction, checkpoint):
    torch._dynamo.reset()
    module, x = awake(direction=direction, checkpoint=checkpoint), features().requires_grad_()
    traced = torch.compile(module, backend="aot_eager", fullgraph=True)
    ys = traced(x), module(x)
    torch.testing.assert_close(*ys)
    leaves = [x, *module.parameters()]
    for one, other in zip(*(torch.autograd.grad(y.sin().sum(), leaves) for y in ys), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler here")
def test_under_the_real_compiler_it_gives_what_it_gives_without():
    """Once the compiler's code wrote beyond a buffer; the process died of a signal."""
    assert "wrong" not in compiled.tried("pks4/s6")


@pytest.mark.slow
def test_it_exports_for_any_number_of_clips_and_frames():
    module, (b, t) = awake(), (torch.export.Dim(name, min=3, max=99) for name in "bt")
    example = features(4).repeat(2, 1, 1, 1, 1)
    exported = torch.export.export(module, (example,), dynamic_shapes=({0: b, 1: t},)).module()
    for x in (example, features(7).repeat(3, 1, 1, 1, 1)):
        assert torch.equal(exported(x), module(x))


@every_direction
def test_under_autocast_it_runs_in_bfloat16_and_keeps_the_dtype(direction):
    module, x = awake(direction=direction), features()
    exact = module(x)
    with torch.autocast("cpu", torch.bfloat16):
        y = module(x)
        assert module(x.bfloat16()).dtype == torch.bfloat16
        assert torch.equal(PKS4(16, direction=direction)(x), x)
    assert y.dtype == torch.float32
    assert 0 < (y - exact).abs().max() < 0.02 * exact.abs().max()
    y.sum().backward()
    assert all(p.grad.isfinite().all() for p in module.parameters())


def test_under_autocast_the_scan_is_given_one_dtype(monkeypatch):
    seen = []

    def scan(u, delta, A, B, C, *rest, **named):
        seen.append({x.dtype for x in (u, delta, B, C)})
        return u

    monkeypatch.setattr("pks4.mixers.s6.scan_sites", scan)
    with torch.autocast("cpu", torch.bfloat16):
        awake(modulation="multiplicative")(features())
    assert seen == [{torch.bfloat16}]


def test_a_stream_under_autocast_is_the_clip_under_autocast():
    module, x = awake(), features()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        y, state = stream(module, x)
        assert y.dtype == state.mixer.dtype == torch.float32
        torch.testing.assert_close(y, module(x), atol=2e-2, rtol=2e-2)


def test_weights_go_out_and_come_back():
    module, x = awake(), features()
    other = PKS4(16, expand=1.0, state=4, radius=1)
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(x), module(x))
