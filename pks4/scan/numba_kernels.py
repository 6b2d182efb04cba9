"""The selective scan for a CPU: states in first-level cache, nothing transposed or kept.

A site is scanned by blocks of 16 channels, one vector register. Time goes in chunks of `CHUNK`
steps: the rows of a chunk are packed (and tails filled up with zeros), then each block runs through
the chunk with its states beside it, then results are written back as rows. Backward first notes the
state at the start of every chunk, then goes through the chunks from the last: it runs each again,
keeping the states and decays of one block, and then backward. Nothing lives longer than a site, but
what sums over sites: gradients of A, D and delta_bias are added up in float32 for `FLUSH` steps or
so and then in float64, so that a hundred thousand sites lose no digits.

Two things decide the speed. Arrays begin at a cache line, or every vector would cross two. And what
is used together lies together, as `own` and `work` do below: several arrays a multiple of 4 KiB
apart would make the CPU take stores to one for stores to another.

Letters as in `pks4`; c blocks of channels, k steps of a chunk. Arrays are flat, indices in numbers.

    own   (c, n, parts, 16)  A, then forward: the state; backward: gradients of state and A
    work  (k, n, 4, 16)      of one block: state before the step, decay, gradients of B and C
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from pks4.scan.numba_vectors import (
    LANES,
    TEXT,
    exp2,
    fma,
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
inner = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


class Problem(NamedTuple):
    """What is scanned. `*_row` is the distance of two rows of an array."""

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
    """What one call does: sites (clips and places counted through) and blocks of channels."""

    first_site: int
    end_site: int
    first_block: int
    blocks: int


class Gradients(NamedTuple):
    """Where backward writes: rows of u, delta, B and C; it adds to A (c, n, 16), D and bias."""

    u: np.ndarray
    delta: np.ndarray
    A: np.ndarray
    B: np.ndarray
    C: np.ndarray
    D: np.ndarray
    bias: np.ndarray


@inner
def aligned(size):
    """Zeros that begin at a cache line."""
    room = np.zeros(size + LANES, np.float32)
    skipped = -room.ctypes.data // 4 % LANES
    return room[skipped : skipped + size]


@inner
def _chunk(x, site, first):
    """A chunk of a site from a step on: its first row, the distance of its rows, its steps."""
    _, t, s, _ = x.shape
    time, distance = (t - 1 - first, -s) if x.reverse else (first, s)
    return (site // s * t + time) * s + site % s, distance, min(CHUNK, t - first)


@inner
def _span(x, part):
    """A part's first channel, its channels, and those of them in whole vectors."""
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
def _own(x, part, parts):
    """(c, n, parts, 16): A, and zeros."""
    own = aligned(part.blocks * x.n * parts * LANES)
    for i in range(part.blocks * x.n):
        store(own, i * parts * LANES, load(x.A, (part.first_block * x.n + i) * LANES))
    return own


@inner
def _clear(array, parts, part):
    """Set one part of (..., parts, 16) to zero."""
    for i in range(part * LANES, array.size, parts * LANES):
        store(array, i, splat(np.float32(0)))


@inner
def _scan(x, part, chunk, u, step, own):
    """Scan a chunk; y stands where u was."""
    row, distance, steps = chunk
    for c in range(part.blocks):
        skip = load(x.D, (part.first_block + c) * LANES)
        for k in range(steps):
            here, at = row + k * distance, (k * part.blocks + c) * LANES
            s = load(step, at)
            write, read = s * load(u, at), skip * load(u, at)
            for i in range(x.n):
                o = (c * x.n + i) * 2 * LANES
                decay = exp2(s * load(own, o))
                h = fma(decay, load(own, o + LANES), write * splat(x.B[here * x.B_row + i]))
                store(own, o + LANES, h)
                read = fma(h, splat(x.C[here * x.C_row + i]), read)
            store(u, at, read)


@inner
def _forward(x, part, y, last):
    """Scan a part: its share of y (rows of d), and of last (sites, d, n) if that has room."""
    size = CHUNK * part.blocks * LANES
    u, raw, step = aligned(size), aligned(size), aligned(size)
    own = _own(x, part, 2)
    for site in range(part.first_site, part.end_site):
        _clear(own, 2, 1)
        for first in range(0, x.shape[1], CHUNK):
            chunk = _chunk(x, site, first)
            _prepare(x, part, chunk, u, raw, step)
            _scan(x, part, chunk, u, step, own)
            _unpack(u, x, part, chunk, y)
        if last.size:
            _give_state(x, part, site, own, last)


@inner
def _give_state(x, part, site, own, last):
    d = x.shape[3]
    start = part.first_block * LANES
    for channel in range(start, min(d, start + part.blocks * LANES)):
        c, lane = (channel - start) // LANES, (channel - start) % LANES
        for i in range(x.n):
            last[(site * d + channel) * x.n + i] = own[((c * x.n + i) * 2 + 1) * LANES + lane]


