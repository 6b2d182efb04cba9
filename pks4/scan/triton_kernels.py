"""The Triton kernels of `pks4.scan.triton_scan`; importing this module needs triton.

A program scans one row, a site of a clip, for one block of channels; its state (d', n') stays in
registers. Time and sites are flat: step i of a row is line `first + i * step` of the tensors (b t
s, channels). Their lines lie `*_pitch` elements apart in memory, so the kernels read views of a
wider tensor without a copy. Lines are counted in 64 bits. d' and n' are powers of two; entries
beyond d and n are read as zeros, stay zeros, and are not written.

D and delta_bias are float32 and never None; zeros replace None. Equations: `pks4.scan.reference`.
"""

import triton
import triton.language as tl

SIZES = ("t", "s", "rows", "chunk")  # other values of these do not compile a kernel again


@triton.jit
def _first_and_step(row, t, s, REVERSE: tl.constexpr):
    """The line of a row's first step in the scan's order, and the distance to the next step."""
    sites = tl.cast(s, tl.int64)
    first = (row // sites) * t * sites + row % sites
    step = sites
    if REVERSE:
        first += (t - 1) * sites
        step = -sites
    return first, step


@triton.jit
def _read(x, pitch, line, columns, size):
    """A block of one line, in float32."""
    return tl.load(x + line * pitch + columns, mask=columns < size, other=0.0).to(tl.float32)


@triton.jit
def _write(x, pitch, line, columns, size, value):
    tl.store(x + line * pitch + columns, value, mask=columns < size)


@triton.jit
def _read_parameters(A, D, bias, channels, states, d, n):
    """A (d', n'), D and bias (d',), the block's offsets in a (d, n) tensor, and their mask."""
    inside = (channels < d)[:, None] & (states < n)[None, :]
    square = channels[:, None] * n + states[None, :]
    A = tl.load(A + square, mask=inside, other=0.0)
    return A, _read(D, 0, 0, channels, d), _read(bias, 0, 0, channels, d), square, inside


@triton.jit
def _softplus(x):
    """log(1 + exp x) without overflow; Kahan's log1p, so that small values keep their digits."""
    e = tl.exp(-tl.abs(x))
    w = 1.0 + e
    log1p = tl.where(w == 1.0, e, tl.log(w) * e / tl.where(w == 1.0, 1.0, w - 1.0))
    return tl.maximum(x, 0.0) + log1p


@triton.jit
def _step_inputs(rows, line, channels, states, d, n, SOFTPLUS: tl.constexpr):
    """u, delta before and after softplus (d',) and B (n',) of one step."""
    u, delta, B, u_pitch, delta_pitch, B_pitch, _, bias = rows
    x = _read(u, u_pitch, line, channels, d)
    raw = _read(delta, delta_pitch, line, channels, d) + bias
    delta_t = raw
    if SOFTPLUS:
        delta_t = _softplus(raw)
    return x, raw, delta_t, _read(B, B_pitch, line, states, n)


@triton.jit
def _next_state(h, rows, line, channels, states, d, n, SOFTPLUS: tl.constexpr):
    """The state after one more step, and that step's u."""
    x, _, delta_t, b = _step_inputs(rows, line, channels, states, d, n, SOFTPLUS)
    A = rows[6]
    return tl.exp(delta_t[:, None] * A) * h + (delta_t * x)[:, None] * b[None, :], x


@triton.jit(do_not_specialize=SIZES)
def forward(
    u, delta, A, B, C, D, bias, y, last, u_pitch, delta_pitch, B_pitch, C_pitch, t, s, d, n,
    SOFTPLUS: tl.constexpr, REVERSE: tl.constexpr, LAST: tl.constexpr,
    D_BLOCK: tl.constexpr, N_BLOCK: tl.constexpr,
):  # fmt: skip
    """y, and with LAST the last state; grid (rows, blocks of channels)."""
    row = tl.cast(tl.program_id(0), tl.int64)
    channels = tl.program_id(1) * D_BLOCK + tl.arange(0, D_BLOCK)
    states = tl.arange(0, N_BLOCK)
    A, D, bias, square, inside = _read_parameters(A, D, bias, channels, states, d, n)
    rows = (u, delta, B, u_pitch, delta_pitch, B_pitch, A, bias)
    first, step = _first_and_step(row, t, s, REVERSE)
    h = tl.zeros((D_BLOCK, N_BLOCK), tl.float32)
    for i in range(t):
        line = first + i * step
        h, x = _next_state(h, rows, line, channels, states, d, n, SOFTPLUS)
        c = _read(C, C_pitch, line, states, n)
        _write(y, d, line, channels, d, tl.sum(h * c[None, :], 1) + D * x)
    if LAST:
        tl.store(last + row * d * n + square, h, mask=inside)


@triton.jit
def _step_gradients(
    totals, g_state, h, before, rows, outer, sinks, line, share, channels, states, d, n,
    SOFTPLUS: tl.constexpr,
):  # fmt: skip
    """Write one step's gradients; return the totals, the state's gradient and the previous state.

    h is the state after the step, g_state its gradient from later steps; `before` is the address of
    the previous state.
    """
    g, C, C_pitch, D = outer
    du, ddelta, dB, dC = sinks
    dA, dD, dbias = totals
    A = rows[6]
    x, raw, delta_t, b = _step_inputs(rows, line, channels, states, d, n, SOFTPLUS)
    g_t = _read(g, d, line, channels, d)
    _write(dC, n, share + line, states, n, tl.sum(h * g_t[:, None], 0))
    g_state += g_t[:, None] * _read(C, C_pitch, line, states, n)[None, :]
    _write(dB, n, share + line, states, n, tl.sum(g_state * (delta_t * x)[:, None], 0))
    g_write = tl.sum(g_state * b[None, :], 1)
    g_state *= tl.exp(delta_t[:, None] * A)
    h = tl.load(before)
    g_exponent = g_state * h  # of delta_t A
    g_raw = tl.sum(g_exponent * A, 1) + g_write * x
    if SOFTPLUS:
        g_raw *= tl.sigmoid(raw)
    _write(du, d, line, channels, d, g_write * delta_t + g_t * D)
    _write(ddelta, d, line, channels, d, g_raw)
    return (dA + g_exponent * delta_t[:, None], dD + g_t * x, dbias + g_raw), g_state, h


@triton.jit
def _row_gradients(
    totals, first, step, starts, before, rows, outer, sinks, share, channels, states, t, d, n,
    chunk, SOFTPLUS: tl.constexpr, D_BLOCK: tl.constexpr, N_BLOCK: tl.constexpr,
):  # fmt: skip
    """Store the state at the start of each chunk, then go through the chunks from the last."""
    size: tl.constexpr = D_BLOCK * N_BLOCK
    last = tl.cdiv(t, chunk) - 1
    h = tl.zeros((D_BLOCK, N_BLOCK), tl.float32)
    for k in range(last):
        tl.store(starts + k * size, h)
        for i in range(k * chunk, (k + 1) * chunk):
            h, _ = _next_state(h, rows, first + i * step, channels, states, d, n, SOFTPLUS)
    tl.store(starts + last * size, h)
    g_state = tl.zeros((D_BLOCK, N_BLOCK), tl.float32)
    for back in range(last + 1):
        begin = (last - back) * chunk
        steps = tl.minimum(chunk, t - begin)
        tl.debug_barrier()  # wait for stores of the program's other threads
        h = tl.load(starts + (last - back) * size)
        for i in range(steps):
            tl.store(before + i * size, h)
            line = first + (begin + i) * step
            h, _ = _next_state(h, rows, line, channels, states, d, n, SOFTPLUS)
        tl.debug_barrier()
        for i in range(steps):
            j = steps - 1 - i
            totals, g_state, h = _step_gradients(
                totals, g_state, h, before + j * size, rows, outer, sinks,
                first + (begin + j) * step, share, channels, states, d, n, SOFTPLUS,
            )  # fmt: skip
    return totals


@triton.jit(do_not_specialize=SIZES)
def backward(
    g, u, delta, A, B, C, D, bias, u_pitch, delta_pitch, B_pitch, C_pitch,
    du, ddelta, dA, dB, dC, dD, dbias, scratch, rows, t, s, d, n, chunk,
    SOFTPLUS: tl.constexpr, REVERSE: tl.constexpr, D_BLOCK: tl.constexpr, N_BLOCK: tl.constexpr,
):  # fmt: skip
    """All gradients; grid (programs, blocks of channels), each program goes through some rows.

    du, ddelta are complete. The others are shares to be summed over their first axis: dB, dC
    (blocks of channels, b t s, n), dA (programs, d, n), dD, dbias (programs, d), all float32.

    scratch: (programs, blocks of channels, chunk + chunks, d', n') float32: the states before the
    steps of the current chunk, then the state at the start of each chunk.
    """
    program, block = tl.cast(tl.program_id(0), tl.int64), tl.program_id(1)
    channels = block * D_BLOCK + tl.arange(0, D_BLOCK)
    states = tl.arange(0, N_BLOCK)
    A, D, bias, square, inside = _read_parameters(A, D, bias, channels, states, d, n)
    inputs = (u, delta, B, u_pitch, delta_pitch, B_pitch, A, bias)
    size: tl.constexpr = D_BLOCK * N_BLOCK
    slot = program * tl.num_programs(1) + block
    before = scratch + slot * (chunk + tl.cdiv(t, chunk)) * size
    before += tl.arange(0, D_BLOCK)[:, None] * N_BLOCK + states[None, :]
    starts = before + chunk * size
    share = tl.cast(block, tl.int64) * rows * t  # lines of dB and dC before this block's
    zeros = tl.zeros((D_BLOCK,), tl.float32)
    totals = (tl.zeros((D_BLOCK, N_BLOCK), tl.float32), zeros, zeros)
    for row in range(program, rows, tl.num_programs(0)):
        first, step = _first_and_step(row, t, s, REVERSE)
        totals = _row_gradients(
            totals, first, step, starts, before, inputs, (g, C, C_pitch, D), (du, ddelta, dB, dC),
            share, channels, states, t, d, n, chunk, SOFTPLUS, D_BLOCK, N_BLOCK,
        )  # fmt: skip
    all_dA, all_dD, all_dbias = totals
    tl.store(dA + program * d * n + square, all_dA, mask=inside)
    _write(dD, d, program, channels, d, all_dD)
    _write(dbias, d, program, channels, d, all_dbias)
