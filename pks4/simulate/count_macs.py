"""Counters of MACs under the rule macs/v1: PyTorch's on meta tensors, and fvcore on a CPU.

Neither counts everything: on CPU tensors both skip fused attention silently, and no public tool
knows the scan. So each gets the formulas that it lacks, and an operator that contracts and has no
formula raises an error with its name. Counts are in MACs: a multiply-add is one.
"""

import logging
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, flop_registry, sdpa_backward_flop_count

from pks4 import scan  # noqa: F401 - registers its operators
from pks4.macs import OP_MACS, open_stage
from pks4.models import correlation  # noqa: F401 - registers its operators
from pks4.scan import recurrence  # noqa: F401 - registers its operators
from pks4.simulate.calls import call, loss_of
from pks4.simulate.modules import CurrentModule, Stages
from pks4.simulate.operators import Observer

aten = torch.ops.aten
# Operators that contract: each must have a formula, or the count would be too low.
CONTRACTIONS = (
    "mm", "bmm", "addmm", "addbmm", "baddbmm", "addmv", "mv", "dot", "vdot", "matmul", "einsum",
    "linear", "bilinear", "conv1d", "conv2d", "conv3d",
)  # fmt: skip
CONTRACTING_PARTS = (
    "convolution", "attention", "transformer_encoder", "fft", "cdist", "lstm", "gru", "rnn",
    "trilinear", "addmm", "scaled_mm", "linear_backward",
)  # fmt: skip


class Uncounted(Exception):
    """An operator that contracts and has no formula under macs/v1."""


def _attention_macs(q, k, v) -> int:
    return prod(q[:-1]) * k[-2] * (q[-1] + v[-1])


def _attention_flops(q, k, v, *args, out_shape=None, **kwargs) -> int:
    return 2 * _attention_macs(q, k, v)


def _attention_backward_flops(g, q, k, v, *args, out_shape=None, **kwargs) -> int:
    return sdpa_backward_flop_count(g, q, k, v)


def _convolution_backward_flops(
    g, x, weight, bias, stride, padding, dilation, transposed, output_padding, groups, mask,
    out_shape=None,
) -> int:  # fmt: skip
    """Gradients of input and weight each cost one forward; torch's formula ignores groups."""
    if transposed:
        raise Uncounted("no formula under macs/v1 for a transposed convolution's backward")
    forward = 2 * prod(g) * prod(weight[1:])
    return forward * (bool(mask[0]) + bool(mask[1]))


def _project_op_flops(name: str) -> Callable[..., int]:
    def flops(*shapes, out_shape=None, **kwargs) -> int:
        tensors = [s for s in shapes if isinstance(s, torch.Size | list | tuple)]
        return 2 * OP_MACS[name](tensors, out_shape)

    return flops


def _formulas() -> dict[object, Callable[..., int]]:
    """Formulas that PyTorch's counter lacks or has wrong, and those of this project's operators."""
    formulas: dict[object, Callable[..., int]] = {
        aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flops,
        aten.convolution_backward: _convolution_backward_flops,
    }
    for name in OP_MACS:
        namespace, op = name.split("::")
        formulas[getattr(getattr(torch.ops, namespace), op)] = _project_op_flops(name)
    return formulas


class _OpCounter(Observer):
    """Counts every operator that runs."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[Any] = Counter()

    def observe(self, func, args, out) -> None:
        """Count an operator."""
        self.seen[func.overloadpacket] += 1


def contracts(name: str) -> bool:
    """Whether an operator `namespace::op` must have a formula; all foreign ones must."""
    namespace, op = name.split("::")
    if namespace not in ("aten", "prim", "prims"):
        return True
    return op.strip("_") in CONTRACTIONS or any(part in op for part in CONTRACTING_PARTS)


class Counted(NamedTuple):
    """MACs in all; and those of the forward by class of the innermost module and by stage."""

    total: int
    by_class: Counter[str]
    by_stage: Counter[str]


def count_on_meta(model: nn.Module, clip: Tensor, *, backward: bool) -> int:
    """MACs of a forward (and backward) on meta tensors by PyTorch's counter."""
    return count(model, clip, backward=backward).total


