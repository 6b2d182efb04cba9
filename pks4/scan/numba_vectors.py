"""Vectors of 16 numbers for Numba kernels, which are explicitly vectorised.

LLVM's vectoriser gives up on loops over many arrays, and Numba's `exp` is scalar. So the kernels
use `Lanes`, a type of sixteen float32 that LLVM maps to the CPU's vectors (AVX-512, AVX2, NEON,
...). It has arithmetic operators, `load` and `store` of float32 or bfloat16 memory, and exp2,
softplus and its slope by polynomials. The relative error of exp2 is below 3e-7, that of softplus
and its slope below 4e-6 (it grows with |x| <= 80, as x * log2(e) is rounded).

bfloat16 memory comes as an array of int16, since NumPy has no bfloat16.
"""

import operator
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

LANES = 16
VECTOR = ir.VectorType(ir.FloatType(), LANES)
INTS = ir.VectorType(ir.IntType(32), LANES)
SHORTS = ir.VectorType(ir.IntType(16), LANES)
LOG2_E = 1.4426950408889634
# For functions that kernels call: compiled into the kernel, without wrappers for Python and C.
inner = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
# Numba's cache watches only the file of the cached function, but its key includes the closure. The
# kernels hold TEXT in their closure, so a change of this file compiles them again.
TEXT = crc32(Path(__file__).read_bytes())


