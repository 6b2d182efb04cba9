"""The selective scan for a CPU: states in first-level cache, nothing transposed or kept.

A kernel scans a site by blocks of 16 channels, one vector register, and by chunks of `CHUNK` steps:
it packs the rows of a chunk (tails filled with zeros), runs each block through it, and writes the
results back as rows. Backward first stores the state at the start of every chunk. Then it takes the
chunks from the last: it recomputes the states and decays of one block and goes back through them.
Only sums over sites outlive a site: gradients of A, D and delta_bias, in float32 for about `FLUSH`
steps and then in float64, so that a hundred thousand sites lose no digits.

Two things determine the speed. Arrays begin at a cache line, so that no vector crosses two. And
data used together lie together, as in `per_state` and `per_step`: in arrays a multiple of 4 KiB
apart the CPU would mistake stores to one for stores to another (4K aliasing).

Letters as in `pks4`; c blocks of channels, k steps of a chunk. Arrays are flat, indices in numbers.

    per_state  (c, n, parts, 16)  A; then forward: the state; backward: gradients of state and A
    per_step   (k, n, 4, 16)      of one block: state before the step, decay, gradients of B and C
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from pks4.scan.numba_vectors import (
    LANES,
    TEXT,
    aligned,
    exp2,
    fma,
    inner,
    load,
    sigmoid,
    softplus,
    splat,
    store,
    total,
)

CHUNK = 16
FLUSH = 256
LN_2 = np.float32(0.6931471805599453)
kernel = njit(nogil=True, cache=True, error_model="numpy")


class Problem(NamedTuple):
    """The inputs of a scan. `*_row` is the distance between two rows of an array."""

    u: np.ndarray
    u_row: int
    delta: np.ndarray
    delta_row: int
    A: np.ndarray  # (c, n, 16), times log2(e), zeros beyond d
    B: np.ndarray
    B_row: int
    C: np.ndarray
    C_row: int
    D: np.ndarray  # (c, 16), zeros beyond d
    bias: np.ndarray  # (c, 16), zeros beyond d
    shape: tuple[int, int, int, int]  # b, t, s, d
    n: int
    use_softplus: bool
    reverse: bool


class Part(NamedTuple):
    """The share of one call: a range of sites of all clips, and a range of blocks."""

    first_site: int
    end_site: int
    first_block: int
    blocks: int


class Gradients(NamedTuple):
    """Outputs of backward: it writes rows of u, delta, B, C and adds to A (c, n, 16), D, bias."""

    u: np.ndarray
    delta: np.ndarray
    A: np.ndarray
    B: np.ndarray
    C: np.ndarray
    D: np.ndarray
    bias: np.ndarray


@inner
def _chunk(x, site, first):
    """The chunk of a site that starts at step `first`: first row, distance of rows, steps."""
    _, t, s, _ = x.shape
    time, distance = (t - 1 - first, -s) if x.reverse else (first, s)
    return (site // s * t + time) * s + site % s, distance, min(CHUNK, t - first)


@inner
def _span(x, part):
    """First channel and number of channels of a part, and how many fill whole vectors."""
    start = part.first_block * LANES
    width = min(x.shape[3] - start, part.blocks * LANES)
    return start, width, width // LANES * LANES


@inner
def _pack(values, row_size, x, part, chunk, out):
    """Rows of a chunk as (k, c, 16)."""
    row, distance, steps = chunk
    start, width, whole = _span(x, part)
    tail = np.zeros(LANES, values.dtype)
    for k in range(steps):
        base, at = (row + k * distance) * row_size + start, k * part.blocks * LANES
        for i in range(0, whole, LANES):
            store(out, at + i, load(values, base + i))
        if whole < width:
            for i in range(width - whole):
                tail[i] = values[base + whole + i]
            store(out, at + whole, load(tail, 0))


@inner
def _unpack(values, x, part, chunk, out):
    """Write (k, c, 16) as rows of a contiguous tensor."""
    row, distance, steps = chunk
    start, width, whole = _span(x, part)
    tail = np.zeros(LANES, out.dtype)
    for k in range(steps):
        base, at = (row + k * distance) * x.shape[3] + start, k * part.blocks * LANES
        for i in range(0, whole, LANES):
            store(out, base + i, load(values, at + i))
        if whole < width:
            store(tail, 0, load(values, at + whole))
            for i in range(width - whole):
                out[base + whole + i] = tail[i]


@inner
def _prepare(x, part, chunk, u, raw, step):
    """Pack a chunk of u, of delta + bias, and the step sizes."""
    _pack(x.u, x.u_row, x, part, chunk, u)
    _pack(x.delta, x.delta_row, x, part, chunk, raw)
    width = part.blocks * LANES
    for k in range(chunk[2]):
        for i in range(0, width, LANES):
            value = load(raw, k * width + i) + load(x.bias, part.first_block * LANES + i)
            store(raw, k * width + i, value)
            store(step, k * width + i, softplus(value) if x.use_softplus else value)


@inner
def _per_state(x, part, parts):
    """(c, n, parts, 16): A, and zeros."""
    per_state = aligned(part.blocks * x.n * parts * LANES)
    for i in range(part.blocks * x.n):
        store(per_state, i * parts * LANES, load(x.A, (part.first_block * x.n + i) * LANES))
    return per_state


@inner
def _clear(array, parts, part):
    """Set one part of (..., parts, 16) to zero."""
    for i in range(part * LANES, array.size, parts * LANES):
        store(array, i, splat(np.float32(0)))


@inner
def _scan(x, part, chunk, u, step, per_state):
    """Scan a chunk; y overwrites u."""
    row, distance, steps = chunk
    for c in range(part.blocks):
        skip = load(x.D, (part.first_block + c) * LANES)
        for k in range(steps):
            line, at = row + k * distance, (k * part.blocks + c) * LANES
            s = load(step, at)
            write, read = s * load(u, at), skip * load(u, at)
            for i in range(x.n):
                o = (c * x.n + i) * 2 * LANES
                decay = exp2(s * load(per_state, o))
                h = fma(decay, load(per_state, o + LANES), write * splat(x.B[line * x.B_row + i]))
                store(per_state, o + LANES, h)
                read = fma(h, splat(x.C[line * x.C_row + i]), read)
            store(u, at, read)


@inner
def _forward(x, part, y, last):
    """Scan a part: write its share of y (rows of d), and of last (sites, d, n) if not empty."""
    size = CHUNK * part.blocks * LANES
    u, raw, step = aligned(size), aligned(size), aligned(size)
    per_state = _per_state(x, part, 2)
    for site in range(part.first_site, part.end_site):
        _clear(per_state, 2, 1)
        for first in range(0, x.shape[1], CHUNK):
            chunk = _chunk(x, site, first)
            _prepare(x, part, chunk, u, raw, step)
            _scan(x, part, chunk, u, step, per_state)
            _unpack(u, x, part, chunk, y)
        if last.size:
            _give_state(x, part, site, per_state, last)


@inner
def _give_state(x, part, site, per_state, last):
    d = x.shape[3]
    start = part.first_block * LANES
    for channel in range(start, min(d, start + part.blocks * LANES)):
        c, lane = (channel - start) // LANES, (channel - start) % LANES
        for i in range(x.n):
            last[(site * d + channel) * x.n + i] = per_state[((c * x.n + i) * 2 + 1) * LANES + lane]


@inner
def _store_starts(x, part, site, u, raw, step, per_state, starts):
    """The states of a site at the start of every chunk but the first: (chunks, c, n, 16)."""
    _clear(per_state, 2, 1)
    states = part.blocks * x.n
    for q in range(1, starts.size // (states * LANES)):
        chunk = _chunk(x, site, (q - 1) * CHUNK)
        _prepare(x, part, chunk, u, raw, step)
        _scan(x, part, chunk, u, step, per_state)
        for i in range(states):
            store(starts, (q * states + i) * LANES, load(per_state, (2 * i + 1) * LANES))


@inner
def _recompute(x, chunk, c, blocks, u, step, g, per_state, per_step):
    """Recompute a block's states and decays in a chunk; add its share of the gradient of C."""
    row, distance, steps = chunk
    for k in range(steps):
        line, at = row + k * distance, (k * blocks + c) * LANES
        s, g_y = load(step, at), load(g, at)
        write = s * load(u, at)
        for i in range(x.n):
            w = (k * x.n + i) * 4 * LANES
            decay = exp2(s * load(per_state, (c * x.n + i) * 3 * LANES))
            h = fma(decay, load(per_step, w), write * splat(x.B[line * x.B_row + i]))
            store(per_step, w + LANES, decay)
            store(per_step, w + 4 * x.n * LANES, h)
            store(per_step, w + 3 * LANES, fma(g_y, h, load(per_step, w + 3 * LANES)))