@inner
def _note_starts(x, part, site, u, raw, step, own, starts):
    """The states of a site at the start of every chunk but the first: (chunks, c, n, 16)."""
    _clear(own, 2, 1)
    states = part.blocks * x.n
    for q in range(1, starts.size // (states * LANES)):
        chunk = _chunk(x, site, (q - 1) * CHUNK)
        _prepare(x, part, chunk, u, raw, step)
        _scan(x, part, chunk, u, step, own)
        for i in range(states):
            store(starts, (q * states + i) * LANES, load(own, (2 * i + 1) * LANES))


@inner
def _again(x, chunk, c, blocks, u, step, g, own, work):
    """Run a block through a chunk again: states, decays, and its share of the gradient of C."""
    row, distance, steps = chunk
    for k in range(steps):
        here, at = row + k * distance, (k * blocks + c) * LANES
        s, g_y = load(step, at), load(g, at)
        write = s * load(u, at)
        for i in range(x.n):
            w = (k * x.n + i) * 4 * LANES
            decay = exp2(s * load(own, (c * x.n + i) * 3 * LANES))
            h = fma(decay, load(work, w), write * splat(x.B[here * x.B_row + i]))
            store(work, w + LANES, decay)
            store(work, w + 4 * x.n * LANES, h)
            store(work, w + 3 * LANES, fma(g_y, h, load(work, w + 3 * LANES)))


@inner
def _back(x, chunk, c, blocks, u, step, g, own, work, skip, g_D):
    """Take a block backward through a chunk; gradients of u and step stand where g and u were."""
    row, distance, steps = chunk
    for k in range(steps - 1, -1, -1):
        here, at = row + k * distance, (k * blocks + c) * LANES
        s, value, g_y = load(step, at), load(u, at), load(g, at)
        write, g_write, g_step = s * value, splat(np.float32(0)), splat(np.float32(0))
        for i in range(x.n):
            o, w = (c * x.n + i) * 3 * LANES, (k * x.n + i) * 4 * LANES
            g_state = fma(g_y, splat(x.C[here * x.C_row + i]), load(own, o + LANES))
            store(work, w + 2 * LANES, fma(g_state, write, load(work, w + 2 * LANES)))
            g_write = fma(g_state, splat(x.B[here * x.B_row + i]), g_write)
            g_before = g_state * load(work, w + LANES)
            store(own, o + LANES, g_before)
            g_exponent = g_before * load(work, w)
            g_step = fma(g_exponent, load(own, o), g_step)  # A is in units of 1 / log2(e)
            store(own, o + 2 * LANES, fma(g_exponent, s, load(own, o + 2 * LANES)))
        store(g, at, fma(g_write, s, g_y * skip))
        store(u, at, fma(g_write, value, g_step * splat(LN_2)))
        store(g_D, c * LANES, fma(g_y, value, load(g_D, c * LANES)))


@inner
def _finish(x, part, chunk, g_step, raw, work, g_bias, grads):
    """From gradients of step sizes to those of delta; sums over channels for B and C."""
    row, distance, steps = chunk
    width = part.blocks * LANES
    for k in range(steps):
        for i in range(0, width, LANES):
            value = load(g_step, k * width + i)
            if x.use_softplus:
                value = value * sigmoid(load(raw, k * width + i))
            store(g_step, k * width + i, value)
            store(g_bias, i, load(g_bias, i) + value)
        here = row + k * distance
        for i in range(x.n):
            w = (k * x.n + i) * 4 * LANES
            grads.B[here * x.n + i] = total(load(work, w + 2 * LANES))
            grads.C[here * x.n + i] = total(load(work, w + 3 * LANES))


@inner
def _flush(x, part, own, g_D, g_bias, grads):
    """Add the float32 sums to the float64 ones and begin them anew."""
    start = part.first_block * LANES
    for i in range(part.blocks * x.n):
        for lane in range(LANES):
            grads.A[start * x.n + i * LANES + lane] += own[(i * 3 + 2) * LANES + lane]
    _clear(own, 3, 2)
    for i in range(part.blocks * LANES):
        grads.D[start + i] += g_D[i]
        grads.bias[start + i] += g_bias[i]
    g_D[:] = 0
    g_bias[:] = 0


@inner
def _backward(g_y, x, part, grads):
    """Gradients of a part from that of y: those of B and C hold the share of these channels."""
    t, states = x.shape[1], part.blocks * x.n
    size = CHUNK * part.blocks * LANES
    u, raw, step, g = aligned(size), aligned(size), aligned(size), aligned(size)
    g_D, g_bias = aligned(part.blocks * LANES), aligned(part.blocks * LANES)
    own, before, work = _own(x, part, 3), _own(x, part, 2), aligned((CHUNK + 1) * x.n * 4 * LANES)
    chunks, pending = (t + CHUNK - 1) // CHUNK, 0
    starts = aligned(chunks * states * LANES)  # the first stays zero
    for site in range(part.first_site, part.end_site):
        _note_starts(x, part, site, u, raw, step, before, starts)
        _clear(own, 3, 1)
        for q in range(chunks - 1, -1, -1):
            chunk = _chunk(x, site, q * CHUNK)
            _prepare(x, part, chunk, u, raw, step)
            _pack(g_y, x.shape[3], x, part, chunk, g)
            _clear(work, 4, 2)
            _clear(work, 4, 3)
            for c in range(part.blocks):
                for i in range(x.n):
                    state = load(starts, (q * states + c * x.n + i) * LANES)
                    store(work, i * 4 * LANES, state)
                skip = load(x.D, (part.first_block + c) * LANES)
                _again(x, chunk, c, part.blocks, u, step, g, own, work)
                _back(x, chunk, c, part.blocks, u, step, g, own, work, skip, g_D)
            _finish(x, part, chunk, u, raw, work, g_bias, grads)
            _unpack(g, x, part, chunk, grads.u)
            _unpack(u, x, part, chunk, grads.delta)
            pending += chunk[2]
            if pending >= FLUSH or (q == 0 and site == part.end_site - 1):
                _flush(x, part, own, g_D, g_bias, grads)
                pending = 0


def _entries(text):
    """Both kernels as their callers see them, cached under `text`: see `simd.TEXT`."""

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
