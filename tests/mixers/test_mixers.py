"""Mixers along time: each is its equation, streams as it runs, and takes priors by one rule."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from pks4.method.module import PKS4
from pks4.mixers import MIXERS, Sizes, create_mixer
from pks4.scan.recurrence import (
    linear_recurrence,
    linear_recurrence_backward,
    linear_recurrence_reference,
)
from pks4.simulate.count_macs import count_on_meta

B, T, S, D, P = 2, 5, 3, 16, 4
STREAMS = [n for n in MIXERS if n not in ("attention", "shift")]
GATED = {
    "s6": {"delta", "B", "C"},
    "ssd": {"delta", "B", "C"},
    "rg_lru": {"recurrence", "input_gate"},
    "gated_deltanet": {"alpha", "beta"},
    "gru": {"reset_gate", "update_gate"},
}
every_mixer = pytest.mark.parametrize("name", MIXERS)


def mixer(name, **sizes):
    """A mixer in double precision with weights that are not at their start."""
    torch.manual_seed(0)
    made = create_mixer(name, Sizes(d=D, heads=2, state=3, **sizes)).double()
    for p in made.parameters():
        torch.nn.init.normal_(p, std=0.4)
    return made


def stream(seed=1, t=T, d=D):
    return torch.randn(B, t, S, d, dtype=torch.float64, generator=torch.manual_seed(seed))


def heads(x):
    """(b, t, s, d) -> one (b, s, width) for each head and frame: [head][frame]."""
    return [[x[:, i, :, h * 8 : h * 8 + 8] for i in range(x.shape[1])] for h in range(2)]


def by_heads(outputs):
    """The inverse of `heads`."""
    return torch.cat([torch.stack(frames, 1) for frames in outputs], -1)


def ssd_reference(m, u):
    delta, write, read = m.x_proj(u).split([2, 3, 3], -1)
    delta = F.softplus(delta + m.dt_bias)
    outputs = []
    for h, frames in enumerate(heads(u)):
        state, out = torch.zeros(B, S, 8, 3, dtype=u.dtype), []
        for i, x in enumerate(frames):
            step = delta[:, i, :, h, None, None]
            decay = torch.exp(-step * m.A_log[h].exp())
            state = decay * state + step * torch.einsum("bsd,bsn->bsdn", x, write[:, i])
            out.append(torch.einsum("bsdn,bsn->bsd", state, read[:, i]) + m.D[h] * x)
        outputs.append(out)
    return by_heads(outputs)


def rg_lru_reference(m, u):
    gates = []
    for weight, bias in zip(m.gate_weight, m.gate_bias, strict=True):
        parts = [u[..., h * 8 : h * 8 + 8] @ weight[h] for h in range(2)]
        gates.append(torch.sigmoid(torch.cat(parts, -1) + bias))
    r, i = gates
    a = torch.exp(-8 * r * F.softplus(m.L))
    return linear_recurrence_reference(a, torch.sqrt(1 - a**2) * i * u)


def gated_deltanet_reference(m, u):
    q, k, v = (heads(x) for x in m.qkv(u).chunk(3, -1))
    a, b = m.gates(u).chunk(2, -1)
    alpha, beta = torch.exp(-m.A_log.exp() * F.softplus(a + m.dt_bias)), torch.sigmoid(b)
    outputs = []
    for h in range(2):
        state, out = torch.zeros(B, S, 8, 8, dtype=u.dtype), []
        for i in range(u.shape[1]):
            key = F.normalize(k[h][i], dim=-1)
            query = F.normalize(q[h][i], dim=-1) / 8**0.5
            rate, keep = beta[:, i, :, h, None, None], alpha[:, i, :, h, None, None]
            forget = torch.eye(8, dtype=u.dtype) - rate * torch.einsum("bsi,bsj->bsij", key, key)
            state = keep * state @ forget + rate * torch.einsum("bsi,bsj->bsij", v[h][i], key)
            out.append(torch.einsum("bsij,bsj->bsi", state, query))
        outputs.append(out)
    return by_heads(outputs)


def gru_reference(m, u):
    cell = torch.nn.GRU(D, D, batch_first=True).double()
    weights = {"ih": m.from_input, "hh": m.from_state}
    given = {f"weight_{k}_l0": layer.weight for k, layer in weights.items()}
    given |= {f"bias_{k}_l0": layer.bias for k, layer in weights.items()}
    lines = u.transpose(1, 2).flatten(0, 1)
    y, _ = torch.func.functional_call(cell, given, (lines,))
    return y.unflatten(0, (B, S)).transpose(1, 2)


def convolution_reference(m, u):
    padded = torch.cat([torch.zeros(B, 3, S, D, dtype=u.dtype), u], 1)
    taps = m.conv.weight[:, 0]
    return m.conv.bias + sum(taps[:, k] * padded[:, k : k + T] for k in range(4))


def attention_reference(m, u, causal=False):
    q, k, v = (heads(x) for x in m.qkv(u).chunk(3, -1))
    turn = [torch.eye(8, dtype=u.dtype) for _ in range(T)]  # the rotation of each frame
    for i in range(T):
        for pair in range(4):
            angle = torch.tensor(i / 100 ** (pair / 4), dtype=torch.float64)
            turn[i][pair, pair] = turn[i][pair + 4, pair + 4] = angle.cos()
            turn[i][pair, pair + 4], turn[i][pair + 4, pair] = -angle.sin(), angle.sin()
    outputs = []
    for h in range(2):
        queries = [x @ turn[i].T for i, x in enumerate(q[h])]
        keys = [x @ turn[i].T for i, x in enumerate(k[h])]
        out = []
        for i, query in enumerate(queries):
            seen = i + 1 if causal else T
            scores = torch.stack([(query * key).sum(-1) for key in keys[:seen]], -1) / 8**0.5
            weights = scores.softmax(-1)
            out.append(sum(weights[..., j, None] * v[h][j] for j in range(seen)))
        outputs.append(out)
    return by_heads(outputs)


def shift_reference(m, u):
    y = u.clone()
    y[:, :-1, :, :2], y[:, -1, :, :2] = u[:, 1:, :, :2], 0
    y[:, 1:, :, 2:4], y[:, 0, :, 2:4] = u[:, :-1, :, 2:4], 0
    return y


def s6_reference(m, u):
    low, write, read = m.x_proj(u).split([1, 3, 3], -1)
    delta = F.softplus(m.dt_proj(low) + m.dt_bias)
    state, out = torch.zeros(B, S, D, 3, dtype=u.dtype), []
    for i in range(T):
        step = delta[:, i, ..., None]
        state = torch.exp(-step * m.A_log.exp()) * state
        state = state + step * u[:, i, ..., None] * write[:, i, :, None]
        out.append((state * read[:, i, :, None]).sum(-1) + m.D * u[:, i])
    return torch.stack(out, 1)


REFERENCES = {
    "s6": s6_reference,
    "ssd": ssd_reference,
    "rg_lru": rg_lru_reference,
    "gated_deltanet": gated_deltanet_reference,
    "gru": gru_reference,
    "convolution": convolution_reference,
    "causal_attention": lambda m, u: attention_reference(m, u, causal=True),
    "attention": attention_reference,
    "shift": shift_reference,
    "identity": lambda m, u: u,
}


@every_mixer
def test_outputs_and_gradients_are_those_of_its_equation(name):
    m, u = mixer(name), stream().requires_grad_()
    weights = [u, *m.parameters()]
    y, expected = m(u), REFERENCES[name](m, u)
    torch.testing.assert_close(y, expected)
    pull = stream(seed=3)
    ours, theirs = (torch.autograd.grad(x, weights, pull) for x in (y, expected))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("priors", [False, True])
def test_frame_after_frame_gives_what_the_clip_gives(name, priors):
    m = mixer(name, prior_channels=P if priors else 0)
    u, p = stream(), stream(seed=2, d=P) if priors else None
    state, out = m.initial_state(B, S), []
    for i in range(T):
        y, state = m.step(u[:, i], None if p is None else p[:, i], state)
        out.append(y)
    torch.testing.assert_close(torch.stack(out, 1), m(u, p))


@every_mixer
def test_a_causal_mixer_and_no_other_ignores_the_future(name):
    m, u = mixer(name), stream()
    later = u.clone()
    later[:, 3:] += 1
    unchanged = torch.equal(m(u)[:, :3], m(later)[:, :3])
    assert unchanged == m.causal
    assert m.causal == (name in STREAMS)


@every_mixer
def test_sites_do_not_meet(name):
    m, u = mixer(name), stream()
    moved = u.clone()
    moved[:, :, 1] += 1
    torch.testing.assert_close(m(u)[:, :, [0, 2]], m(moved)[:, :, [0, 2]])


@every_mixer
def test_in_reverse_it_is_the_mixer_on_the_clip_played_backwards(name):
    forward, backward = mixer(name), mixer(name, reverse=True)
    u = stream()
    torch.testing.assert_close(backward(u), forward(u.flip(1)).flip(1))


@every_mixer
def test_priors_drive_every_gate_or_else_the_input_and_start_silent(name):
    torch.manual_seed(0)
    fresh = create_mixer(name, Sizes(d=D, heads=2, state=3, prior_channels=P)).double()
    assert set(fresh.prior_proj) == GATED.get(name, {"input"})
    u, p = stream(), stream(seed=2, d=P)
    assert torch.equal(fresh(u, p), fresh(u, torch.zeros_like(p)))
    for gate in fresh.prior_proj:
        driven = mixer(name, prior_channels=P, modulate=[gate])
        assert not torch.allclose(driven(u, p), driven(u, torch.zeros_like(p))), gate


@every_mixer
@pytest.mark.parametrize("channels", [0, P])
def test_its_closed_form_is_what_a_counter_counts(name, channels):
    m = create_mixer(name, Sizes(d=D, heads=2, state=3, prior_channels=channels))
    count = m.to("meta")
    u = torch.empty(B, T, S, D, device="meta")
    p = torch.empty(B, T, S, P, device="meta") if channels else None

    class Whole(torch.nn.Module):
        def forward(self, x):
            return count(x, p)

    assert count_on_meta(Whole(), u, backward=False) == m.macs(B, T, S)
    with FlopCounterMode(display=False) as plain:  # what PyTorch itself knows is never more
        count(u, p)
    assert plain.get_total_flops() <= 2 * m.macs(B, T, S)


@every_mixer
def test_in_pks4_it_starts_as_the_identity_and_streams_where_it_is_causal(name):
    torch.manual_seed(0)
    module = PKS4(16, mixer=name, expand=1.0, state=4, mixer_heads=2, radius=1)
    x = torch.randn(2, 5, 3, 4, 16)
    assert torch.equal(module(x), x)
    for p in module.parameters():
        torch.nn.init.normal_(p, std=0.3)
    if name not in STREAMS:
        with pytest.raises(ValueError, match=f"mixer='{name}' it depends on later frames"):
            module.initial_state(2, 3, 4)
        return
    state, out = module.initial_state(2, 3, 4), []
    for frame in x.unbind(1):
        y, state = module.step(frame, state)
        out.append(y)
    torch.testing.assert_close(torch.stack(out, 1), module(x), atol=1e-4, rtol=1e-4)


@every_mixer
def test_in_pks4_it_exports_as_one_graph_with_the_same_result(name):
    torch.manual_seed(0)
    module = PKS4(8, mixer=name, expand=1.0, state=2, mixer_heads=2, radius=1).eval()
    for p in module.parameters():
        torch.nn.init.normal_(p, std=0.3)
    x = torch.randn(1, 3, 2, 2, 8)
    exported = torch.export.export(module, (x,)).module()
    other = torch.randn_like(x)
    assert torch.equal(exported(other), module(other))


@every_mixer
def test_under_autocast_it_keeps_its_result_near(name):
    torch.manual_seed(0)
    m, u = create_mixer(name, Sizes(d=D, heads=2, state=3)), stream().float()
    with torch.autocast("cpu", torch.bfloat16):
        y = m(u)
    assert (y.float() - m(u)).abs().max() < 0.05 * m(u).abs().max()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("t", [1, T])
def test_the_recurrence_is_its_reference_and_a_valid_operator(t):
    a, x = (stream(seed, t).requires_grad_() for seed in (1, 2))
    pair = [f(a, x) for f in (linear_recurrence, linear_recurrence_reference)]
    torch.testing.assert_close(*pair)
    grads = [torch.autograd.grad(y, (a, x), stream(3, t)) for y in pair]
    if t > 1:
        torch.testing.assert_close(*grads)
    torch.library.opcheck(linear_recurrence, (a, x))
    a, x = a.detach(), x.detach()
    torch.library.opcheck(linear_recurrence_backward, (stream(3, t), a, linear_recurrence(a, x)))


def test_heads_that_do_not_divide_and_unknown_names_are_named():
    with pytest.raises(ValueError, match="heads must divide the width 16 of the mixer, got 3"):
        create_mixer("ssd", Sizes(d=16, heads=3))
    with pytest.raises(ValueError, match="heads of even width"):
        create_mixer("attention", Sizes(d=6, heads=2))
    with pytest.raises(ValueError, match="did you mean 'rg_lru'"):
        create_mixer("rglru", Sizes(d=16))
    with pytest.raises(ValueError, match="unknown mixer 'lstm'"):
        PKS4(16, mixer="lstm")


def test_a_choice_that_a_mixer_cannot_follow_is_refused():
    with pytest.raises(
        ValueError, match=r"modulate chooses among the gates of mixer 's6'; with 'g"
    ):
        PKS4(16, mixer="gru", modulate=("B",))
    with pytest.raises(ValueError, match="modulation='multiplicative' is of B and C, which mixer"):
        PKS4(16, mixer="gru", modulation="multiplicative")
    assert PKS4(16, mixer="gru", modulate=()).prior is None