@inner
def _reverse_chunk(x, chunk, c, blocks, u, step, g, per_state, per_step, skip, g_D):
    """Take a block back through a chunk; gradients of u and step overwrite g and u."""
    row, distance, steps = chunk
    for k in range(steps - 1, -1, -1):
        line, at = row + k * distance, (k * blocks + c) * LANES
        s, value, g_y = load(step, at), load(u, at), load(g, at)
        write, g_write, g_step = s * value, splat(np.float32(0)), splat(np.float32(0))
        for i in range(x.n):
            o, w = (c * x.n + i) * 3 * LANES, (k * x.n + i) * 4 * LANES
            g_state = fma(g_y, splat(x.C[line * x.C_row + i]), load(per_state, o + LANES))
            store(per_step, w + 2 * LANES, fma(g_state, write, load(per_step, w + 2 * LANES)))
            g_write = fma(g_state, splat(x.B[line * x.B_row + i]), g_write)
            g_before = g_state * load(per_step, w + LANES)
            store(per_state, o + LANES, g_before)
            g_exponent = g_before * load(per_step, w)
            g_step = fma(g_exponent, load(per_state, o), g_step)  # A is in units of 1 / log2(e)
            store(per_state, o + 2 * LANES, fma(g_exponent, s, load(per_state, o + 2 * LANES)))
        store(g, at, fma(g_write, s, g_y * skip))
        store(u, at, fma(g_write, value, g_step * splat(LN_2)))
        store(g_D, c * LANES, fma(g_y, value, load(g_D, c * LANES)))