def count(
    model: nn.Module, inputs: Any, *, backward: bool, stages: Stages | None = None
) -> Counted:
    """MACs of a forward (and backward) on meta or fake tensors by PyTorch's counter.

    Raises Uncounted, with its name, for an operator that contracts and has no formula.
    """
    formulas = _formulas()
    counter = FlopCounterMode(display=False, custom_mapping=formulas)
    by_class, by_stage = Counter[str](), Counter[str]()

    def noting(formula: Callable[..., int]) -> Callable[..., int]:
        def flops(*args, **kwargs) -> int:
            found = formula(*args, **kwargs)
            by_class[current.module] += found // 2
            by_stage[open_stage() or current.stage] += found // 2
            return found

        return flops

    counter.flop_registry = {op: noting(formula) for op, formula in counter.flop_registry.items()}
    with _OpCounter() as operators, counter, torch.set_grad_enabled(backward):
        with CurrentModule(model, stages) as current:
            output = call(model, inputs)
        in_forward = by_class.copy(), by_stage.copy()
        if backward:
            loss_of(output).backward()
    known = set(formulas) | set(flop_registry)
    missing = [
        op._qualified_op_name
        for op in operators.seen
        if op not in known and contracts(op._qualified_op_name)
    ]
    if missing:
        raise Uncounted(f"no formula under macs/v1 for {', '.join(sorted(missing))}")
    flops = counter.get_total_flops()
    assert flops % 2 == 0
    return Counted(flops // 2, *in_forward)


@dataclass(frozen=True)
class FvcoreCount:
    """fvcore's counts: with this rule's handles, and without them."""

    macs: int
    plain_macs: int
    missed: dict[str, int]  # operators that contract and that plain fvcore leaves out


def _handle(macs: Callable[[list, list], int]) -> Callable[[list, list], int]:
    def count(inputs: list, outputs: list) -> int:
        from fvcore.nn.jit_handles import get_shape

        shapes = [s for s in map(get_shape, inputs) if s is not None]
        return macs(shapes, get_shape(outputs[0]))

    return count


def _einsum_macs(inputs: list, outputs: list) -> int:
    """MACs of an einsum of two operands; fvcore's own handle rounds them to four digits."""
    from fvcore.nn.jit_handles import get_shape

    equation, operands = inputs[0].toIValue(), list(inputs[1].node().inputs())
    left, _, right = equation.replace(" ", "").partition("->")
    letters = left.split(",")
    if len(operands) != 2 or "." in equation or not right:
        raise Uncounted(f"no formula under macs/v1 for einsum {equation!r}; write it in pairs")
    shapes = [size for operand in operands for size in get_shape(operand)]
    sizes = dict(zip("".join(letters), shapes, strict=True))
    first, second = map(set, letters)
    multiplied = (first & second) | set(right)  # indices of one operand alone are summed first
    return prod(size for letter, size in sizes.items() if letter in multiplied)


def _handles() -> dict[str, Callable[[list, list], int]]:
    handles = {name: _handle(macs) for name, macs in OP_MACS.items()}
    for op in ("scaled_dot_product_attention", "_scaled_dot_product_flash_attention_for_cpu"):
        handles[f"aten::{op}"] = _handle(lambda shapes, _: _attention_macs(*shapes[:3]))
    handles["aten::einsum"] = _einsum_macs
    # Norms, pooling and copies are not contractions. None would not switch a default handle off.
    norms = ("layer_norm", "batch_norm", "group_norm", "instance_norm")
    for op in (*norms, "adaptive_avg_pool2d", "upsample_nearest2d"):
        handles[f"aten::{op}"] = lambda inputs, outputs: 0
    return handles


def count_with_fvcore(model: nn.Module, clip: Tensor) -> FvcoreCount:
    """MACs of a forward on a CPU by fvcore, with handles and without; a real forward runs.

    Raises Uncounted for an operator that contracts and that fvcore, with handles, does not know.
    """
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    model = model.eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from the tracer about shape checks, and from fvcore
        from fvcore.nn import FlopCountAnalysis

        plain = FlopCountAnalysis(model, clip)
        plain.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        plain_macs = int(plain.total())
        counted = FlopCountAnalysis(model, clip)
        for name, handle in _handles().items():
            counted.set_op_handle(name, handle)
        counted.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        macs = int(counted.total())
    missing = sorted(op for op in counted.unsupported_ops() if contracts(op))
    if missing:
        raise Uncounted(f"fvcore has no handle for {', '.join(missing)}")
    missed = {op: n for op, n in plain.unsupported_ops().items() if contracts(op)}
    return FvcoreCount(macs, plain_macs, dict(missed))