class Lanes(types.Type):
    """Sixteen float32 in a register."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


lanes = Lanes()


@register_model(Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager, kind) -> None:
        super().__init__(manager, kind, VECTOR)


Function = Callable[[np.ndarray], np.ndarray]


def _fit(f: Function, scale: Function, low: float, high: float, terms: int) -> list[float]:
    """Coefficients of a polynomial for f: least squares of error / scale at Chebyshev nodes."""
    x = (low + high) / 2 + (high - low) / 2 * np.cos((np.arange(400) + 0.5) / 400 * np.pi)
    powers = np.vander(x, terms, increasing=True) / scale(x)[:, None]
    return np.linalg.lstsq(powers, f(x) / scale(x), rcond=None)[0].tolist()


def _log1p_over_x(x: np.ndarray) -> np.ndarray:
    return np.log1p(x) / x


# 2^x as 1 + x q(x): exact at 0, or decays near 1 would drift over thousands of steps
EXP2 = [1.0, *_fit(lambda x: (np.exp2(x) - 1) / x, lambda x: np.exp2(x) / x, -0.5, 0.5, 5)]
LOG1P = _fit(_log1p_over_x, _log1p_over_x, 1e-9, 1.0, 11)  # on the range of e^-|x|


class _Maths:
    """Generates code for arithmetic on vectors."""

    def __init__(self, builder) -> None:
        self.b = builder

    def constant(self, x: float, kind=VECTOR):
        return ir.Constant(kind, [x] * LANES)

    def fma(self, x, y, z):
        """X * y + z, rounded once."""
        kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
        name = f"llvm.fma.v{LANES}f32"
        return self.b.call(cgutils.get_or_insert_function(self.b.module, kind, name), [x, y, z])

    def polynomial(self, coefficients: list[float], x):
        total = self.constant(coefficients[-1])
        for c in reversed(coefficients[:-1]):
            total = self.fma(total, x, self.constant(c))
        return total

    def larger(self, x, bound: float):
        bound = self.constant(bound)
        return self.b.select(self.b.fcmp_ordered("<", x, bound), bound, x)

    def exp2(self, x):
        """2^x; 2^-126 below -126, and infinity or near it above 128."""
        b, magic = self.b, self.constant(1.5 * 2.0**23)  # adding it rounds to a whole number
        top = self.constant(128.0)
        x = self.larger(x, -126.0)
        x = b.select(b.fcmp_ordered(">", x, top), top, x)
        rounded = b.fadd(x, magic)
        p = self.polynomial(EXP2, b.fsub(x, b.fsub(rounded, magic)))
        exponent = b.shl(b.bitcast(rounded, INTS), self.constant(23, INTS))
        return b.bitcast(b.add(b.bitcast(p, INTS), exponent), VECTOR)

    def exp_minus_abs(self, x):
        b = self.b
        bits = b.and_(b.bitcast(x, INTS), self.constant(0x7FFFFFFF, INTS))
        return self.exp2(b.fmul(b.bitcast(bits, VECTOR), self.constant(-LOG2_E)))

    def softplus(self, x):
        """max(x, 0) + log(1 + e) with e = exp(-|x|)."""
        e = self.exp_minus_abs(x)
        return self.fma(e, self.polynomial(LOG1P, e), self.larger(x, 0.0))

    def sigmoid(self, x):
        """The slope of softplus, with small relative error where it is small."""
        b, e, one = self.b, self.exp_minus_abs(x), self.constant(1.0)
        top = b.select(b.fcmp_ordered("<", x, self.constant(0.0)), e, one)
        return b.fdiv(top, b.fadd(e, one))

    def to_bfloat16(self, x):
        """Round to the nearest, ties to even."""
        b, bits = self.b, self.b.bitcast(x, INTS)
        odd = b.and_(b.lshr(bits, self.constant(16, INTS)), self.constant(1, INTS))
        rounded = b.add(b.add(bits, odd), self.constant(0x7FFF, INTS))
        nan = b.fcmp_unordered("uno", x, x)
        bits = b.select(nan, self.constant(0x7FC00000, INTS), rounded)
        return b.trunc(b.lshr(bits, self.constant(16, INTS)), SHORTS)

    def from_bfloat16(self, x):
        wide = self.b.zext(x, INTS)
        return self.b.bitcast(self.b.shl(wide, self.constant(16, INTS)), VECTOR)


def _address(context, builder, array_type, array, index):
    """The address of sixteen numbers of a flat array, and whether they are bfloat16."""
    half = array_type.dtype.bitwidth == 16
    data = cgutils.create_struct_proxy(array_type)(context, builder, array).data
    kind = SHORTS if half else VECTOR
    return builder.bitcast(builder.gep(data, [index]), kind.as_pointer()), half


@inner
def aligned(size):
    """Zeros that begin at a cache line."""
    zeros = np.zeros(size + LANES, np.float32)
    skipped = -zeros.ctypes.data // 4 % LANES
    return zeros[skipped : skipped + size]


@intrinsic
def load(typing, array, index):
    """Sixteen numbers of a flat array from index on."""

    def generate(context, builder, signature, args):
        address, half = _address(context, builder, signature.args[0], *args)
        x = builder.load(address, align=2 if half else 4)
        return _Maths(builder).from_bfloat16(x) if half else x

    return lanes(array, types.intp), generate


@intrinsic
def store(typing, array, index, x):
    """Write sixteen numbers to a flat array from index on."""

    def generate(context, builder, signature, args):
        address, half = _address(context, builder, signature.args[0], *args[:2])
        x = _Maths(builder).to_bfloat16(args[2]) if half else args[2]
        builder.store(x, address, align=2 if half else 4)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


@intrinsic
def splat(typing, x):
    """One float32 in all lanes."""

    def generate(context, builder, signature, args):
        unset = ir.Constant(VECTOR, ir.Undefined)
        first = builder.insert_element(unset, args[0], ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(first, unset, ir.Constant(INTS, [0] * LANES))

    return lanes(types.float32), generate


@intrinsic
def total(typing, x):
    """The sum of all lanes, by halves."""

    def generate(context, builder, signature, args):
        x, width = args[0], LANES
        while width > 1:
            width //= 2
            mask = [width + i if i < width else i for i in range(LANES)]
            moved = builder.shuffle_vector(x, x, ir.Constant(INTS, mask))
            x = builder.fadd(x, moved)
        return builder.extract_element(x, ir.Constant(ir.IntType(32), 0))

    return types.float32(lanes), generate


def _function(name: str, arguments: int):
    """A function of vectors, generated by a method of `_Maths`."""

    def generate(context, builder, signature, args):
        return getattr(_Maths(builder), name)(*args)

    kind = lanes(*[lanes] * arguments)
    if arguments == 3:
        return intrinsic(lambda typing, x, y, z: (kind, generate))
    return intrinsic(lambda typing, x: (kind, generate))


fma, exp2 = _function("fma", 3), _function("exp2", 1)
softplus, sigmoid = _function("softplus", 1), _function("sigmoid", 1)


def _operator(symbol, instruction: str) -> None:
    @intrinsic
    def run(typing, x, y):
        def generate(context, builder, signature, args):
            return getattr(builder, instruction)(*args)

        return lanes(lanes, lanes), generate

    @overload(symbol)
    def _(x, y):
        if isinstance(x, Lanes) and isinstance(y, Lanes):
            return lambda x, y: run(x, y)
        return None


for _symbol, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
):
    _operator(_symbol, _instruction)