@inner
def _finish(x, part, chunk, g_step, raw, per_step, g_bias, grads):
    """Gradients of step sizes -> those of delta; sum gradients of B and C over channels."""
    row, distance, steps = chunk
    width = part.blocks * LANES
    for k in range(steps):
        for i in range(0, width, LANES):
            value = load(g_step, k * width + i)
            if x.use_softplus:
                value = value * sigmoid(load(raw, k * width + i))
            store(g_step, k * width + i, value)
            store(g_bias, i, load(g_bias, i) + value)
        line = row + k * distance
        for i in range(x.n):
            w = (k * x.n + i) * 4 * LANES
            grads.B[line * x.n + i] = total(load(per_step, w + 2 * LANES))
            grads.C[line * x.n + i] = total(load(per_step, w + 3 * LANES))


@inner
def _flush(x, part, per_state, g_D, g_bias, grads):
    """Add the float32 sums to the float64 sums and clear them."""
    start = part.first_block * LANES
    for i in range(part.blocks * x.n):
        for lane in range(LANES):
            grads.A[start * x.n + i * LANES + lane] += per_state[(i * 3 + 2) * LANES + lane]
    _clear(per_state, 3, 2)
    for i in range(part.blocks * LANES):
        grads.D[start + i] += g_D[i]
        grads.bias[start + i] += g_bias[i]
    g_D[:] = 0
    g_bias[:] = 0


@inner
def _backward(g_y, x, part, grads):
    """Gradients of a part from the gradient of y; those of B and C are of these channels only."""
    t, states = x.shape[1], part.blocks * x.n
    size = CHUNK * part.blocks * LANES
    u, raw, step, g = aligned(size), aligned(size), aligned(size), aligned(size)
    g_D, g_bias = aligned(part.blocks * LANES), aligned(part.blocks * LANES)
    per_state, before = _per_state(x, part, 3), _per_state(x, part, 2)
    per_step = aligned((CHUNK + 1) * x.n * 4 * LANES)
    chunks, pending = (t + CHUNK - 1) // CHUNK, 0
    starts = aligned(chunks * states * LANES)  # the first stays zero
    for site in range(part.first_site, part.end_site):
        _store_starts(x, part, site, u, raw, step, before, starts)
        _clear(per_state, 3, 1)
        for q in range(chunks - 1, -1, -1):
            chunk = _chunk(x, site, q * CHUNK)
            _prepare(x, part, chunk, u, raw, step)
            _pack(g_y, x.shape[3], x, part, chunk, g)
            _clear(per_step, 4, 2)
            _clear(per_step, 4, 3)
            for c in range(part.blocks):
                for i in range(x.n):
                    state = load(starts, (q * states + c * x.n + i) * LANES)
                    store(per_step, i * 4 * LANES, state)
                skip = load(x.D, (part.first_block + c) * LANES)
                _recompute(x, chunk, c, part.blocks, u, step, g, per_state, per_step)
                _reverse_chunk(x, chunk, c, part.blocks, u, step, g, per_state, per_step, skip, g_D)
            _finish(x, part, chunk, u, raw, per_step, g_bias, grads)
            _unpack(g, x, part, chunk, grads.u)
            _unpack(u, x, part, chunk, grads.delta)
            pending += chunk[2]
            if pending >= FLUSH or (q == 0 and site == part.end_site - 1):
                _flush(x, part, per_state, g_D, g_bias, grads)
                pending = 0


def _entries(text):
    """Both kernels with Python signatures, cached under `text`: see `numba_vectors.TEXT`."""

    @kernel
    def forward(x, part, y, last):
        text  # noqa: B018
        _forward(x, part, y, last)

    @kernel
    def backward(g_y, x, part, grads):
        text  # noqa: B018
        _backward(g_y, x, part, grads)

    return forward, backward


forward, backward = _entries(TEXT)
